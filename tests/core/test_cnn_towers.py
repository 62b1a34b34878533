"""CNN towers: stages of different resolution, each with its own linear layer, under the same method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import core
from core.image import Image
from tests.core.april_gan_rig import PARITY, Layers, enrolled, header_for, pictures, project_file
from tests.core.oracle import april_gan_numpy as oracle
from tests.core.oracle.arrays import Floats, unit
from tests.core.oracle.tiny import LivelyClip

SIZE = 64
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION: dict[str, dict[str, Any]] = {
    "resnet": {"image_size": SIZE, "layers": [1, 2, 1, 1], "width": 8, "head_width": 64},
    "timm": {
        "image_size": SIZE,
        "timm_model_name": "test_resnet",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
}
CASES = [("resnet", (3, 4, 5)), ("resnet", (2, 3, 4)), ("timm", (3, 4, 5)), ("timm", (1, 3))]
"""The last level is not always among the stages, and the image embedding comes from it all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Cnn:
    """A random CLIP with a CNN tower: files, open_clip's own model of them, and the product's encoder."""

    files: LivelyClip
    model: nn.Module
    encoder: core.Encoder


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{''.join(map(str, case[1]))}")
def cnn(request, tmp_path_factory) -> Cnn:
    kind, stages = request.param
    config = {"embed_dim": 16, "vision_cfg": VISION[kind], "text_cfg": TEXT}
    folder = tmp_path_factory.mktemp(kind)
    files = LivelyClip(config=folder / f"{kind}.json", weights=folder / f"{kind}.safetensors")
    files.config.write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(config))).eval()
    enliven(model.visual)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, files.weights)
    encoder = core.load_encoder(str(files.config), weights=files.weights, stages=stages, device="cpu")
    return Cnn(files=files, model=model, encoder=encoder)


def enliven(visual: nn.Module) -> None:
    """Let every branch count and every norm have seen pictures; else all tokens point the same way."""
    for name, weight in visual.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(weight)
    with torch.no_grad():
        for _ in range(20):
            visual.train()(torch.randn(8, 3, SIZE, SIZE))
    visual.eval()


def levels(visual: nn.Module, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """What each level of either tower puts out, layer by layer."""
    if hasattr(visual, "trunk"):
        trunk = visual.trunk
        x = trunk.act1(trunk.bn1(trunk.conv1(x)))
        yield x
        x = trunk.maxpool(x)
    else:
        trunk = visual
        x = trunk.stem(x)
        yield x
    for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        x = layer(x)
        yield x


def random_layers(encoder: core.Encoder) -> Layers:
    generator = torch.Generator().manual_seed(1)
    return [
        (0.3 * torch.randn(16, width, generator=generator), 0.3 * torch.randn(16, generator=generator))
        for _, _, width in encoder.stage_shapes
    ]


def as_linears(layers: Layers) -> list[oracle.Linear]:
    return [oracle.Linear(weight=weight.double().numpy(), bias=bias.double().numpy()) for weight, bias in layers]


def grids(encoder: core.Encoder, images: Sequence[Image]) -> list[Floats]:
    """The product's tokens as the oracle takes them, (N, h, w, width) a stage."""
    features = encoder.encode(images)
    return [
        stage.double().numpy().reshape(len(images), *grid, -1)
        for stage, grid in zip(features.stages, features.grids, strict=True)
    ]


def scorer_of(encoder: core.Encoder, folder: Path) -> core.Scorer:
    adapter = core.load_adapter(project_file(folder, random_layers(encoder), header_for(encoder)))
    return core.Scorer(encoder, method="april-gan", adapter=adapter)


@torch.inference_mode()
def test_tokens_are_the_levels_own_outputs_row_by_row(cnn):
    images = pictures(2, SIZE)
    features = cnn.encoder.encode(images)
    outputs = list(levels(cnn.model.visual, cnn.encoder.preprocess(images)))
    for stage, tokens, grid in zip(cnn.encoder.stages, features.stages, features.grids, strict=True):
        expected = outputs[stage - 1]
        assert grid == expected.shape[2:]
        torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert len(set(features.grids)) > 1


@torch.inference_mode()
def test_the_image_embedding_is_open_clips_own_whichever_stages_are_asked_for(cnn):
    images = pictures(2, SIZE)
    expected = cnn.model.encode_image(cnn.encoder.preprocess(images), normalize=True)
    torch.testing.assert_close(cnn.encoder.encode(images).image, expected, atol=1e-5, rtol=0)


def test_every_stage_map_and_their_sum_at_one_resolution_are_the_oracles(cnn, tmp_path):
    images, references = pictures(3, SIZE, seed=1), pictures(2, SIZE, seed=2)
    text = unit(np.random.default_rng(3).standard_normal((2, 16)))
    scorer = scorer_of(cnn.encoder, tmp_path)
    ours = core.inspect(
        scorer,
        images,
        mode="paper",
        text=torch.from_numpy(text).float(),
        memory=core.paper_memory(scorer, references),
    )
    tokens = grids(cnn.encoder, images)
    banks = [bank.reshape(-1, bank.shape[-1]) for bank in grids(cnn.encoder, references)]
    linears = as_linears(random_layers(cnn.encoder))
    zero_shot = [
        oracle.zero_shot_map(grid, linear, text, (SIZE, SIZE))
        for grid, linear in zip(tokens, linears, strict=True)
    ]
    few_shot = [oracle.few_shot_map(grid, bank, (SIZE, SIZE)) for grid, bank in zip(tokens, banks, strict=True)]
    np.testing.assert_allclose(ours.zero_shot_stages, zero_shot, rtol=0, atol=PARITY)
    np.testing.assert_allclose(ours.few_shot_stages, few_shot, rtol=0, atol=PARITY)
    np.testing.assert_allclose(ours.map, np.sum([zero_shot, few_shot], axis=(0, 1)), rtol=0, atol=PARITY)


def test_a_product_is_enrolled_with_words_and_scores_alone_as_in_company(cnn, tmp_path):
    scorer = scorer_of(cnn.encoder, tmp_path)
    text_tower = core.load_text_encoder(str(cnn.files.config), weights=cnn.files.weights)
    bank = scorer.prepare(enrolled(scorer, text_tower.embed, pictures(3, SIZE, seed=4), product="nut"))
    images = pictures(4, SIZE, seed=5)
    for together, image in zip(scorer.score(images, [bank] * 4), images, strict=True):
        alone = scorer.score([image], [bank])[0]
        assert together.text_score == pytest.approx(alone.text_score, abs=1e-5)
        np.testing.assert_allclose(together.map, alone.map, rtol=0, atol=1e-5)
        # Random CNNs see noise much alike: a step of float32 in `1 - cos` is 1e-3 of their good samples' spread.
        assert together.score == pytest.approx(alone.score, abs=2e-3)


def test_a_level_that_the_tower_lacks_is_refused(cnn):
    with pytest.raises(core.EncoderError, match=r"no stages \[3, 6\].*0 to 4"):
        core.load_encoder(str(cnn.files.config), weights=cnn.files.weights, stages=(3, 6))
