"""CLIPs with random weights, as files on the product's own loading road: times are as real ones' are."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

import core
from core.adapter import AdapterHeader, adapter_to_bytes

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomClip:
    """config, weights: for `core.load_encoder`. patch, width, layers, embed: of the image tower."""

    config: Path
    weights: Path
    patch: int
    width: int
    layers: int
    embed: int

    def flop(self, image_size: int) -> float:
        """Floating point operations of a pass over one picture of S pixels a side: products and attention."""
        patches = (image_size // self.patch) ** 2
        tokens = patches + 1
        block = 24 * tokens * self.width**2 + 4 * tokens**2 * self.width
        return float(self.layers * block + 2 * patches * 3 * self.patch**2 * self.width)

    def adapter(self, stages: Sequence[int]) -> core.Adapter:
        """Random linear layers of exact-GELU features."""
        header = AdapterHeader(
            tower_id=None, activation="gelu", stages=tuple(stages), dataset="random", training={}
        )
        layers = [(torch.randn(self.embed, self.width) / self.width**0.5, torch.zeros(self.embed)) for _ in stages]
        path = self.config.with_name("adapter.safetensors")
        path.write_bytes(adapter_to_bytes(header, layers))
        return core.load_adapter(path)

    def words(self, sentences: Sequence[str]) -> torch.Tensor:
        """Random sentence features in place of a text tower's, which is not what is timed: (n, E)."""
        return torch.randn(len(sentences), self.embed, generator=torch.Generator().manual_seed(SEED))


@contextmanager
def random_clip(model: str) -> Iterator[RandomClip]:
    """An open_clip model by name, its weights drawn with a fixed seed, in a temporary folder."""
    torch.manual_seed(SEED)
    config = copy.deepcopy(open_clip.get_model_config(model))
    vision = config["vision_cfg"]
    with TemporaryDirectory(prefix="ag-random-clip-") as folder:
        clip = RandomClip(
            config=Path(folder) / f"{model}.json",
            weights=Path(folder) / f"{model}.safetensors",
            patch=vision["patch_size"],
            width=vision["width"],
            layers=vision["layers"],
            embed=config["embed_dim"],
        )
        clip.config.write_text(json.dumps(config), encoding="utf-8")
        state = open_clip.CLIP(**copy.deepcopy(config)).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, clip.weights)
        yield clip


def pictures(count: int, side: int, *, seed: int = 0) -> list[core.image.Image]:
    """Noise, (side, side, 3) uint8: every patch unlike every other, and arithmetic as slow as on pictures."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def samples(count: int, side: int) -> list[core.Sample]:
    """The same as good samples to enrol from; another seed than `pictures`."""
    return [core.Sample.from_array(f"good-{n}", image) for n, image in enumerate(pictures(count, side, seed=1))]
