"""Does the promise on false rejects hold? Hundreds of random calibrations of `lite` on the textile pictures.

    python -m benchmarks calibrations [--save]

Calibrated: good pictures outside the bank are drawn at random, n of them place the threshold, and the rest are
the fresh good parts whose false rejects are counted. The realised rate of one calibration must follow
Beta(k + 1, n - k), k = floor(P (n + 1)) - 1, and its mean stay at or below P. Provisional: 200 draws of 8
references; what they expect, 1/9, is only reported beside what fresh good parts then get. P is not chosen by any
picture: 5 % for all n, and 1 % where n carries it. `benchmarks.calibrations_picture` draws what --save keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

import core
from benchmarks import textile
from benchmarks.accuracy import encode, scores
from benchmarks.result import Result
from core.calibration import calibrated
from core.features import Features

SHOTS = 8
BANKS = 10
SPLITS = 40
PROMISES = ((19, 0.05), (99, 0.05), (199, 0.05), (99, 0.01), (199, 0.01))
PROVISIONAL_DRAWS = 200
PROVISIONAL_FRESH = 250
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Rates = npt.NDArray[np.float64]
"""(R,) realised false-reject rates, one a calibration."""


def results() -> Iterator[Result]:
    """One line an (n, P), then the provisional threshold."""
    scorer = core.Scorer(core.load_encoder("lite", device="cpu"))
    good = [*textile.development("nominal"), *textile.report("nominal")]
    features = encode(scorer, good)
    banks = [score_outside(scorer, good, features, seed) for seed in range(BANKS)]
    for n, promised in PROMISES:
        yield promise_result(n, promised, realised(banks, n, promised))
    yield provisional_result([provisional_rate(scorer, good, features, seed) for seed in range(PROVISIONAL_DRAWS)])


def score_outside(
    scorer: core.Scorer, good: Sequence[textile.Picture], features: Features, seed: int
) -> npt.NDArray[np.float64]:
    """Enrol one draw of references, and score every good picture that is not one of them."""
    enrolment = enrolled(scorer, seed)
    references = {picture.path for picture in textile.references(SHOTS, seed=seed)}
    outside = [index for index, picture in enumerate(good) if picture.path not in references]
    return scores(scorer, features.rows(outside), scorer.prepare(enrolment.bank))


def realised(banks: Sequence[npt.NDArray[np.float64]], n: int, promised: float) -> Rates:
    """SPLITS random calibrations a bank: the false-reject rate of the good pictures that are left."""
    rates = []
    for seed, bank in enumerate(banks):
        rng = np.random.default_rng((seed, n))
        for _ in range(SPLITS):
            drawn = rng.permutation(bank)
            threshold = calibrated([0.0], drawn[:n], max_false_rejects=promised).thresholds.reject
            rates.append(float((drawn[n:] > threshold).mean()))
    return np.array(rates)


def promise_result(n: int, promised: float, rates: Rates) -> Result:
    """The mean against P + 2 standard errors, and the quantiles beside those of the Beta distribution."""
    error = float(rates.std(ddof=1) / np.sqrt(len(rates)))
    a, b = beta_of(n, promised)
    drawn = np.random.default_rng(0).beta(a, b, 1_000_000)
    return Result(
        name=f"false_rejects_n{n}_p{promised:g}",
        value=float(rates.mean()),
        target=round(promised + 2 * error, 4),
        at_most=True,
        detail={
            "calibrations": len(rates),
            "promised": promised,
            "standard_error": round(error, 5),
            "quantiles": [round(float(value), 4) for value in np.quantile(rates, QUANTILES)],
            "beta": [a, b],
            "beta_quantiles": [round(float(value), 4) for value in np.quantile(drawn, QUANTILES)],
            "rates": [round(float(rate), 5) for rate in rates],
        },
    )


def beta_of(n: int, promised: float) -> tuple[int, int]:
    """The distribution that one calibration's realised rate follows."""
    k = int(promised * (n + 1) + 1e-9) - 1
    return k + 1, n - k


def provisional_rate(
    scorer: core.Scorer, good: Sequence[textile.Picture], features: Features, seed: int
) -> tuple[float, float]:
    """(expected, realised) of one provisional threshold; fresh parts from the report half, the same for all."""
    enrolment = enrolled(scorer, seed)
    fresh = features.rows(range(len(good) - PROVISIONAL_FRESH, len(good)))
    above = scores(scorer, fresh, scorer.prepare(enrolment.bank)) > enrolment.thresholds.reject
    return enrolment.expected_false_rejects, float(above.mean())


def provisional_result(pairs: Sequence[tuple[float, float]]) -> Result:
    """Reported, with nothing to meet."""
    expected, rates = (np.array(column) for column in zip(*pairs, strict=True))
    return Result(
        name=f"false_rejects_provisional_{SHOTS}_shot",
        value=float(rates.mean()),
        target=None,
        at_most=True,
        detail={
            "draws": len(rates),
            "expected": round(float(expected.mean()), 4),
            "standard_error": round(float(rates.std(ddof=1) / np.sqrt(len(rates))), 5),
            "quantiles": [round(float(value), 4) for value in np.quantile(rates, QUANTILES)],
            "rates": [round(float(rate), 5) for rate in rates],
        },
    )


def enrolled(scorer: core.Scorer, seed: int) -> core.Enrolment:
    """One draw of references, enrolled."""
    samples = [
        core.Sample.from_bytes(picture.path.name, picture.path.read_bytes())
        for picture in textile.references(SHOTS, seed=seed)
    ]
    return core.enrol(scorer, samples, product="linen")
