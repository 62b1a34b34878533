"""What `precision = "auto"` makes of this processor, and what a score costs over the bare encoder.

Every pair is measured in turn in one run; float32 eager is open_clip's own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

import core
from benchmarks import textile
from benchmarks.random_clip import pictures, random_clip
from benchmarks.result import Result
from benchmarks.timing import in_turn, median_ratio, rounded
from core.precision import has_units
from core.scorer import never

ROUNDS = 15
SHOTS = 8


def results() -> Iterator[Result]:
    """The ViT's gain, the lite scorer's cost, and lite's verdicts."""
    yield vit_b_gain()
    auto, plain = (core.load_scorer("lite", device="cpu", precision=name) for name in ("auto", "float32"))
    yield lite_overhead(auto)
    yield lite_verdicts(auto, plain)


def vit_b_gain() -> Result:
    """ViT-B-16 at 224, random weights, one picture: `auto` against float32 eager."""
    with random_clip("ViT-B-16") as clip:
        auto, plain = (
            core.load_encoder(str(clip.config), weights=clip.weights, device="cpu", precision=name)
            for name in ("auto", "float32")
        )
    pixels = plain.preprocess(pictures(1, 224))
    eager, quick = in_turn(ROUNDS, eager_pass(plain, pixels), lambda: auto(pixels))
    return Result(
        name="vit_b_16_224_auto_over_float32_eager",
        value=median_ratio(eager, quick),
        # Only such processors are promised anything.
        target=1.8 if has_units(torch.bfloat16) else None,
        detail={"auto": auto.precision, "eager_ms": rounded(eager), "auto_ms": rounded(quick)},
    )


def eager_pass(encoder: core.Encoder, pixels: torch.Tensor) -> Callable[[], object]:
    """open_clip's forward pass of an encoder's tower, nothing of ours around it."""
    levels = [stage - 1 for stage in encoder.stages]

    @torch.inference_mode()
    def run() -> object:
        return encoder.tower.forward_intermediates(pixels, indices=levels)  # type: ignore[operator]

    return run


def lite_overhead(scorer: core.Scorer) -> Result:
    """From the picture in memory to its score, against the pass over ready pixels; one frame, no map."""
    bank = scorer.prepare(core.enrol(scorer, _references(), product="linen").bank)
    image = core.decode_image(textile.development("nominal")[-1].path.read_bytes())
    pixels = scorer.encoder.preprocess([image])
    whole, bare = in_turn(
        4 * ROUNDS, lambda: scorer.score([image], [bank], want_map=never), lambda: scorer.encoder(pixels)
    )
    return Result(
        name="lite_scorer_time_over_encoder",
        value=median_ratio(whole, bare),
        target=1.25,
        at_most=True,
        detail={"shots": SHOTS, "scorer_ms": rounded(sorted(whole)[:3]), "encoder_ms": rounded(sorted(bare)[:3])},
    )


def lite_verdicts(auto: core.Scorer, plain: core.Scorer) -> Result:
    """How many verdicts on the report split are the same, each precision enrolled on its own."""
    kinds = ("nominal", "local", "global")
    files = [picture.path for kind in kinds for picture in textile.report(kind)]
    rejects = []
    for scorer in (auto, plain):
        bank = core.enrol(scorer, _references(), product="linen").bank
        prepared, reject = scorer.prepare(bank), bank.thresholds.reject
        images = (core.decode_image(path.read_bytes()) for path in files)
        rejects.append([scorer.score([image], [prepared], want_map=never)[0].score > reject for image in images])
    same = sum(one == other for one, other in zip(*rejects, strict=True))
    return Result(
        name="lite_verdicts_auto_equal_float32",
        value=same / len(files),
        target=0.999,
        detail={"auto": auto.encoder.precision, "pictures": len(files)},
    )


def _references() -> list[core.Sample]:
    good = textile.references(SHOTS, seed=1)
    return [core.Sample.from_bytes(picture.path.name, picture.path.read_bytes()) for picture in good]
