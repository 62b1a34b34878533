"""ViT-L-14-336 with random weights, and linear layers that fit: no model hub is reached, and times are as real."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from safetensors.torch import save_file

from core.adapter import AdapterHeader, adapter_to_bytes
from core.presets import PRESETS

PRESET = "april-gan"
SEED = 0


@dataclass(frozen=True, slots=True)
class VitL:
    """Files for `[model] preset = "april-gan"`. image_bytes, text_bytes: what each tower's weights take."""

    weights: Path
    adapter: Path
    image_bytes: int
    text_bytes: int


@contextmanager
def vit_l_files() -> Iterator[VitL]:
    """1.7 GB in a temporary folder for as long as the context lasts."""
    with TemporaryDirectory(prefix="ag-vit-l-") as folder:
        yield _write(Path(folder))


def _write(folder: Path) -> VitL:
    torch.manual_seed(SEED)
    spec = PRESETS[PRESET]
    config = copy.deepcopy(open_clip.get_model_config(str(spec.model)))
    model = open_clip.CLIP(**config)
    image_bytes, all_bytes = _bytes(model.visual), _bytes(model)
    files = VitL(
        weights=folder / "vit-l.safetensors",
        adapter=folder / "vit-l-adapter.safetensors",
        image_bytes=image_bytes,
        text_bytes=all_bytes - image_bytes,
    )
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, files.weights)
    width, embed = config["vision_cfg"]["width"], config["embed_dim"]
    header = AdapterHeader(
        tower_id=None, activation=spec.activation, stages=spec.stages, dataset="random", training={}
    )
    layers = [(torch.randn(embed, width) / width**0.5, torch.zeros(embed)) for _ in spec.stages]
    files.adapter.write_bytes(adapter_to_bytes(header, layers))
    return files


def _bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())
