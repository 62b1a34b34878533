"""From a few good samples to a bank: check them, encode them, score each against the others, calibrate.

Everything is checked before anything is computed, and nothing is stored here: the caller gets a bank in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch

from core.anomaly_map import sum_of_stages
from core.bank import BankHeader, MatchOptions, PreparedBank, ReferenceBank, Source, stage_tokens
from core.calibration import Calibration, calibrated, check_promise, provisional
from core.coreset import k_centre
from core.decide import Thresholds
from core.encoder import Features
from core.errors import EnrolmentError
from core.flow import Sample
from core.image import Image
from core.neighbours import nearest_distance
from core.preprocess import squash
from core.score_rule import ScoreRule, select, stage_statistics
from core.scorer import Scorer

Progress = Callable[[str, int, int], None]
"""(what, done, total), called as the work goes on."""

BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Enrolment:
    """What enrolling gave.

    scores: of the references, each against the others. calibration_scores: of good samples outside the bank.
    warnings: what the engineer should look at, a sentence each.
    """

    bank: ReferenceBank
    scores: tuple[float, ...]
    calibration_scores: tuple[float, ...]
    warnings: tuple[str, ...]

    @property
    def thresholds(self) -> Thresholds:
        """Where accept ends."""
        return self.bank.thresholds

    @property
    def expected_false_rejects(self) -> float:
        """The mean false-reject rate the threshold stands for; a promise only when calibrated."""
        return self.bank.header.calibration.expected_false_rejects


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stage:
    """One stage of the bank being built: unit tokens (M, C) and the reference each came from (M,)."""

    tokens: torch.Tensor
    sources: torch.Tensor

    def distances(self, tokens: torch.Tensor, *, without: int | None) -> torch.Tensor:
        bank = self.tokens if without is None else self.tokens[self.sources != without]
        return nearest_distance(tokens, bank)


def enrol(
    scorer: Scorer,
    samples: Sequence[Sample],
    *,
    product: str,
    object_name: str | None = None,
    shots: int | None = None,
    calibration: Sequence[Sample] = (),
    max_false_rejects: float | None = None,
    match: MatchOptions | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """Build a product's bank from good samples.

    samples: good parts, one size, no duplicates. shots: how many of them become references (the first K; the
    rest join the calibration). calibration: good parts outside the bank; with any, the threshold is
    calibrated, else provisional. max_false_rejects: P; only an explicit P can be refused.

    Raises EnrolmentError (naming the sample) or CalibrationError (naming how many samples P takes).
    """
    references, outside = _split(samples, shots, calibration)
    _check_samples([*references, *outside])
    if max_false_rejects is not None:
        check_promise(max_false_rejects, len(outside))
    match = match or MatchOptions()
    tell = progress or _silent
    features = _encode(scorer, [sample.image for sample in references], tell, "encoding references")
    stages = _build_stages(scorer, references, features, match)
    good = _leave_one_out(scorer, references, features, stages, match)
    rule = _fit_rule(scorer, good)
    scores = tuple(float(score) for score in rule.score(_values(scorer, rule, good)))
    bank = _assemble(scorer, references, stages, rule, provisional(scores), good, product, object_name, match)
    bank = _with_golden(scorer, bank, references[0].image)
    if not outside:
        return Enrolment(bank=bank, scores=scores, calibration_scores=(), warnings=_warnings(scores, references))
    enrolment = recalibrate(scorer, bank, outside, max_false_rejects=max_false_rejects, progress=progress)
    return replace(enrolment, warnings=_warnings(scores, references))


def recalibrate(
    scorer: Scorer,
    bank: ReferenceBank,
    samples: Sequence[Sample],
    *,
    max_false_rejects: float | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """Calibrate a bank's threshold on good samples outside it; its tokens and rule stay as they are.

    Earlier calibration samples of the bank still count. Raises as `enrol` does.
    """
    _check_samples(samples, size=bank.header.source_size)
    known = {source.sha256 for source in bank.header.sources}
    for sample in samples:
        if sample.sha256 in known:
            raise EnrolmentError(
                f"{sample.name} is one of the bank's references; calibration takes parts outside it",
                sample=sample.name,
            )
    earlier = bank.header.calibration.calibration_scores
    if max_false_rejects is not None:
        check_promise(max_false_rejects, len(earlier) + len(samples))
    scores = _score(scorer, scorer.prepare(bank), samples, progress or _silent)
    calibration = calibrated(
        bank.header.calibration.reference_scores, (*earlier, *scores), max_false_rejects=max_false_rejects
    )
    return Enrolment(
        bank=replace(bank, header=replace(bank.header, calibration=calibration, built_at=_now())),
        scores=calibration.reference_scores,
        calibration_scores=calibration.calibration_scores,
        warnings=(),
    )


def _split(
    samples: Sequence[Sample], shots: int | None, calibration: Sequence[Sample]
) -> tuple[list[Sample], list[Sample]]:
    if not samples:
        raise EnrolmentError("expected at least one good sample, got none")
    if shots is None:
        return list(samples), list(calibration)
    if not 1 <= shots <= len(samples):
        raise EnrolmentError(f"expected {shots} references, got {len(samples)} samples")
    return list(samples[:shots]), [*samples[shots:], *calibration]


def _check_samples(samples: Sequence[Sample], *, size: tuple[int, int] | None = None) -> None:
    """One size, no duplicates: a copy would vouch for itself in leave-one-out."""
    expected = size or samples[0].image.shape[:2]
    seen: dict[str, str] = {}
    for sample in samples:
        height, width = sample.image.shape[:2]
        if (height, width) != tuple(expected):
            raise EnrolmentError(
                f"{sample.name}: expected {expected[1]}x{expected[0]} pixels as the others, got {width}x{height}",
                sample=sample.name,
            )
        twin = seen.get(sample.sha256)
        if twin is not None:
            raise EnrolmentError(f"{sample.name} and {twin} are the same picture", sample=sample.name)
        seen[sample.sha256] = sample.name


def _encode(scorer: Scorer, images: Sequence[Image], tell: Progress, what: str) -> Features:
    parts = []
    for start in range(0, len(images), BATCH):
        parts.append(scorer.encode(images[start : start + BATCH]))
        tell(what, min(start + BATCH, len(images)), len(images))
    first = parts[0]
    return Features(
        stages=tuple(torch.cat([part.stages[index] for part in parts]) for index in range(len(first.stages))),
        grids=first.grids,
        image=None if first.image is None else torch.cat([p.image for p in parts if p.image is not None]),
    )


def _build_stages(
    scorer: Scorer, references: Sequence[Sample], features: Features, match: MatchOptions
) -> list[_Stage]:
    """Unit tokens of all references and their turned copies, thinned to the budget, stage by stage."""
    turned = [
        features,
        *(
            _encode(scorer, [_turn(sample.image, turn / match.rotations) for sample in references], _silent, "")
            for turn in range(1, match.rotations)
        ),
    ]
    stages = []
    for index, grid in enumerate(features.grids):
        tokens = torch.cat([stage_tokens(part.stages[index], grid, match.neighbourhood) for part in turned])
        sources = torch.arange(len(references)).repeat(len(turned)).repeat_interleave(tokens.shape[1])
        flat = tokens.reshape(-1, tokens.shape[2]).half().float()  # what the file will hold
        keep = k_centre(flat, match.budget)
        stages.append(_Stage(tokens=flat[keep.to(flat.device)], sources=sources[keep].to(flat.device)))
    return stages


def _leave_one_out(
    scorer: Scorer,
    references: Sequence[Sample],
    features: Features,
    stages: Sequence[_Stage],
    match: MatchOptions,
) -> list[torch.Tensor]:
    """Per stage (n, h, w) distances of each reference to the others; of one reference's copies to itself."""
    if len(references) == 1:
        copies = list(_jittered(references[0].image))
        features = _encode(scorer, copies, _silent, "")
        without: list[int | None] = [None] * len(copies)
    else:
        without = list(range(len(references)))
    grids = []
    for index, (grid, stage) in enumerate(zip(features.grids, stages, strict=True)):
        tokens = stage_tokens(features.stages[index], grid, match.neighbourhood)
        rows = [stage.distances(tokens[row], without=source) for row, source in enumerate(without)]
        grids.append(torch.stack(rows).reshape(len(rows), *grid))
    return grids


