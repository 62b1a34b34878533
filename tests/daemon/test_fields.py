"""The quick way from a dataclass to a dictionary says what the standard library's says."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from daemon.fields import fields_of
from daemon.flow import Identity
from daemon.link import BatchReport, ScoredBatch, ScoredFrame, pack_upward, unpack_upward


def test_the_fields_of_a_flat_dataclass_are_those_of_asdict():
    identity = Identity(camera="top", line=4, part="A1", seq=7)
    assert fields_of(identity) == asdict(identity)


def test_what_is_no_dataclass_instance_is_refused():
    with pytest.raises(TypeError):
        fields_of({"camera": "top"})


def test_a_batch_with_its_nested_answers_comes_back_as_it_was():
    batch = ScoredBatch(
        worker=0,
        life=2,
        frames=(ScoredFrame(key="a", decision="accept", reason=None, score=1.5),),
        report=BatchReport(worker=0, size=1, bucket=1, close_reason="idle", seconds={"encode": 0.1}),
    )
    assert unpack_upward(pack_upward(batch)) == batch
