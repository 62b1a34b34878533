"""`db downgrade|backup|restore` and `ready`: what an upgrade and the way back are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from daemon.admin.lock_holder import holder
from daemon.outbox import Outbox
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation, answering

Admin = Callable[..., Answer]


def enrolled(admin: Admin, installation: Installation) -> None:
    assert admin("enroll", "--line", 4, installation.good).code == 0


def test_a_backup_of_a_database_in_use_is_restored_whole(
    admin: Admin, installation: Installation, records: Records, tmp_path: Path
) -> None:
    enrolled(admin, installation)
    copy = tmp_path / "backups" / "records.db"
    answer = admin("db", "backup", copy, "--json")  # `records` holds the database open, its log unmerged
    assert (answer.code, answer.json["backup"]) == (0, str(copy))
    assert [path.name for path in copy.parent.iterdir()] == ["records.db"]
    records.close()
    for file in installation.state.glob("records.db*"):
        file.unlink()
    assert records.line(4) is None if (installation.state / "records.db").exists() else True
    assert admin("db", "restore", copy).code == 0
    assert admin("db", "check").code == 0
    assert records.line(4) is not None


def test_a_backup_replaces_nothing_and_a_restore_takes_only_whole_databases(
    admin: Admin, installation: Installation, records: Records, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    assert admin("db", "backup", copy).code == 0
    again = admin("db", "backup", copy)
    assert (again.code, "never overwritten" in again.err) == (1, True)
    strange = tmp_path / "strange.db"
    with closing(sqlite3.connect(strange)) as connection:
        connection.execute("CREATE TABLE t (x)")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    for wrong in (strange, damaged, tmp_path / "none.db"):
        answer = admin("db", "restore", wrong)
        assert (answer.code, str(wrong) in answer.err) == (1, True), answer.err
    assert admin("db", "check").code == 0
    assert sorted(path.name for path in tmp_path.glob(".tmp-*")) == []


def test_going_down_and_up_again_ends_where_it_began(admin: Admin, records: Records) -> None:
    assert admin("db", "downgrade", "0001", "--json").json["to"] == "0001"
    assert admin("db", "current", "--json").json["ok"] is False
    assert admin("db", "upgrade", "--json").json["from"] == "0001"
    assert admin("db", "check").code == 0


def test_a_revision_that_does_not_exist_is_refused_with_those_that_do(admin: Admin, records: Records) -> None:
    answer = admin("db", "downgrade", "0000")
    assert answer.code == 1
    assert "0001, 0002" in answer.err


@pytest.mark.parametrize("arguments", [("downgrade", "0001"), ("restore", "copy.db")])
def test_nothing_goes_back_under_a_running_daemon(
    admin: Admin, installation: Installation, records: Records, arguments: tuple[str, ...]
) -> None:
    outbox = Outbox(installation.state / "outbox.db")
    try:
        answer = admin("db", *arguments)
    finally:
        outbox.close()
    assert (answer.code, "systemctl stop" in answer.err) == (1, True)
    assert admin("db", "check").code == 0


def test_a_servers_database_is_left_to_its_own_tools(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_RECORDS__URL", "postgresql://inspector:hunter2@127.0.0.1:1/records")
    answer = admin("db", "backup", "copy.db")
    assert (answer.code, "pg_dump" in answer.err, "hunter2" in answer.err) == (1, True, False)


def test_the_holder_of_a_lock_is_seen_without_touching_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "outbox.lock"
    assert holder(lock) is None
    outbox = Outbox(tmp_path / "outbox.db")
    assert holder(lock) is not None
    outbox.close()
    assert holder(lock) is None


def test_ready_says_by_its_exit_code_whether_everything_but_the_allowed_passes(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {"worker": {"ok": True, "detail": "ready"}, "banks": {"ok": False, "detail": "line 4: not enrolled"}}
    with answering(lambda: (503, {"ok": False, "checks": checks})) as address:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        answer = admin("ready")
        assert (answer.code, answer.err) == (69, "banks: line 4: not enrolled\n")
        assert admin("ready", "--failing").out == "banks\n"
        assert admin("ready", "--allow", "banks").code == 0
        assert admin("ready", "--json", "--wait", "0.1").json["failing"] == ["banks"]


def test_ready_waits_until_the_daemon_is(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True])

    def page() -> tuple[int, dict[str, object]]:
        ok = next(answers)
        return (200 if ok else 503), {"ok": ok, "checks": {"worker": {"ok": ok, "detail": "loading"}}}

    with answering(page) as address:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        assert admin("ready", "--wait", "30").code == 0


def test_ready_without_a_daemon_is_unavailable(admin: Admin) -> None:
    answer = admin("ready")
    assert (answer.code, "systemctl status" in answer.err) == (69, True)
    assert admin("ready", "--failing").out == "\n"
