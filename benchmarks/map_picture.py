"""A side-by-side picture of APRIL-GAN's maps: zero-shot, and with 1 and 4 references.

Real CLIP weights cannot be had on the build machines, so the tower is a small random one and its linear layers are
trained here, for a minute, on made-up cloth with dark squares. What is shown is the method's road (words,
linear layers, banks, one pass for both branches) on cloth it has not seen, not CLIP's quality.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy, interpolate

import core
from core.adapter import AdapterHeader, adapter_to_bytes
from core.methods.april_gan import AprilGan
from core.text import april_gan_text_features
from tests.pictures import weave

SIDE = 96
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": SIDE, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
OBJECT = "cloth"
TRAINING_PICTURES = 64
STEPS = 150
SHOWN = (901, 902, 903)
REFERENCES = (1, 4)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.map_picture", description=__doc__)
    parser.add_argument("out", type=Path, help="the PNG to write")
    out = parser.parse_args(argv).out
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config, weights = _save_tower(Path(folder))
        encoder = core.load_encoder(str(config), weights=weights, device="cpu")
        text = april_gan_text_features(core.load_text_encoder(str(config), weights=weights).embed, OBJECT)
        adapter = Path(folder) / "adapter.safetensors"
        adapter.write_bytes(_train(encoder, text))
        scorer = core.Scorer(encoder, method="april-gan", adapter=core.load_adapter(adapter))
        cv2.imwrite(str(out), _picture(scorer, text))
    return 0


def _save_tower(folder: Path) -> tuple[Path, Path]:
    config, weights = folder / "small-clip.json", folder / "small-clip.safetensors"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    return config, weights


def _train(encoder: core.Encoder, text: torch.Tensor) -> bytes:
    """Fit the linear layers to the masks; the tower stays frozen."""
    pictures = [weave(seed, size=(SIDE, SIDE), hole=seed % 2 == 0) for seed in range(TRAINING_PICTURES)]
    masks = torch.stack(
        [_mask() if seed % 2 == 0 else torch.zeros(SIDE, SIDE) for seed in range(TRAINING_PICTURES)]
    )
    features = encoder.encode(pictures)
    features = core.Features(
        stages=tuple(stage.clone() for stage in features.stages), grids=features.grids, image=features.image
    )
    text = text.clone()  # inference tensors take no part in training
    layers = [torch.nn.Linear(width, text.shape[1]) for _, _, width in encoder.stage_shapes]
    header = AdapterHeader(
        tower_id=encoder.tower_id,
        activation=encoder.spec.activation,
        stages=encoder.stages,
        dataset="made-up cloth with dark squares",
        training={"steps": STEPS, "pictures": TRAINING_PICTURES},
    )
    optimiser = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=1e-2)
    for _ in range(STEPS):
        branch = AprilGan(
            core.Adapter(
                header=header,
                weights=tuple(layer.weight for layer in layers),
                biases=tuple(layer.bias for layer in layers),
                sha256="",
            )
        )
        maps = branch.grids(features, text)
        small = interpolate(masks[:, None], size=features.grids[0], mode="area")[:, 0]
        loss = sum(binary_cross_entropy(grid, small) for grid in maps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimiser.step()
    return adapter_to_bytes(header, [(layer.weight, layer.bias) for layer in layers])


def _mask() -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE)
    third = SIDE // 3
    mask[third : 2 * third, third : 2 * third] = 1.0
    return mask


def _picture(scorer: core.Scorer, text: torch.Tensor) -> np.ndarray:
    """Rows: pictures. Columns: picture, zero-shot, 1 reference, 4 references; one colour scale a column."""
    pictures = [_defective(seed) for seed in SHOWN]
    good = [weave(seed, size=(SIDE, SIDE)) for seed in range(800, 800 + max(REFERENCES))]
    columns = [np.stack(pictures)[..., ::-1]]
    memories = [None, *(core.paper_memory(scorer, good[:count]) for count in REFERENCES)]
    for memory in memories:
        maps = core.inspect(scorer, pictures, mode="paper", text=text, memory=memory).map
        scaled = (255 * (maps - maps.min()) / (maps.max() - maps.min())).astype(np.uint8)
        columns.append(np.stack([cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO) for heat in scaled]))
    titles = ["picture", "zero-shot", *(f"{count} reference{'s' * (count > 1)}" for count in REFERENCES)]
    return np.hstack([_column(title, tiles) for title, tiles in zip(titles, columns, strict=True)])


def _defective(seed: int) -> np.ndarray:
    """Cloth with a dark square where the training never had one."""
    picture = weave(seed, size=(SIDE, SIDE))
    top, left = np.random.default_rng(seed).integers(8, SIDE - 28, 2)
    picture[top : top + 20, left : left + 20] //= 6
    return picture


def _column(title: str, tiles: np.ndarray) -> np.ndarray:
    big = [cv2.resize(tile, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for tile in tiles]
    head = np.full((26, big[0].shape[1], 3), 255, np.uint8)
    cv2.putText(head, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    column = np.vstack([head, *big])
    return cv2.copyMakeBorder(column, 0, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


if __name__ == "__main__":
    sys.exit(main())
