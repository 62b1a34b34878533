"""What is odd about one of a product's good samples, or about all of them: found by comparing their traits. Pure.

Each rule compares a sample with the *others'* median, in units of their own spread and never less than a floor, so
that a product that varies much is not blamed for it; four samples are the fewest that can say which one is odd.
How often each rule is right and wrong on real pictures: docs/notes/0018-enrolment.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from core.image import Image
from core.picture_traits import PictureTraits, red_minus_blue

Named = Sequence[tuple[str, PictureTraits]]
"""Samples by the name that messages call them."""

FEW_REFERENCES = 8
"""Below this, provisional thresholds reject far too many or too few (docs/notes/0003-streaming-score.md)."""
FEWEST = 4
ODD_SPREADS, ODD_CERTAINTY = 8.0, 1 - 1e-4
"""Student's t with n - 2 degrees, and never less than 8 spreads, since distances of good parts have long tails."""
SPREADS = 5.0
BLUR_FLOOR = 0.2
"""In log sharpness: 18 % less detail than the others, a Gaussian of about 0.8 px on the textile pictures."""
LIGHT_FLOOR = 0.18
"""In log brightness: 20 % more light, or 16 % less."""
TOO_DARK, TOO_BRIGHT = 40.0, 215.0
SAME_PATTERN = 0.97
CLOSER_THAN_MOST = 0.25
COLOUR_FLOOR = 8.0
GREY, COLOURED = 1.5, 4.0
FLAT, VIVID = 1.0, 4.0


class FindingKind(StrEnum):
    """What a finding is about."""

    UNLIKE = "unlike the rest"
    BLUR = "blur"
    EXPOSURE = "exposure"
    DUPLICATE = "near-duplicate"
    COLOUR = "colour"
    FEW = "few samples"
    REPEATED = "counted before"
    STOPPED = "stopped by the line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a person should look at.

    sample: its name, None for the whole set. text: goes after the name.
    """

    kind: FindingKind
    sample: str | None
    text: str

    def __str__(self) -> str:
        return self.text if self.sample is None else f"{self.sample} {self.text}"


def sample_findings(samples: Named) -> tuple[Finding, ...]:
    """Everything odd about samples that should all show good parts of one product, by rule and by sample."""
    rules: tuple[Callable[[Named], Iterator[Finding]], ...] = (blurred, badly_lit, near_duplicates, oddly_coloured)
    return tuple(finding for rule in rules for finding in rule(samples))


def unlike_the_rest(
    names: Sequence[str], statistics: npt.NDArray[np.float64], titles: Sequence[str]
) -> tuple[Finding, ...]:
    """Name the references that are unlike the others by their leave-one-out statistics (R, K) called `titles`.

    Each statistic is compared with the others' mean in *their* spread. The score cannot tell: it is standardised
    by all references, so that among n the oddest lies no more than (n - 1)/sqrt(n) from their mean. Two that are
    odd in the same way vouch for each other and stay unseen.
    """
    count = len(names)
    if count < FEWEST:
        return ()
    limit = max(ODD_SPREADS, float(stdtrit(count - 2, ODD_CERTAINTY)))
    findings = []
    for index, name in enumerate(names):
        others = np.delete(statistics, index, axis=0)
        spread = np.maximum(others.std(axis=0, ddof=1) * math.sqrt(1 + 1 / (count - 1)), 1e-9)
        away = (statistics[index] - others.mean(axis=0)) / spread
        worst = int(away.argmax())
        if away[worst] > limit:
            text = (
                f"looks unlike the other references, {_what(titles[worst])}: {away[worst]:.0f} times their spread "
                "from them; if it is not a good part, leave it out"
            )
            findings.append(Finding(kind=FindingKind.UNLIKE, sample=name, text=text))
    return tuple(findings)


def _what(statistic: str) -> str:
    """What a statistic of core.score_rule looks at, for a person."""
    if statistic.startswith("text."):
        return "by its words"
    return "as a whole" if statistic.endswith((".pool", ".mean")) else "in some place"


def few_references(count: int) -> tuple[Finding, ...]:
    """Of a provisional bank with too few references."""
    if count >= FEW_REFERENCES:
        return ()
    text = (
        f"{count} reference{'s say' if count > 1 else ' says'} little about how good parts vary, so this "
        f"threshold is a guess: calibrate with good parts outside the bank, or enrol {FEW_REFERENCES} or more"
    )
    return (Finding(kind=FindingKind.FEW, sample=None, text=text),)


def counted_before(count: int) -> tuple[Finding, ...]:
    """Of calibration samples that the bank knows already."""
    if not count:
        return ()
    text = f"{count} of the samples were calibrated on before and count once"
    return (Finding(kind=FindingKind.REPEATED, sample=None, text=text),)


def blurred(samples: Named) -> Iterator[Finding]:
    """Samples with clearly less fine detail than the others."""
    detail = np.log([traits.sharpness for _, traits in samples])
    for index, excess in _far_off(detail, BLUR_FLOOR):
        if excess < 0:
            text = f"is blurred: {1 - math.exp(excess):.0%} less fine detail than the others"
            yield Finding(kind=FindingKind.BLUR, sample=samples[index][0], text=text)


def badly_lit(samples: Named) -> Iterator[Finding]:
    """Samples that are much darker or brighter than the others, and those that are nearly black or white."""
    light = np.log([traits.brightness + 1.0 for _, traits in samples])
    off = dict(_far_off(light, LIGHT_FLOOR))
    for index, (name, traits) in enumerate(samples):
        if traits.brightest < TOO_DARK:
            text = f"is almost black: 99 % of it lies below {traits.brightest:.0f} of 255"
        elif traits.darkest > TOO_BRIGHT:
            text = f"is washed out: 99 % of it lies above {traits.darkest:.0f} of 255"
        elif index in off:
            ratio = math.exp(off[index])
            text = f"is {'brighter' if ratio > 1 else 'darker'} than the others: {ratio:.2g} times their light"
        else:
            continue
        yield Finding(kind=FindingKind.EXPOSURE, sample=name, text=text)


def near_duplicates(samples: Named) -> Iterator[Finding]:
    """Samples that show the same part in the same place as an earlier one: it would vouch for itself."""
    if len(samples) < 2:
        return
    patterns = np.stack([traits.pattern for _, traits in samples])
    alike = patterns @ patterns.T
    pairs = alike[np.triu_indices(len(samples), 1)]
    usual = float(np.median(pairs)) if len(samples) >= FEWEST else 0.0
    if usual > SAME_PATTERN:
        yield Finding(
            kind=FindingKind.DUPLICATE,
            sample=None,
            text=f"all samples look like one picture (correlation {usual:.3f}); if the line stood still they show "
            "one part, and one part does not say how parts vary",
        )
        return
    limit = max(SAME_PATTERN, 1.0 - CLOSER_THAN_MOST * (1.0 - usual))
    for index, (name, _) in enumerate(samples):
        earlier = alike[index, :index]
        if index and float(earlier.max()) > limit:
            twin = samples[int(earlier.argmax())][0]
            text = f"is nearly the same picture as {twin} (correlation {earlier.max():.3f})"
            yield Finding(kind=FindingKind.DUPLICATE, sample=name, text=text)


def oddly_coloured(samples: Named) -> Iterator[Finding]:
    """Samples whose colours the others do not share: grey, a dead channel, red and blue exchanged."""
    if len(samples) < FEWEST:
        return
    for index, (name, traits) in enumerate(samples):
        others = [other for place, (_, other) in enumerate(samples) if place != index]
        text = _greyness(traits, others) or _dead_channel(traits, others) or _swapped_among(traits, others)
        if text:
            yield Finding(kind=FindingKind.COLOUR, sample=name, text=text)


def colours_against(samples: Named, known: Image) -> tuple[Finding, ...]:
    """Whether all samples fit a picture of the product that is known better with red and blue exchanged.

    known: (H, W, 3) uint8 RGB. Grey products, and colours in which red and blue weigh the same, tell nothing.
    """
    theirs = np.array(red_minus_blue(known))
    median = np.median([traits.red_minus_blue for _, traits in samples], axis=0)
    apart = float(np.abs(median - theirs).mean())
    if apart <= COLOUR_FLOOR or float(np.abs(exchanged(median) - theirs).mean()) >= apart / 3:
        return ()
    text = (
        "the colours of all samples fit what this line scored with until now better with red and blue exchanged; "
        "look at `color` of the camera in the settings, or at what wrote the files"
    )
    return (Finding(kind=FindingKind.COLOUR, sample=None, text=text),)


def exchanged(red_minus_blue: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The quantiles of R - B (5,) as they are once red and blue have changed places."""
    return np.asarray(-red_minus_blue[::-1])


