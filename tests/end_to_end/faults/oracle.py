"""What must hold around every fault (service.md section 7), checked in one place.

    with watched(daemon) as witness:
        ... inject the fault, send frames ...
        witness.hears(answers)          # what senders were told
        witness.knows_spoiled(verdict)  # parts that the fault touched

At the end: the metrics conserve frames; SQL has each verdict of the outbox once and nothing else; what senders
were told is what SQL says; nothing that was scored lacks a finite score and a recorded bank; no affected part is
accepted; memory and file descriptors of a process that lived through it are where they were.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import sqlalchemy as sa

from daemon.setting_sections import OutboxSettings
from tests.end_to_end.harness import RunningDaemon, until

MORE_MEMORY = 24 * 1024 * 1024
"""Bytes a daemon of a few seconds' age may grow by in one test; `make soak` measures the slope."""
MORE_FILES = 6
"""Connections of senders that just left, and SQL's and Redis' pools."""
KEPT_ROWS = OutboxSettings().keep_rows
SCORED = {"accept", "review", "reject"}


class Witness:
    """Collects what a test saw."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.spoiled: set[str] = set()

    def hears(self, answers: Iterable[bytes]) -> list[dict[str, Any]]:
        """Replies as they came; the verdicts among them."""
        verdicts = [json.loads(answer) for answer in answers if answer.startswith(b"{")]
        self.told += verdicts
        return verdicts

    def heard(self, verdict: dict[str, Any]) -> dict[str, Any]:
        """One verdict that a sender was told."""
        self.told.append(verdict)
        return verdict

    def knows_spoiled(self, *verdicts: dict[str, Any]) -> None:
        """These parts were touched by the fault: none may be accepted."""
        self.told += verdicts
        self.spoiled |= {verdict["key"] for verdict in verdicts}


@contextmanager
def watched(daemon: RunningDaemon) -> Iterator[Witness]:
    """The shared oracle around one fault."""
    before, witness = _process(daemon), Witness()
    memory, files = before.memory_info().rss, before.num_fds()
    yield witness
    until(lambda: daemon.page("livez"), "the pages")
    until(daemon.conserves, "conservation")
    rows = until(lambda: _rows_that_match_the_outbox(daemon), "SQL to have the outbox's verdicts")
    _check_rows(daemon, rows, witness)
    if before.is_running() and before == _process(daemon):
        until(lambda: before.num_fds() <= files + MORE_FILES, "the files of gone senders to close")
        assert before.memory_info().rss <= memory + MORE_MEMORY


def rows(daemon: RunningDaemon, where: str = "1 = 1") -> list[dict[str, Any]]:
    """Rows of `inspections` in order of insertion, from whatever database the daemon has."""
    return select(daemon, f"SELECT * FROM inspections WHERE {where} ORDER BY id")


def select(daemon: RunningDaemon, query: str) -> list[dict[str, Any]]:
    """Rows of any query, from whatever database the daemon has."""
    engine = sa.create_engine(daemon.records_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [row._asdict() for row in connection.execute(sa.text(query))]


def outbox(daemon: RunningDaemon) -> tuple[dict[str, str], list[str]]:
    """The daemon's journal: key -> decision of every verdict, and the keys that are pending."""
    file = f"file:{daemon.state / 'outbox.db'}?mode=ro"
    with closing(sqlite3.connect(file, uri=True, timeout=10)) as connection:
        verdicts = {
            key: str(json.loads(text)["decision"])
            for key, text in connection.execute("SELECT key, verdict FROM verdicts")
        }
        return verdicts, [key for (key,) in connection.execute("SELECT key FROM pending")]


def _check_rows(daemon: RunningDaemon, rows: list[dict[str, Any]], witness: Witness) -> None:
    banks = {row["sha256"] for row in select(daemon, "SELECT sha256 FROM banks")}
    by_key = {row["key"]: row for row in rows}
    for row in rows:
        if row["decision"] in SCORED:
            assert math.isfinite(row["score"]), row
            assert row["bank_sha256"] in banks, row
        else:
            assert (row["decision"], row["score"]) == ("uninspected", None), row
            assert row["reason"], row
    for verdict in witness.told:
        row = by_key[verdict["key"]]
        assert (row["decision"], row["score"]) == (verdict["decision"], verdict["score"])
    assert not {key for key in witness.spoiled if by_key[key]["decision"] == "accept"}


def _rows_that_match_the_outbox(daemon: RunningDaemon) -> list[dict[str, Any]] | None:
    found = rows(daemon)
    assert len({row["key"] for row in found}) == len(found), "a key has two rows"
    verdicts, pending = outbox(daemon)
    recorded = {row["key"]: row["decision"] for row in found}
    forgotten = len(recorded) - len(verdicts)
    if len(verdicts) >= KEPT_ROWS:  # the oldest that SQL has may have left the outbox, the rest is the same
        recorded = dict(list(recorded.items())[forgotten:])
    return found if recorded == verdicts and not pending else None


def _process(daemon: RunningDaemon) -> psutil.Process:
    assert daemon.process is not None
    return psutil.Process(daemon.process.pid)
