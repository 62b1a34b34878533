"""From a few good samples to a bank: check them, encode them, score each against the others, calibrate.

Everything is checked before anything is computed, and nothing is stored here: the caller gets a bank in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch

from core.bank import BankHeader, PreparedBank, ReferenceBank, Source, to_numpy
from core.calibration import calibrated, check_promise, provisional
from core.decide import Thresholds
from core.enrolment_checks import check_samples, check_switches, split_samples
from core.errors import EnrolmentError
from core.flow import Sample
from core.image import Image
from core.leave_one_out import BATCH, ReferenceTokens, leave_one_out
from core.preprocess import squash
from core.presets import MatchOptions
from core.region import painted, region_of_interest
from core.score_rule import ScoreRule, default_statistics, is_worded
from core.scorer import Evidence, Scorer, never
from core.text import Embed

Progress = Callable[[str, int, int], None]
"""(what, done, total), called as the work goes on."""

FEW_REFERENCES = 8
"""Below this, provisional thresholds reject far too many or too few (docs/notes/0003-streaming-score.md)."""
ODD_SPREADS = 3.0
MAP_QUANTILES = (0.95, 0.9995)
UNKNOWN_OBJECT = "object"
"""method.md section 3 item 8."""


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
    text_weight: float | None = None,
    roi: npt.NDArray[np.generic] | None = None,
    embed: Embed | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """Build a product's bank from good samples.

    samples: good parts, one size, no duplicates. shots: how many of them become references (the first K; the
    rest join the calibration). calibration: good parts outside the bank; with any, the threshold is
    calibrated, else provisional. max_false_rejects: P; only an explicit P can be refused. object_name, embed:
    for methods with words, see core.text; a product without a name is called "object".

    match: None takes the preset's. text_weight: of the words beside the bank. roi: (H, W) mask of the samples'
    size, not 0 where the line inspects; None inspects all.

    Raises EnrolmentError (naming the sample) or CalibrationError (naming how many samples P takes).
    """
    references, outside = split_samples(samples, shots, calibration)
    check_samples([*references, *outside])
    if max_false_rejects is not None:
        check_promise(max_false_rejects, len(outside))
    match = match or scorer.encoder.spec.match
    check_switches(scorer, match, text_weight)
    region = None
    if roi is not None:
        region = region_of_interest(roi, source_size=references[0].image.shape[:2], size=scorer.encoder.image_size)
    tell = progress or _silent
    images = [painted(sample.image, region) for sample in references]
    tokens = ReferenceTokens.encode(scorer, images, match, tell, roi=region)
    header = _header(scorer, references, product=product, object_name=object_name, match=match)
    text = text_features(scorer, object_name, embed)
    left_out = leave_one_out(scorer, images, tokens, header, text, tell)
    good = _merged([evidence.statistics for evidence in left_out])
    weight = scorer.encoder.spec.text_weight if text_weight is None else text_weight
    rule = ScoreRule.fit(header.rule.statistics, good, text_weight=weight)
    scores = tuple(float(score) for score in rule.score(good))
    header = replace(
        header, rule=rule, calibration=provisional(scores), map_scale=_map_scale(scorer, left_out, text)
    )
    bank = replace(tokens.bank(header), text_features=None if text is None else text.cpu())
    bank = _with_golden(scorer, bank, images[0])
    if not outside:
        return Enrolment(
            bank=bank,
            scores=scores,
            calibration_scores=(),
            warnings=_warnings(scores, references, calibrated=False),
        )
    enrolment = recalibrate(scorer, bank, outside, max_false_rejects=max_false_rejects, progress=progress)
    return replace(enrolment, warnings=_warnings(scores, references, calibrated=True))


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
    check_samples(samples, size=bank.header.source_size)
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


def text_features(scorer: Scorer, object_name: str | None, embed: Embed | None) -> torch.Tensor | None:
    """F_t (2, E) of a product on the scorer's device, None for a method without words.

    object_name: None says "object". Raises EnrolmentError where words are needed and there is no text tower to
    read them, EncoderError for an empty name.
    """
    if scorer.zero_shot is None:
        return None
    if embed is None:
        raise EnrolmentError(
            f"method {scorer.method} takes the product's name in words, and a text tower to read it"
        )
    name = UNKNOWN_OBJECT if object_name is None else object_name
    return scorer.zero_shot.text_features(embed, name).to(scorer.encoder.torch_device)


def _header(
    scorer: Scorer,
    references: Sequence[Sample],
    *,
    product: str,
    object_name: str | None,
    match: MatchOptions,
) -> BankHeader:
    """All that is known before the references have been scored; rule, calibration and scale follow."""
    encoder = scorer.encoder
    names = default_statistics(match.bank_stages(encoder.matched), worded=scorer.zero_shot is not None)
    if encoder.spec.statistics is not None:
        names = tuple(name for name in encoder.spec.statistics if scorer.zero_shot or not is_worded(name))
    height, width = references[0].image.shape[:2]
    return BankHeader(
        product=product,
        object_name=object_name,
        method=scorer.method,
        encoder_id=encoder.id,
        activation=encoder.spec.activation,
        stages=encoder.matched,
        image_size=encoder.image_size,
        adapter_sha256=scorer.adapter_sha256,
        device=encoder.device,
        precision=encoder.precision,
        match=match,
        rule=ScoreRule(statistics=names, centre=(0.0,) * len(names), spread=(1.0,) * len(names)),
        calibration=provisional([0.0]),
        map_scale=(0.0, 1.0),
        golden_score=None,
        source_size=(height, width),
        sources=tuple(Source(name=sample.name, sha256=sample.sha256) for sample in references),
        built_at=_now(),
    )


def _map_scale(scorer: Scorer, left_out: Sequence[Evidence], text: torch.Tensor | None) -> tuple[float, float]:
    """(cold, hot) of the pixel map: between what 5 % and what 0.05 % of a good part's pixels exceed.

    From leave-one-out maps. Wider, and defects of a few tokens stay invisible; narrower, and good parts glow.
    """
    maps = np.concatenate([to_numpy(scorer.maps(part, text, range(len(part.features)))) for part in left_out])
    roi = left_out[0].roi
    low, high = np.quantile(maps if roi is None else maps[:, roi != 0], MAP_QUANTILES)
    return float(low), float(max(high, low + 1e-3))


def _merged(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _with_golden(scorer: Scorer, bank: ReferenceBank, image: Image) -> ReferenceBank:
    """Keep a shifted copy of the first reference and its score: the self-test's question and answer.

    Shifted, because the reference itself lies at distance 0 from its own tokens whatever the tower does to it.
    """
    size = scorer.encoder.image_size
    small = squash(image, size=size, device=torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    golden = np.ascontiguousarray(painted(np.roll(small, (size // 7, size // 5), axis=(0, 1)), bank.roi))
    score = scorer.score([golden], [scorer.prepare(bank)], want_map=never)[0].score
    return replace(bank, golden=golden, header=replace(bank.header, golden_score=score))


def _score(scorer: Scorer, prepared: PreparedBank, samples: Sequence[Sample], tell: Progress) -> tuple[float, ...]:
    scores: list[float] = []
    for start in range(0, len(samples), BATCH):
        images = [sample.image for sample in samples[start : start + BATCH]]
        results = scorer.score(images, [prepared] * len(images), want_map=never)
        scores.extend(result.score for result in results)
        tell("scoring calibration samples", len(scores), len(samples))
    return tuple(scores)


def _warnings(scores: Sequence[float], references: Sequence[Sample], *, calibrated: bool) -> tuple[str, ...]:
    warnings = []
    if len(scores) == len(references) >= 4:
        warnings += _odd_one_out(scores, references)
    if len(references) < FEW_REFERENCES and not calibrated:
        warnings.append(
            f"{len(references)} references say little about how good parts vary, so this threshold is a guess: "
            f"calibrate with good parts outside the bank, or enrol {FEW_REFERENCES} or more"
        )
    return tuple(warnings)


def _odd_one_out(scores: Sequence[float], references: Sequence[Sample]) -> list[str]:
    """Name the reference that looks unlike the rest: far above the others' largest, measured in their spread."""
    order = np.argsort(scores)
    worst, others = int(order[-1]), np.array(scores)[order[:-1]]
    if scores[worst] <= others.max() + ODD_SPREADS * float(others.std(ddof=1)):
        return []
    return [
        f"{references[worst].name} looks unlike the other references (score {scores[worst]:.2f}, the others at "
        f"most {others.max():.2f}); if it is not a good part, enrol again without it"
    ]


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
