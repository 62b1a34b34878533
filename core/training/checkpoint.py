"""Where a training stands, in one file that is there whole or not at all: a killed run goes on from it.

A safetensors file of weights and optimizer with one metadata key of canonical JSON: what the training is of
(`identity`) and how far it came (`position`). There is no state of a random generator: everything random is
drawn from the seed and the position.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from core.errors import MismatchError, TrainingError, WeightsError
from core.tensor_file import reading

METADATA_KEY = "aprilgan_checkpoint"
SCHEMA_VERSION = 1
CHECKPOINT_SECONDS = 120.0
"""Between checkpoints, where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """A training's one checkpoint.

    path: of the file. identity: JSON values; a checkpoint of another identity is refused, not continued.
    """

    path: Path
    identity: Mapping[str, Any]

    def save(self, weights: nn.Module, optimizer: torch.optim.Optimizer, position: Mapping[str, Any]) -> None:
        """Replace the checkpoint. Raises OSError; the one before is then still whole."""
        tensors = {f"weights.{name}": tensor for name, tensor in weights.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        content = {"schema": SCHEMA_VERSION, "identity": self.identity, "position": position}
        data = save_tensors(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={METADATA_KEY: json.dumps(content, sort_keys=True)},
        )
        write_whole(self.path, data)

    def load(self, weights: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Put the kept state into both and return the position; None where there is no checkpoint.

        Raises MismatchError, naming what differs, for a checkpoint of another training, TrainingError for a
        damaged one.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            with reading(self.path.name):
                return self._restore(data, weights, optimizer)
        except WeightsError as error:
            raise TrainingError(f"{error}; remove {self.path} to begin anew") from error

    def remove(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)

    def _restore(self, data: bytes, weights: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        tensors = load_tensors(data)
        length = int.from_bytes(data[:8], "little")
        content = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
        self._check(content["schema"], content["identity"])
        weights.load_state_dict(
            {name.removeprefix("weights."): tensor for name, tensor in tensors.items() if name[0] == "w"}
        )
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name in tensors:
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensors[name]
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        position: dict[str, Any] = content["position"]
        return position

    def _check(self, schema: int, theirs: Mapping[str, Any]) -> None:
        ours = json.loads(json.dumps(dict(self.identity)))
        if schema != SCHEMA_VERSION or theirs != ours:
            names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
            differences = "; ".join(f"{name} {theirs.get(name)}, now {ours.get(name)}" for name in names)
            raise MismatchError(
                f"{self.path} is the checkpoint of another training ({differences or f'schema {schema}'}): "
                f"finish that one with its own options, or begin anew"
            )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside its own, then rename: whole or not at all. Raises OSError."""
    descriptor, draft = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
