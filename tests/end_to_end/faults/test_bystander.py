"""The bystander's own laws: what it lets pass, and what it does not. No daemon."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.faults.bystander import check_unharmed, compare

SCORED = {"decision": "accept", "reason": None}


@pytest.mark.parametrize("decision", ["accept", "review", "reject"])
def test_a_bystander_whose_frames_are_scored_is_unharmed(decision: str) -> None:
    check_unharmed([json.dumps(SCORED | {"decision": decision}).encode()] * 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"BUSY retry_after_ms=100: 32 frames in flight",
        b"ERR unknown camera",
        b"RESTARTED",
        json.dumps({"decision": "uninspected", "reason": "deadline"}).encode(),
        json.dumps({"status": "busy", "decision": None}).encode(),
    ],
)
def test_one_frame_that_is_not_scored_in_time_is_harm(answer: bytes) -> None:
    with pytest.raises(AssertionError):
        check_unharmed([json.dumps(SCORED).encode(), answer])


def test_the_tail_is_compared_and_not_the_middle() -> None:
    quick = [0.010] * 95 + [0.040] * 5
    slow = [0.010] * 95 + [0.100] * 5
    assert compare(quick, quick)["p99_ratio"] == 1.0
    assert compare(quick, slow)["p99_ratio"] == 2.5
    assert compare(quick, slow)["during_ms"] == {"p50": 10.0, "p99": 100.0}
