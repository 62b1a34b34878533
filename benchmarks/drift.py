"""How soon the drift watch finds a dirty lens, other light or a new lot, and how rarely it cries wolf.

    python -m benchmarks drift [--save]

`lite`, 8 references and 99 calibration pictures of the development half; the line then runs pictures of the report
half, 5 % of them defective, drawn with replacement. Each drift is what a camera would see of it: the pictures
themselves are changed, defective ones too. Figures are over random calibrations and streams, with the settings'
defaults (one false alarm in a million parts, 5 % defects allowed for). Nothing but the strength of the drifts was
chosen on these pictures: from harmless to gross.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

import core
from benchmarks import textile
from benchmarks.accuracy import BATCH, encode
from benchmarks.calibrations import enrolled, score_outside
from benchmarks.result import Result
from core.calibration import calibrated
from core.drift import NO_EVIDENCE, DriftTest
from core.image import Image
from core.scorer import never

SAMPLES = 99
STREAMS = 100
CALM, PATIENCE, LONG = 500, 2_000, 20_000
"""Parts before the drift, parts in which it should be found, and parts of a stream without one."""
DEFECTS = 0.05
GOOD_PARTS, DEFECTIVE_PARTS = 250, 25
PROMISED = 0.05

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A change of what the camera sees; (H, W, 3) uint8 RGB in and out."""

    name: str
    seen: Callable[[Image], Image]


def blurred(sigma: float) -> Drift:
    """A lens that gets dirty or loses its focus."""
    return Drift(name=f"blur_{sigma:g}px", seen=lambda image: _picture(cv2.GaussianBlur(image, (0, 0), sigma)))


def lit(gain: float) -> Drift:
    """A lamp that ages."""
    return Drift(name=f"light_{gain - 1:+.0%}", seen=lambda image: _picture(image.astype(np.float32) * gain))


def tinted(amount: float) -> Drift:
    """A lot that was dyed a little warmer."""
    channels = np.array([1 + amount, 1, 1 - amount], np.float32)
    return Drift(name=f"warmer_{amount:.1%}", seen=lambda image: _picture(image.astype(np.float32) * channels))


def coarser(amount: float) -> Drift:
    """A lot of thicker yarn: the same weave, larger."""

    def seen(image: Image) -> Image:
        height, width = image.shape[:2]
        large = cv2.resize(image, None, fx=1 + amount, fy=1 + amount, interpolation=cv2.INTER_CUBIC)
        return _picture(large[:height, :width])

    return Drift(name=f"coarser_{amount:.1%}", seen=seen)


DRIFTS = (
    blurred(0.3),
    blurred(0.35),
    blurred(0.5),
    lit(0.97),
    lit(0.93),
    lit(0.9),
    tinted(0.005),
    tinted(0.01),
    coarser(0.005),
    coarser(0.01),
)


def results() -> Iterator[Result]:
    """False alarms first, then one line a drift: the median delay in parts, None where it is mostly not found."""
    scorer = core.Scorer(core.load_encoder("lite", device="cpu"))
    bank = scorer.prepare(enrolled(scorer, 0).bank)
    development = textile.development("nominal")
    calibration = score_outside(scorer, development, encode(scorer, development), 0)
    good = textile.report("nominal")[:GOOD_PARTS]
    half = DEFECTIVE_PARTS // 2
    bad = [*textile.report("local")[:half], *textile.report("global")[: DEFECTIVE_PARTS - half]]
    as_it_is = Drift(name="none", seen=lambda image: image)
    calm = tuple(_scored(scorer, bank, part, as_it_is) for part in (good, bad))
    yield _false_alarms(calibration, calm)
    for drift in DRIFTS:
        drifted = tuple(_scored(scorer, bank, part, drift) for part in (good, bad))
        yield _delay(drift.name, calibration, calm, drifted)


def _scored(
    scorer: core.Scorer, bank: core.PreparedBank, pictures: Sequence[textile.Picture], drift: Drift
) -> Scores:
    scores: list[float] = []
    for start in range(0, len(pictures), BATCH):
        images = [
            drift.seen(core.decode_image(picture.path.read_bytes())) for picture in pictures[start : start + BATCH]
        ]
        scores += [result.score for result in scorer.score(images, [bank] * len(images), want_map=never)]
    return np.array(scores)


def _false_alarms(calibration: Scores, calm: tuple[Scores, ...]) -> Result:
    """The share of streams without drift that alarm; at most their length in parts of the stated rate."""
    test = _test()
    alarms = []
    for seed in range(STREAMS):
        rng = np.random.default_rng(seed)
        samples = rng.permutation(calibration)[:SAMPLES]
        alarms.append(_alarm(test, _p_values(samples, _stream(calm, LONG, rng))) is not None)
    return Result(
        name=f"drift_false_alarms_in_{LONG}_parts",
        value=float(np.mean(alarms)),
        target=LONG / test.parts_per_false_alarm,
        at_most=True,
        detail={"streams": STREAMS, "samples": SAMPLES, "parts_per_false_alarm": test.parts_per_false_alarm},
    )


def _delay(name: str, calibration: Scores, calm: tuple[Scores, ...], drifted: tuple[Scores, ...]) -> Result:
    test, delays, early, rejected = _test(), [], 0, []
    for seed in range(STREAMS):
        rng = np.random.default_rng(seed)
        samples = rng.permutation(calibration)[:SAMPLES]
        stream = np.r_[_stream(calm, CALM, rng), _stream(drifted, PATIENCE, rng)]
        alarm = _alarm(test, _p_values(samples, stream))
        early += alarm is not None and alarm <= CALM
        delays.append(np.inf if alarm is None else alarm - CALM)
        threshold = calibrated([0.0], samples, max_false_rejects=PROMISED).thresholds.reject
        rejected.append(float((drifted[0] > threshold).mean()))
    found = np.isfinite(delays)
    low, median, high = np.quantile(np.where(found, delays, PATIENCE), (0.1, 0.5, 0.9))
    return Result(
        name=f"drift_delay_{name}",
        value=float(median) if found.mean() > 0.5 else None,
        target=None,
        at_most=True,
        detail={
            "streams": STREAMS,
            f"found_in_{PATIENCE}": float(found.mean()),
            "delay_p10": float(low),
            "delay_p90": float(high),
            "alarms_before_it_began": early,
            "shift": round(float((np.median(drifted[0]) - np.median(calm[0])) / calm[0].std(ddof=1)), 2),
            "false_rejects_then": round(float(np.mean(rejected)), 4),
            "promised": PROMISED,
        },
    )


def _test() -> DriftTest:
    return DriftTest(samples=SAMPLES, parts_per_false_alarm=1_000_000, defect_rate=0.05)


def _stream(pools: tuple[Scores, ...], parts: int, rng: np.random.Generator) -> Scores:
    good, bad = pools
    defective = rng.random(parts) < DEFECTS
    return np.where(defective, rng.choice(bad, parts), rng.choice(good, parts))


def _p_values(samples: Scores, scores: Scores) -> Scores:
    """Conformal p-values, all at once."""
    below = np.searchsorted(np.sort(samples), scores, side="left")
    return np.asarray((1 + len(samples) - below) / (len(samples) + 1))


def _alarm(test: DriftTest, p_values: Scores) -> int | None:
    """After how many parts the alarm came."""
    evidence = NO_EVIDENCE
    for p_value in p_values.tolist():
        evidence = test.after(evidence, p_value)
        if test.alarms(evidence):
            return evidence.parts
    return None


def _picture(values: npt.NDArray[np.generic]) -> Image:
    return np.ascontiguousarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