def _jittered(image: Image) -> Iterator[Image]:
    """Eight copies of the only reference: shifted by an eighth, turned by quarters, mirrored, lit differently."""
    height, width = image.shape[:2]
    yield np.roll(image, (height // 8, width // 8), axis=(0, 1))
    yield np.roll(image, (-height // 8, width // 8), axis=(0, 1))
    yield np.ascontiguousarray(image[:, ::-1])
    yield np.ascontiguousarray(image[::-1])
    yield np.ascontiguousarray(np.rot90(image))
    yield np.ascontiguousarray(np.rot90(image, 3))
    for gain in (0.95, 1.05):
        yield np.clip(image.astype(np.float32) * gain, 0, 255).round().astype(np.uint8)


def _turn(image: Image, fraction: float) -> Image:
    """Turn by a fraction of a full circle about the centre; the corners repeat the border."""
    import cv2

    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 360.0 * fraction, 1.0)
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, dtype=np.uint8)


def _statistics(scorer: Scorer) -> tuple[str, ...]:
    chosen = scorer.encoder.spec.statistics
    return chosen or tuple(f"{stage}.{name}" for stage in scorer.encoder.stages for name in ("max", "mean"))


def _fit_rule(scorer: Scorer, good: Sequence[torch.Tensor]) -> ScoreRule:
    names = _statistics(scorer)
    return ScoreRule.fit(names, select(names, _by_stage(scorer, good)))


def _values(scorer: Scorer, rule: ScoreRule, grids: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
    return select(rule.statistics, _by_stage(scorer, grids))


def _by_stage(scorer: Scorer, grids: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
    return {s: stage_statistics(grid) for s, grid in zip(scorer.encoder.stages, grids, strict=True)}


def _assemble(
    scorer: Scorer,
    references: Sequence[Sample],
    stages: Sequence[_Stage],
    rule: ScoreRule,
    calibration: Calibration,
    good: Sequence[torch.Tensor],
    product: str,
    object_name: str | None,
    match: MatchOptions,
) -> ReferenceBank:
    encoder = scorer.encoder
    height, width = references[0].image.shape[:2]
    header = BankHeader(
        product=product,
        object_name=object_name,
        method=scorer.method,
        encoder_id=encoder.id,
        activation=encoder.spec.activation,
        stages=encoder.stages,
        image_size=encoder.image_size,
        adapter_sha256=scorer.adapter_sha256,
        device=encoder.device,
        precision=encoder.precision,
        match=match,
        rule=rule,
        calibration=calibration,
        map_scale=_map_scale(sum_of_stages([grid.float() for grid in good], encoder.image_size)),
        golden_score=None,
        source_size=(height, width),
        sources=tuple(Source(name=sample.name, sha256=sample.sha256) for sample in references),
        built_at=_now(),
    )
    return ReferenceBank(header=header, tokens=tuple(stage.tokens.half().cpu() for stage in stages))


def _map_scale(good_maps: torch.Tensor) -> tuple[float, float]:
    """(low, high): low is the largest value good parts reach, high as far again above their mean."""
    low, typical = float(good_maps.max()), float(good_maps.mean())
    return low, low + max(low - typical, 1e-3)


def _with_golden(scorer: Scorer, bank: ReferenceBank, image: Image) -> ReferenceBank:
    """Keep a shifted copy of the first reference and its score: the self-test's question and answer.

    Shifted, because the reference itself lies at distance 0 from its own tokens whatever the tower does to it.
    """
    size = scorer.encoder.image_size
    small = squash(image, size=size, device=torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    golden = np.ascontiguousarray(np.roll(small, (size // 7, size // 5), axis=(0, 1)))
    score = scorer.score([golden], [scorer.prepare(bank)], want_map=lambda index, score: False)[0].score
    return replace(bank, golden=golden, header=replace(bank.header, golden_score=score))


def _score(scorer: Scorer, prepared: PreparedBank, samples: Sequence[Sample], tell: Progress) -> tuple[float, ...]:
    scores: list[float] = []
    for start in range(0, len(samples), BATCH):
        images = [sample.image for sample in samples[start : start + BATCH]]
        results = scorer.score(images, [prepared] * len(images), want_map=lambda index, score: False)
        scores.extend(result.score for result in results)
        tell("scoring calibration samples", len(scores), len(samples))
    return tuple(scores)


def _warnings(scores: Sequence[float], references: Sequence[Sample]) -> tuple[str, ...]:
    """Name the reference that looks unlike the rest: beyond the others' largest by more than their spread."""
    if len(scores) != len(references) or len(scores) < 4:
        return ()
    order = np.argsort(scores)
    worst, others = int(order[-1]), np.array(scores)[order[:-1]]
    if scores[worst] <= others.max() + 3.0 * max(float(others.std()), 0.25):
        return ()
    return (
        f"{references[worst].name} looks unlike the other references (score {scores[worst]:.2f}, the others at "
        f"most {others.max():.2f}); if it is not a good part, enrol again without it",
    )


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