def _greyness(traits: PictureTraits, others: Sequence[PictureTraits]) -> str | None:
    usual = float(np.median([other.chroma for other in others]))
    if traits.chroma < GREY and usual > COLOURED:
        return "is grey, the others are in colour"
    if traits.chroma > COLOURED and usual < GREY:
        return "is in colour, the others are grey"
    return None


def _dead_channel(traits: PictureTraits, others: Sequence[PictureTraits]) -> str | None:
    usual = np.median([other.channel_spreads for other in others], axis=0)
    for name, spread, theirs in zip(("red", "green", "blue"), traits.channel_spreads, usual, strict=True):
        if spread < FLAT and theirs > VIVID:
            return f"has an empty {name} channel"
    return None


def _swapped_among(traits: PictureTraits, others: Sequence[PictureTraits]) -> str | None:
    theirs = np.array([other.red_minus_blue for other in others])
    usual = np.median(theirs, axis=0)
    mine = np.array(traits.red_minus_blue)
    spread = float(np.median(np.abs(theirs - usual).mean(axis=1)))
    apart = float(np.abs(mine - usual).mean())
    if apart <= max(COLOUR_FLOOR, SPREADS * spread) or float(np.abs(exchanged(mine) - usual).mean()) >= apart / 3:
        return None
    return "fits the others better with red and blue exchanged: was it saved as BGR?"


def _far_off(values: npt.NDArray[np.float64], floor: float) -> Iterator[tuple[int, float]]:
    """(index, distance from the others' median) of values SPREADS of the others' and `floor` or more away."""
    if len(values) < FEWEST:
        return
    for index, value in enumerate(values):
        others = np.delete(values, index)
        centre = float(np.median(others))
        spread = 1.4826 * float(np.median(np.abs(others - centre)))  # the deviation of a normal distribution
        if abs(value - centre) > max(SPREADS * spread, floor):
            yield index, float(value - centre)
