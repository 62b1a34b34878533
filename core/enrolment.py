"""From a few good samples to a bank: check them, encode them, score each against the others, calibrate.

Everything is checked before anything is computed, and nothing is stored here: the caller gets a bank in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.bank import PreparedBank, ReferenceBank, check_belongs
from core.bank_building import BuiltBank, Progress, build_bank, now
from core.calibration import calibrated, check_promise, chosen_rates, provisional
from core.decide import Thresholds, check_band
from core.enrolment_checks import check_samples, check_switches, split_samples
from core.errors import EnrolmentError
from core.flow import Sample
from core.leave_one_out import batch_size
from core.picture_traits import PictureTraits, picture_traits
from core.presets import MatchOptions
from core.region import region_of_interest
from core.sample_findings import Finding, counted_before, few_references, sample_findings, unlike_the_rest
from core.scorer import Scorer, never
from core.text import Embed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Enrolment:
    """What enrolling gave.

    scores: of the references, each against the others; of jittered copies where there is one reference.
    calibration_scores: of good samples outside the bank. findings: what the engineer should look at. traits: of
    the references, in their order. maps: (R, S, S), where each reference differs from the others. A bank that was
    only calibrated has neither.
    """

    bank: ReferenceBank
    scores: tuple[float, ...]
    calibration_scores: tuple[float, ...]
    findings: tuple[Finding, ...] = ()
    traits: tuple[PictureTraits, ...] = ()
    maps: npt.NDArray[np.float32] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings, a sentence each."""
        return tuple(str(finding) for finding in self.findings)

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
    max_reviews: float | None = None,
    firm: bool = True,
    match: MatchOptions | None = None,
    text_weight: float | None = None,
    roi: npt.NDArray[np.generic] | None = None,
    embed: Embed | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """Build a product's bank from good samples.

    samples: good parts, one size, no duplicates. shots: how many of them become references (the first K; the
    rest join the calibration). calibration: good parts outside the bank; with any, the threshold is
    calibrated, else provisional. max_false_rejects, max_reviews, firm: see core.calibration.calibrated.
    object_name, embed: for methods with words, see core.text; a product without a name is called "object".

    match: None takes the preset's. text_weight: of the words beside the bank. roi: (H, W) mask of the samples'
    size, not 0 where the line inspects; None inspects all.

    Raises EnrolmentError (naming the sample) or CalibrationError (naming how many samples P takes).
    """
    references, outside = split_samples(samples, shots, calibration)
    check_samples([*references, *outside])
    rates = (max_false_rejects, max_reviews)
    _check_rates(rates, len(outside), firm=firm)
    match = match or scorer.encoder.spec.match
    check_switches(scorer, match, text_weight)
    region = None
    if roi is not None:
        region = region_of_interest(roi, source_size=references[0].image.shape[:2], size=scorer.encoder.image_size)
    built = build_bank(
        scorer,
        references,
        product=product,
        object_name=object_name,
        match=match,
        text_weight=scorer.encoder.spec.text_weight if text_weight is None else text_weight,
        region=region,
        embed=embed,
        tell=progress or _silent,
    )
    return _with_promise(scorer, _looked_at(built, references), outside, rates, firm=firm, progress=progress)


