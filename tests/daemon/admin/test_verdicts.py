"""`verdicts`: pages by key, one in full, and what cannot be asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from core.decide import Decision
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import NOW, a_verdict, an_uninspected

Admin = Callable[..., Answer]


@pytest.fixture
def twenty(records: Records) -> Records:
    """k0 to k19 on line 4, a minute apart."""
    records.insert_inspections([a_verdict(f"k{i}", at=NOW + timedelta(minutes=i)) for i in range(20)])
    return records


def keys(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.err
    return [row["key"] for row in answer.json]


def test_each_page_names_the_next_until_there_is_none(admin: Admin, twenty: Records) -> None:
    listed: list[str] = []
    following: tuple[str, ...] = ()
    for _ in range(10):
        answer = admin("verdicts", "--limit", 6, *following)
        listed += re.findall(r"\bk\d+\b", answer.out)
        named = re.search(r"There may be more: (--before) (\S+)", answer.err)
        if named is None:
            break
        following = named.groups()
    assert listed == [f"k{i}" for i in reversed(range(20))]


def test_pages_lie_on_either_side_of_a_key_newest_first(admin: Admin, twenty: Records) -> None:
    assert keys(admin("verdicts", "--before", "k10", "--limit", 2, "--json")) == ["k9", "k8"]
    assert keys(admin("verdicts", "--after", "k10", "--limit", 2, "--json")) == ["k12", "k11"]
    assert "--after k12" in admin("verdicts", "--after", "k10", "--limit", 2).err
    assert keys(admin("verdicts", "--after", "k19", "--json")) == []


def test_one_verdict_in_full_names_the_files_of_its_pictures(
    admin: Admin, records: Records, installation: Installation
) -> None:
    picture = installation.state / "frames" / "4" / "x.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"picture")
    records.insert_inspections([replace(a_verdict("one"), frame="frames/4/x.png"), an_uninspected("lost")])
    row = admin("verdicts", "one", "--json").json
    assert (row["key"], row["frame_sha256"], row["batch_size"]) == ("one", "f" * 64, 2)
    assert (row["frame"], row["frame_exists"]) == (str(picture.resolve()), True)
    assert row["heatmap"] == str((installation.state / "heatmaps/4/2026-03-01/x.png").resolve())
    assert row["heatmap_exists"] is False
    lost = admin("verdicts", "lost").out
    assert "deadline" in lost
    assert re.search(r"frame exists\s+False", lost)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nosuchkey",), 1, "no verdict has the key 'nosuchkey'"),
        (("--before", "nosuchkey"), 1, "no verdict has the key 'nosuchkey'"),
        (("--before", "k1", "--after", "k2"), 2, "not both"),
        (("k1", "--line", 4), 2, "a KEY alone"),
        (("k1", "--watch"), 2, "a KEY alone"),
        (("--watch", "--before", "k1"), 2, "are for the list"),
        (("--key", "x.key_secret"), 2, "it is for --watch"),
        (("--decision", "maybe"), 2, "reject"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(
    admin: Admin, twenty: Records, arguments: tuple[object, ...], code: int, said: str
) -> None:
    answer = admin("verdicts", *arguments)
    assert answer.code == code
    assert said in " ".join(answer.err.split())


def test_filters_hold_on_every_page(admin: Admin, twenty: Records) -> None:
    twenty.insert_inspections([a_verdict("good", decision=Decision.ACCEPT), a_verdict("other", line=5)])
    assert keys(admin("verdicts", "--decision", "accept", "--json")) == ["good"]
    assert keys(admin("verdicts", "--line", 5, "--json")) == ["other"]
    assert keys(admin("verdicts", "--line", 4, "--decision", "reject", "--before", "k1", "--json")) == ["k0"]
    assert keys(admin("verdicts", "--since", "1h", "--json")) == []
