"""Live parts as calibration samples: why accepted parts alone are none, and that the fair draw is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.calibration import calibrated
from core.decide import Decision
from daemon.calibration_draw import Candidate, Window, chance, fair_draw, look_back
from daemon.records import Records
from tests.daemon.test_records import NOW, a_verdict

PROMISED = 0.1
EVERY = 10


def a_part(number: int, score: float, threshold: float, *, kept: bool = True) -> Candidate:
    return Candidate(
        key=f"part-{number}",
        decision=Decision.REJECT if score > threshold else Decision.ACCEPT,
        score=score,
        frame_path=f"frames/{number}.png" if kept else None,
        decided_at=NOW + timedelta(seconds=number),
    )


def a_shift(seed: int, threshold: float, parts: int = 2000) -> Window:
    """Good parts only, normal scores; every 10th accepted part keeps its picture."""
    scores = np.random.default_rng(seed).normal(size=parts)
    seen = [a_part(seed * parts + number, float(score), threshold) for number, score in enumerate(scores)]
    accepted = [part for part in seen if part.decision is Decision.ACCEPT]
    stopped = [part for part in seen if part.decision is Decision.REJECT]
    return Window(accepted=len(accepted), kept=tuple(accepted[::EVERY]), stopped=tuple(stopped))


def false_rejects(threshold: float) -> float:
    return float((np.random.default_rng(99).normal(size=100_000) > threshold).mean())


def rounds(count: int, *, with_stopped: bool) -> list[float]:
    """Calibrate on the parts of each shift in turn; the mean false-reject rate after each."""
    rates = []
    for life in range(20):
        threshold, realised = 3.0, []
        for number in range(count):
            draw = fair_draw(a_shift(100 * life + number, threshold), at_most=1000)
            chosen = (*draw.accepted, *(draw.stopped if with_stopped else ()))
            good = [part.score for part in chosen if part.score is not None]
            threshold = calibrated([0.0], good, max_false_rejects=PROMISED).thresholds.reject
            realised.append(false_rejects(threshold))
        rates.append(realised)
    return [float(rate) for rate in np.mean(rates, axis=0)]


def test_calibrating_on_accepted_parts_alone_cuts_deeper_every_round_and_the_fair_draw_does_not() -> None:
    alone, fair = rounds(3, with_stopped=False), rounds(3, with_stopped=True)
    # 1 - (1 - P)^rounds, and P
    assert alone == pytest.approx([0.1, 0.19, 0.271], abs=0.015)
    assert fair == pytest.approx([0.1, 0.1, 0.1], abs=0.015)


def test_every_part_has_the_same_chance_whatever_was_decided() -> None:
    shifts = [a_shift(seed, 0.5) for seed in range(20)]
    draws = [fair_draw(window, at_most=1000) for window in shifts]
    accepted = sum(len(draw.accepted) for draw in draws) / sum(window.accepted for window in shifts)
    stopped = sum(len(draw.stopped) for draw in draws) / sum(len(window.stopped) for window in shifts)
    assert accepted == pytest.approx(1 / EVERY, abs=0.001)
    assert stopped == pytest.approx(1 / EVERY, abs=0.01)


def test_a_smaller_draw_is_smaller_for_both_and_part_of_the_larger() -> None:
    window = a_shift(3, 0.0)
    large, small = fair_draw(window, at_most=1000), fair_draw(window, at_most=20)
    assert len(small.accepted) == 20
    assert small.fraction == 20 / window.accepted
    assert set(small.accepted) < set(large.accepted)
    assert set(small.stopped) < set(large.stopped)
    assert [part.decided_at for part in small.accepted] == sorted(part.decided_at for part in small.accepted)


def test_the_same_window_gives_the_same_draw() -> None:
    assert fair_draw(a_shift(5, 0.5), at_most=30) == fair_draw(a_shift(5, 0.5), at_most=30)


def test_without_pictures_there_is_no_draw() -> None:
    empty = fair_draw(Window(accepted=50, kept=(), stopped=(a_part(1, 9.0, 0.5),)), at_most=10)
    assert (empty.accepted, empty.stopped) == ((), ())
    assert fair_draw(Window(accepted=0, kept=(), stopped=()), at_most=10).fraction == 0.0


def test_chances_are_even_and_depend_on_the_key_alone() -> None:
    chances = np.array([chance(f"key-{number}") for number in range(5000)])
    assert chance("key-1") == chances[1]
    assert np.histogram(chances, bins=10, range=(0, 1))[0] == pytest.approx(500, abs=90)


def test_the_window_is_of_one_line_one_product_and_the_time_since(records_url: str) -> None:
    records = Records(records_url)
    records.upgrade()
    accept = a_verdict("a", decision=Decision.ACCEPT, at=NOW)
    verdicts = [
        replace(accept, key="kept", frame="frames/4/kept.png"),
        replace(accept, key="seen"),
        replace(accept, key="old", decided_at=NOW - timedelta(hours=9), frame="frames/4/old.png"),
        replace(accept, key="other line", line=5, frame="frames/5/x.png"),
        replace(accept, key="other product", product="bolts", frame="frames/4/y.png"),
        replace(accept, key="review", decision=Decision.REVIEW),
        replace(accept, key="reject", decision=Decision.REJECT, frame="frames/4/z.png"),
        replace(accept, key="lost", decision=Decision.UNINSPECTED, score=None),
    ]
    records.insert_inspections(verdicts)
    window = look_back(records.database, line=4, product="nuts", since=NOW - timedelta(hours=8))
    records.close()
    assert window.accepted == 2
    assert [(part.key, part.frame_path) for part in window.kept] == [("kept", "frames/4/kept.png")]
    assert [part.key for part in window.stopped] == ["review", "reject"]
    assert window.kept[0].decided_at == NOW.astimezone(UTC)
    assert isinstance(window.kept[0].decided_at, datetime)