def re_enrol(
    scorer: Scorer,
    bank: ReferenceBank,
    references: Sequence[Sample],
    *,
    calibration: Sequence[Sample] = (),
    thresholds: Thresholds | None = None,
    embed: Embed | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """The same product from other references; all that was chosen for `bank` stays as it was.

    The bank is built anew: what a thinned bank keeps of one reference depends on all others, so tokens cannot be
    taken out or put in (docs/notes/0018-enrolment.md). calibration: pictures outside it, scored anew. thresholds:
    whose rates stay (core.calibration.chosen_rates), where somebody moved them since; None: those of `bank`. Rates
    that fewer pictures cannot carry stay chosen, and the threshold is provisional.

    Raises as `enrol` does, and MismatchError for a bank of another scorer.
    """
    header = bank.header
    check_belongs(header, scorer.encoder, method=scorer.method, adapter_sha256=scorer.adapter_sha256)
    split_samples(references, None, calibration)
    check_samples([*references, *calibration], size=header.source_size)
    built = build_bank(
        scorer,
        references,
        product=header.product,
        object_name=header.object_name,
        match=header.match,
        text_weight=header.rule.text_weight,
        region=bank.roi,
        embed=embed,
        tell=progress or _silent,
    )
    rates = chosen_rates(thresholds or bank.thresholds, header.calibration.calibration_scores)
    return _with_promise(scorer, _looked_at(built, references), calibration, rates, firm=False, progress=progress)


def _looked_at(built: BuiltBank, references: Sequence[Sample]) -> Enrolment:
    """Provisional, with what is odd about the references."""
    names = [sample.name for sample in references]
    traits = tuple(picture_traits(image) for image in built.images)
    odd = unlike_the_rest(names, built.statistics, built.bank.header.rule.statistics)
    return Enrolment(
        bank=built.bank,
        scores=built.scores,
        calibration_scores=(),
        findings=(*odd, *sample_findings(list(zip(names, traits, strict=True)))),
        traits=traits,
        maps=built.maps,
    )


def _with_promise(
    scorer: Scorer,
    enrolment: Enrolment,
    outside: Sequence[Sample],
    rates: tuple[float | None, float | None],
    *,
    firm: bool,
    progress: Progress | None,
) -> Enrolment:
    """Calibrated on good samples outside the bank, where there are any. rates: (P, Q) as they were chosen."""
    rejects, reviews = rates
    if not outside:
        few = few_references(enrolment.bank.header.shots)
        waiting = provisional(enrolment.scores, max_false_rejects=rejects, max_reviews=reviews)
        header = replace(enrolment.bank.header, calibration=waiting)
        return replace(
            enrolment, bank=replace(enrolment.bank, header=header), findings=(*enrolment.findings, *few)
        )
    promised = recalibrate(
        scorer,
        enrolment.bank,
        outside,
        max_false_rejects=rejects,
        max_reviews=reviews,
        firm=firm,
        progress=progress,
    )
    return replace(
        enrolment,
        bank=promised.bank,
        calibration_scores=promised.calibration_scores,
        findings=(*enrolment.findings, *promised.findings),
    )


def _check_rates(rates: tuple[float | None, float | None], samples: int, *, firm: bool) -> None:
    """Raise CalibrationError for rates that make no band, or a firm one that the samples cannot carry."""
    check_band(*rates)
    for rate in rates:
        if firm and rate is not None:
            check_promise(rate, samples)


def recalibrate(
    scorer: Scorer,
    bank: ReferenceBank,
    samples: Sequence[Sample],
    *,
    max_false_rejects: float | None = None,
    max_reviews: float | None = None,
    firm: bool = True,
    keep_earlier: bool = True,
    progress: Progress | None = None,
) -> Enrolment:
    """Calibrate a bank's threshold on good samples outside it; its tokens and rule stay as they are.

    Earlier calibration samples of the bank still count, each once, unless `keep_earlier` is False: after a drift
    they are not what good parts look like any more. max_reviews, firm: see core.calibration.calibrated.

    Raises as `enrol` does.
    """
    check_samples(samples, size=bank.header.source_size)
    known = {source.sha256 for source in bank.header.sources}
    for sample in samples:
        if sample.sha256 in known:
            raise EnrolmentError(
                f"{sample.name} is one of the bank's references; calibration takes parts outside it",
                sample=sample.name,
            )
    before = bank.header.calibration
    earlier = before.calibration_scores if keep_earlier else ()
    sources = before.calibration_sources if keep_earlier else ()
    fresh = [sample for sample in samples if sample.sha256 not in sources]
    _check_rates((max_false_rejects, max_reviews), len(earlier) + len(fresh), firm=firm)
    scores = _score(scorer, scorer.prepare(bank), fresh, progress or _silent)
    calibration = calibrated(
        before.reference_scores,
        (*earlier, *scores),
        max_false_rejects=max_false_rejects,
        max_reviews=max_reviews,
        firm=firm,
        sources=(*sources, *(sample.sha256 for sample in fresh)),
    )
    return Enrolment(
        bank=replace(bank, header=replace(bank.header, calibration=calibration, built_at=now())),
        scores=calibration.reference_scores,
        calibration_scores=calibration.calibration_scores,
        findings=counted_before(len(samples) - len(fresh)),
    )


def _score(scorer: Scorer, prepared: PreparedBank, samples: Sequence[Sample], tell: Progress) -> tuple[float, ...]:
    scores: list[float] = []
    batch = batch_size(scorer)
    for start in range(0, len(samples), batch):
        images = [sample.image for sample in samples[start : start + batch]]
        results = scorer.score(images, [prepared] * len(images), want_map=never)
        scores.extend(result.score for result in results)
        tell("scoring calibration samples", len(scores), len(samples))
    return tuple(scores)


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""
