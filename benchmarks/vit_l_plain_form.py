"""The paper's own size on this CPU, ViT-L-14 at 518 with 4 references: a frame here against a frame the plain way.

The plain way is what the authors' code does for a frame: two float32 passes (one for the words, one for the bank)
and per stage scikit-learn's cosine, on the CPU, of every token with every bank token, whose smallest distance is
taken. Both ways give a map. Weights are random: this is about time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.metrics.pairwise import cosine_similarity

import core
from benchmarks.random_clip import RandomClip, pictures, random_clip, samples
from benchmarks.result import Result
from benchmarks.timing import in_turn, median_ratio, rounded
from core.anomaly_map import sum_of_stages
from core.presets import PRESETS
from core.zero_shot import ZeroShot

MODEL = "ViT-L-14-336"
SHOTS = 4
ROUNDS = 3


def results() -> Iterator[Result]:
    """How many times as fast, and what the match takes beside the pass."""
    spec = PRESETS["april-gan"]
    with random_clip(MODEL) as clip:
        ours, plain = (_scorer(clip, spec.image_size, name) for name in ("auto", "float32"))
        bank = core.enrol(
            ours, samples(SHOTS, spec.image_size), product="noise", object_name="noise", embed=clip.words
        ).bank
    prepared, image = ours.prepare(bank), pictures(1, spec.image_size)[0]
    form = PlainForm(plain, bank)
    slow, quick = in_turn(ROUNDS, lambda: form.frame(image), lambda: ours.score([image], [prepared]))
    yield Result(
        name="vit_l_14_518_4_shot_over_plain_form",
        value=median_ratio(slow, quick),
        target=5.0,
        detail={"precision": ours.encoder.precision, "plain_ms": rounded(slow), "ours_ms": rounded(quick)},
    )
    yield _match_share(ours, prepared, image)


class PlainForm:
    """A frame by the authors' steps: passes on the encoder's device, the cosine on the CPU."""

    def __init__(self, scorer: core.Scorer, bank: core.ReferenceBank) -> None:
        if scorer.zero_shot is None or bank.text_features is None:
            raise ValueError("the plain form has words; this scorer or bank has none")
        self._encoder = scorer.encoder
        self._words: ZeroShot = scorer.zero_shot
        self._text = bank.text_features.to(scorer.encoder.torch_device)
        self._memory = [stage.float().numpy() for stage in bank.tokens]

    @torch.inference_mode()
    def frame(self, image: core.image.Image) -> tuple[torch.Tensor, float]:
        """The (S, S) map and the words' score of one picture."""
        size = self._encoder.image_size
        pixels = self._encoder.preprocess([image])
        first = self._encoder(pixels)
        total = torch.stack(self._words.stage_maps(first, self._text, size)).sum(dim=0)[0].cpu()
        second = self._encoder(pixels)
        for tokens, grid, memory in zip(second.stages, second.grids, self._memory, strict=True):
            nearest = np.min(1.0 - cosine_similarity(memory, tokens[0].float().cpu().numpy()), axis=0)
            total += sum_of_stages([torch.from_numpy(nearest).float().view(1, *grid)], size)[0]
        return total, float(torch.sigmoid(100 * first.image[0] @ (self._text[1] - self._text[0])))


def _scorer(clip: RandomClip, size: int, precision: str) -> core.Scorer:
    encoder = core.load_encoder(
        str(clip.config), weights=clip.weights, device="cpu", image_size=size, precision=precision
    )
    return core.Scorer(encoder, method="april-gan", adapter=clip.adapter(encoder.stages))


def _match_share(scorer: core.Scorer, bank: core.PreparedBank, image: core.image.Image) -> Result:
    start = time.perf_counter()
    features = scorer.encode([image])
    between = time.perf_counter()
    scorer.match(features, [bank], want_map=lambda index, score: False)
    end = time.perf_counter()
    return Result(
        name="vit_l_14_518_4_shot_match_over_encode_cpu",
        value=(end - between) / (between - start),
        target=None,
        detail={"encode_ms": rounded([between - start]), "match_ms": rounded([end - between])},
    )
