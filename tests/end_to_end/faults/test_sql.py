"""Fault 9: PostgreSQL is killed, or accepts and never answers, while frames come in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.oracle import outbox, rows, watched
from tests.end_to_end.harness import RunningDaemon, until
from tests.end_to_end.senders import Load

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

FAULTS: dict[str, Callable[[Postgres], AbstractContextManager[None]]] = {
    "killed": Postgres.killed,
    "accepts_and_never_answers": Postgres.frozen,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_09_without_sql_verdicts_go_on_and_every_row_comes_later(
    daemon: RunningDaemon, postgres: Postgres, fault: str
) -> None:
    with watched(daemon) as witness:
        with bystander(daemon, witness), Load(daemon, ["top"]) as load:
            load.reaches(10)
            with FAULTS[fault](postgres):
                load.reaches(len(load.answers) + 30)
                until(lambda: daemon.total("db_up") == 0, "SQL to be found away")
                load.reaches(len(load.answers) + 10)
                verdicts = witness.hears(load.finish())
                until(lambda: daemon.total("outbox_rows") >= 10, "rows that wait")
                assert {verdict["reason"] for verdict in verdicts} == {None}
        until(lambda: len(rows(daemon)) == len(outbox(daemon)[0]), "the drain")
    until(lambda: daemon.total("db_up") == 1, "SQL to be found back")
