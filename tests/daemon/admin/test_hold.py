"""`hold`: pictures that a person wants to keep, listed, released, and written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.outputs.rig import key, verdict

Admin = Callable[..., Answer]


@pytest.fixture
def parts(installation: Installation) -> None:
    records = Records(f"sqlite:///{installation.state / 'records.db'}")
    records.prepare()
    records.insert_inspections([replace(verdict(1), heatmap="heatmaps/4/x.png", no_heatmap=None), verdict(2)])
    records.close()


def test_a_part_is_held_listed_and_released_and_who_did_it_is_written_down(
    admin: Admin, installation: Installation, parts: None
) -> None:
    assert admin("hold", key(1), "--why", "claim 17").code == 0
    (row,) = admin("hold", "--json").json
    assert (row["key"], row["heatmap_path"]) == (key(1), "heatmaps/4/x.png")
    assert admin("hold", key(1), "--release", "--json").json == []
    lines = (installation.state / "holds.jsonl").read_text().splitlines()
    assert [(json.loads(line)["hold"], json.loads(line)["why"]) for line in lines] == [
        (True, "claim 17"),
        (False, None),
    ]
    assert all(json.loads(line)["who"] for line in lines)


def test_an_unknown_key_changes_nothing(admin: Admin, parts: None) -> None:
    answer = admin("hold", key(1), "nonsense")
    assert (answer.code, "nonsense" in answer.err, "nothing was changed" in answer.err) == (1, True, True)
    assert admin("hold", "--json").json == []


def test_a_part_without_a_picture_is_said_to_have_none(admin: Admin, parts: None) -> None:
    answer = admin("hold", key(2))
    assert (answer.code, "has no picture" in answer.err) == (0, True)


def test_a_release_names_its_parts(admin: Admin, parts: None) -> None:
    assert admin("hold", "--release").code == 2
