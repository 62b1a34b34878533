"""`drift`: what the daemon watches, or watched last; and the watch begun anew by a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import core
from daemon.bank_store import publish
from daemon.drift import public
from daemon.drift_watch import DriftWatch
from daemon.records import LineAssignment, Records
from tests.daemon.admin.conftest import Answer, Installation, answering
from tests.daemon.test_drift_watch import OPTIONS, TurnedClock, a_line, a_part, drifted
from tests.pictures import samples

Admin = Callable[..., Answer]


@pytest.fixture(scope="module")
def bank(tiny_scorer: core.Scorer) -> core.ReferenceBank:
    return core.enrol(tiny_scorer, samples(3), product="wool").bank


@pytest.fixture
def line(installation: Installation, records: Records, bank: core.ReferenceBank) -> LineAssignment:
    return publish(records, None, installation.state, bank, line=4, who="t", why=None, action="enroll")


@pytest.fixture
def left_behind(installation: Installation) -> DriftWatch:
    """A daemon ended: line 4 had an alarm once and has one now."""
    installation.state.mkdir(exist_ok=True)
    watch = DriftWatch(lines=[4, 5], options=OPTIONS, state_dir=installation.state, clock=TurnedClock())
    drifted(watch)
    watch.follow(a_line(revision=2))
    for number in range(100):
        watch.take(a_part(number))
    watch.save()
    return watch


def test_without_a_daemon_the_last_ones_watch_is_shown_and_said_to_be(
    admin: Admin, left_behind: DriftWatch
) -> None:
    answer = admin("drift", "--line", 4, "--json")
    assert "No daemon answers" in answer.err
    assert answer.json["alarm"]["revision"] == 2
    assert [alarm["revision"] for alarm in answer.json["history"]] == [1]
    spoken = admin("drift", "--line", 4)
    assert "ALARM since" in spoken.out
    assert "higher" in spoken.out


def test_every_line_says_whether_it_is_watched_and_why_not(admin: Admin, left_behind: DriftWatch) -> None:
    rows = admin("drift", "--json").json
    assert [(row["line"], row["watched"]) for row in rows] == [(4, True), (5, False)]
    assert "not watched: no bank has scored for this line yet" in admin("drift").out


def test_a_running_daemon_is_asked_first(
    admin: Admin, left_behind: DriftWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = public(None, None)
    with answering(lambda: (200, {"lines": {"4": {"drift": calm}, "5": {"drift": calm}}})) as address:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        answer = admin("drift", "--line", 4, "--json")
    assert answer.json["alarm"] is None
    assert "No daemon" not in answer.err


def test_beginning_anew_is_a_revision_with_an_audit_row_and_changes_nothing_else(
    admin: Admin, records: Records, line: LineAssignment
) -> None:
    answer = admin("drift", "--line", 4, "--reset", "--why", "lens cleaned", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["revision"] == 2
    now = records.line(4)
    assert now is not None
    assert (now.bank_sha256, now.thresholds) == (line.bank_sha256, line.thresholds)
    change = records.changes(4)[0]
    assert (change.action, change.why, change.thresholds) == ("drift", "lens cleaned", line.thresholds)


def test_beginning_anew_needs_a_line_that_is_enrolled(admin: Admin) -> None:
    assert admin("drift", "--reset").code == 2
    refused = admin("drift", "--line", 5, "--reset")
    assert refused.code == 1
    assert "enroll --line 5" in refused.err
