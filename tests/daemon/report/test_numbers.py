"""Windows and tallies: what SQL counts bucket by bucket is what NumPy makes of all rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decide import Decision
from daemon.flow import Verdict
from daemon.records import Records
from daemon.report import tallies
from daemon.report.tallies import SCORE_STEP, TIME_STEP_MS, BucketTally, Counted, tally
from daemon.report.window import MAX_BUCKETS, Window
from tests.daemon.test_records import NOW, a_verdict, an_uninspected

HOUR = timedelta(hours=1)


@pytest.fixture
def records(records_url: str) -> Iterator[Records]:
    records = Records(records_url)
    records.upgrade()
    yield records
    records.close()


def made(count: int, rng: np.random.Generator) -> list[Verdict]:
    """Over two hours of line 4, with a few of line 5 that must not count."""
    verdicts = []
    for number in range(count):
        at = NOW + timedelta(seconds=float(rng.uniform(0, 7200)))
        if rng.random() < 0.1:
            verdict = replace(an_uninspected(f"k{number}"), reason=str(rng.choice(["deadline", "decode"])))
        else:
            decision = Decision.REJECT if rng.random() < 0.2 else Decision.ACCEPT
            verdict = replace(a_verdict(f"k{number}"), decision=decision, score=float(rng.normal(0, 2)))
        verdict = replace(verdict, decided_at=at, total_ms=float(rng.gamma(5, 9)), line=4 + (number % 10 == 0))
        verdicts.append(verdict)
    return verdicts


def tallied(records: Records, window: Window) -> list[BucketTally]:
    with records.database.begin() as connection:
        return [tally(connection, 4, start, end) for start, end in window.buckets()]


def test_the_buckets_hold_every_part_once_and_their_percentiles_are_numpys(
    records: Records, rng: np.random.Generator
) -> None:
    verdicts = made(600, rng)
    records.insert_inspections(verdicts)
    window = Window(start=NOW, end=NOW + 2 * HOUR)
    buckets = tallied(records, window)
    mine = [verdict for verdict in verdicts if verdict.line == 4]
    found: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for bucket in buckets:
        found.update(bucket.decisions)
        lost.update(bucket.uninspected)
    assert found == Counter(verdict.decision.value for verdict in mine)
    assert lost == Counter(verdict.reason for verdict in mine if verdict.reason)
    good = [verdict.score for verdict in mine if verdict.decision is Decision.ACCEPT]
    scores = Counted.merged(bucket.scores.get("accept", Counted.of({})) for bucket in buckets)
    times = Counted.merged(bucket.total_ms for bucket in buckets)
    for percent in (1, 5, 50, 95, 99):
        exact = np.percentile(good, percent, method="inverted_cdf")
        assert scores.percentile(percent) == pytest.approx(exact, abs=SCORE_STEP / 2 + 1e-9)
        exact = np.percentile([verdict.total_ms for verdict in mine], percent, method="inverted_cdf")
        assert times.percentile(percent) == pytest.approx(exact, abs=TIME_STEP_MS / 2 + 1e-9)


def test_a_bucket_takes_its_start_and_leaves_its_end_to_the_next(records: Records) -> None:
    records.insert_inspections([a_verdict("first"), a_verdict("second", at=NOW + HOUR)])
    with records.database.begin() as connection:
        assert tally(connection, 4, NOW, NOW + HOUR).parts == 1
        assert tally(connection, 4, NOW + HOUR, NOW + 2 * HOUR).parts == 1
        assert tally(connection, 4, NOW - HOUR, NOW).parts == 0


def test_the_worst_are_those_of_the_highest_scores_and_the_nearest_those_at_the_threshold(
    records: Records,
) -> None:
    scored = {f"k{number}": number / 2 for number in range(20)}
    records.insert_inspections([replace(a_verdict(key), score=score) for key, score in scored.items()])
    records.insert_inspections([an_uninspected("lost"), replace(a_verdict("elsewhere", line=5), score=99.0)])
    window = Window(start=NOW, end=NOW + HOUR)
    with records.database.begin() as connection:
        worst = tallies.worst(connection, 4, window, limit=3)
        nearest = tallies.nearest(connection, 4, window, limit=3)
    assert [verdict.score for verdict in worst] == [9.5, 9.0, 8.5]
    assert [verdict.score for verdict in nearest] == [3.5, 3.0, 4.0]


def test_nothing_has_no_percentile() -> None:
    assert Counted.of({}).percentile(50) is None
    assert Counted.merged([]).total == 0


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.floats(0.5, 4e8),
    st.integers(-14 * 60, 14 * 60),
)
def test_every_window_is_cut_without_a_gap_into_few_buckets(start: datetime, seconds: float, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    begin = start.replace(tzinfo=zone)
    window = Window(start=begin, end=begin + timedelta(seconds=seconds))
    buckets = list(window.buckets())
    assert 1 <= len(buckets) <= MAX_BUCKETS + 1
    assert (buckets[0][0], buckets[-1][1]) == (window.start, window.end)
    assert all(first[1] == second[0] for first, second in pairwise(buckets))
    assert all(start < end for start, end in buckets)


def test_edges_are_full_hours_where_the_people_are() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    window = Window(start=datetime(2026, 3, 1, 6, 7, tzinfo=zone), end=datetime(2026, 3, 3, 9, 0, tzinfo=zone))
    assert window.bucket_s == 3600
    inner = [start.astimezone(zone) for start, _ in window.buckets()][1:]
    assert {(at.minute, at.second) for at in inner} == {(0, 0)}
    assert inner[0].hour == 7


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends after it begins"):
        Window(start=NOW, end=NOW)
    assert NOW.tzinfo is UTC
