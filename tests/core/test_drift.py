"""The drift test: what it promises without drift, what it finds with one, and what defects may not do to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.drift import BETS, HIGHER, LOWER, NO_EVIDENCE, DriftEvidence, DriftTest

FALSE_ALARM = 500.0


def a_test(samples: int = 99, *, defect_rate: float = 0.05, parts: float = FALSE_ALARM) -> DriftTest:
    return DriftTest(samples=samples, parts_per_false_alarm=parts, defect_rate=defect_rate)


def p_values(seed: int, parts: int, *, samples: int, shift: float = 0.0, defects: float = 0.0) -> Iterator[float]:
    """A stream after one random calibration: good parts are normal, defects beyond everything."""
    rng = np.random.default_rng(seed)
    good = np.sort(rng.normal(size=samples))
    scores = rng.normal(size=parts) + shift
    scores[rng.random(parts) < defects] = 50.0
    yield from (1 + samples - np.searchsorted(good, scores)) / (samples + 1)


def alarm_after(test: DriftTest, stream: Iterator[float]) -> int | None:
    evidence = NO_EVIDENCE
    for p_value in stream:
        evidence = test.after(evidence, p_value)
        if test.alarms(evidence):
            return evidence.parts
    return None


@pytest.mark.parametrize("samples", [19, 99])
@pytest.mark.parametrize("defects", [0.0, 0.05])
def test_without_drift_alarms_are_no_more_frequent_than_stated(samples: int, defects: float) -> None:
    # P(alarm within T) <= T / N for 98 of 100 calibrations; here T = N / 5
    parts, lives = int(FALSE_ALARM / 5), 200
    streams = (p_values(seed, parts, samples=samples, defects=defects) for seed in range(lives))
    alarms = [alarm_after(a_test(samples), stream) for stream in streams]
    assert np.mean([alarm is not None for alarm in alarms]) <= 0.2 + 0.02


def test_a_calibration_that_lies_low_is_no_drift_however_long_the_stream() -> None:
    """The trap: p-values of one calibration are not uniform, and a test that thinks so always alarms at last."""
    samples, parts = 99, 5000
    naive = DriftTest(samples=10**9, parts_per_false_alarm=FALSE_ALARM, defect_rate=0.0)
    streams = {seed: list(p_values(seed, parts, samples=samples)) for seed in range(20)}
    fooled = [seed for seed, stream in streams.items() if alarm_after(naive, iter(stream)) is not None]
    alarmed = [seed for seed in fooled if alarm_after(a_test(defect_rate=0.0, parts=1e6), iter(streams[seed]))]
    assert len(fooled) >= 10
    assert alarmed == []


@pytest.mark.parametrize(("shift", "direction"), [(1.0, HIGHER), (-1.0, LOWER)])
def test_a_shift_of_one_spread_is_found_within_600_parts_and_its_direction_named(
    shift: float, direction: str
) -> None:
    test = a_test(parts=1e6)
    for seed in range(10):
        evidence = NO_EVIDENCE
        for p_value in p_values(seed, 600, samples=99, shift=shift, defects=0.02):
            evidence = test.after(evidence, p_value)
        assert test.alarms(evidence)
        assert evidence.direction == direction


def test_defects_up_to_the_stated_rate_are_no_drift_and_a_flood_of_them_is() -> None:
    test = a_test(parts=1e6)
    assert all(alarm_after(test, p_values(seed, 2000, samples=99, defects=0.05)) is None for seed in range(10))
    assert all(alarm_after(test, p_values(seed, 500, samples=99, defects=0.6)) for seed in range(10))


def test_long_calm_leaves_no_debt() -> None:
    """A shift after 3,000 calm parts is found as soon as one at the start."""
    test = a_test(parts=1e6)
    calm = list(p_values(3, 3000, samples=99))
    drifted = list(p_values(3, 400, samples=99, shift=1.0))
    at_once, later = alarm_after(test, iter(drifted)), alarm_after(test, iter(calm + drifted))
    assert at_once is not None
    assert later is not None
    assert later - len(calm) <= at_once


@given(st.integers(1, 1000), st.floats(0.0, 0.5))
def test_no_part_can_lose_everything_or_win_without_a_bound(samples: int, defect_rate: float) -> None:
    test = a_test(samples, defect_rate=defect_rate)
    before = DriftEvidence(parts=1, higher=(10.0,) * len(BETS), lower=(10.0,) * len(BETS))
    for p_value in (1 / (samples + 1), 0.5, 1.0):
        after = test.after(before, p_value)
        assert all(0.5 < total < 22.0 for total in (*after.higher, *after.lower))


def test_after_a_drift_has_passed_its_evidence_falls_again() -> None:
    test = a_test(parts=1e6)
    evidence = NO_EVIDENCE
    for p_value in p_values(1, 2000, samples=99, shift=3.0):
        evidence = test.after(evidence, p_value)
    assert test.level(evidence) >= 1.0
    for p_value in p_values(1, 400, samples=99):
        evidence = test.after(evidence, p_value)
    assert test.level(evidence) < 0.5


def test_more_samples_find_smaller_shifts() -> None:
    found = [a_test(samples).smallest_shift for samples in (19, 99, 199, 999)]
    assert found == sorted(found, reverse=True)
    assert found[1] == pytest.approx(0.30, abs=0.01)
