"""Reading verdicts back on real databases: pages join up to the whole list, and every page comes by an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from core.decide import Decision
from daemon import schema, verdict_queries
from daemon.flow import Verdict
from daemon.record_rows import verdict_columns
from daemon.records import Records
from daemon.verdict_queries import Side, VerdictFilter, page, place_of
from tests.daemon.test_records import NOW, a_verdict

MANY = 6000


@pytest.fixture
def records(records_url: str) -> Iterator[Records]:
    records = Records(records_url)
    records.upgrade()
    yield records
    records.close()


def some(count: int) -> list[Verdict]:
    """Of two lines and all decisions, three of them at each moment, the newest last."""
    return [
        replace(
            a_verdict(f"k{number}", line=4 + number % 2, decision=tuple(Decision)[number % 4]),
            decided_at=NOW + timedelta(seconds=number // 3),
        )
        for number in range(count)
    ]


def walk(records: Records, wanted: VerdictFilter, side: Side, limit: int) -> list[str]:
    """Page after page from one end to the other; the keys as they came."""
    keys: list[str] = []
    place = None
    while found := page(records.database, wanted, limit=limit, side=side, place=place):
        keys += [verdict.key for verdict in (found if side is Side.OLDER else reversed(found))]
        place = place_of(records.database, keys[-1])
    return keys


@pytest.mark.parametrize(
    "wanted",
    [
        VerdictFilter(),
        VerdictFilter(line=4),
        VerdictFilter(decision=Decision.REJECT),
        VerdictFilter(line=5, decision=Decision.REVIEW),
        VerdictFilter(since=NOW + timedelta(seconds=2), until=NOW + timedelta(seconds=8)),
    ],
)
def test_pages_from_either_end_join_up_to_the_whole_list(records: Records, wanted: VerdictFilter) -> None:
    verdicts = some(40)
    records.insert_inspections(verdicts)
    expected = [
        verdict.key
        for verdict in verdicts
        if wanted.line in (None, verdict.line)
        and wanted.decision in (None, verdict.decision)
        and (wanted.since is None or verdict.decided_at >= wanted.since)
        and (wanted.until is None or verdict.decided_at < wanted.until)
    ]
    for limit in (1, 3, 7, 100):
        assert walk(records, wanted, Side.OLDER, limit) == expected[::-1]
        assert walk(records, wanted, Side.NEWER, limit) == expected


def test_a_verdict_that_comes_between_two_pages_shifts_nothing(records: Records) -> None:
    verdicts = some(10)
    records.insert_inspections(verdicts)
    first = page(records.database, VerdictFilter(line=4), limit=2)
    records.insert_inspections([replace(a_verdict("late"), decided_at=NOW + timedelta(days=1))])
    place = place_of(records.database, first[-1].key)
    second = page(records.database, VerdictFilter(line=4), limit=2, place=place)
    assert [verdict.key for verdict in (*first, *second)] == ["k8", "k6", "k4", "k2"]


def test_a_verdict_is_found_by_its_key_with_all_its_fields(records: Records) -> None:
    verdict = replace(a_verdict("one"), frame="frames/4/2026-03-01/one.png")
    records.insert_inspections([verdict])
    assert verdict_queries.find(records.database, "one") == verdict
    assert verdict_queries.find(records.database, "two") is None
    assert place_of(records.database, "two") is None


def test_arrivals_come_once_each_in_the_order_of_their_rows(records: Records) -> None:
    assert verdict_queries.last_id(records.database) == 0
    verdicts = some(10)
    records.insert_inspections(verdicts)
    keys, row_id = [], 0
    while (came := verdict_queries.arrived_since(records.database, row_id, limit=4)).verdicts:
        keys += [verdict.key for verdict in came.verdicts]
        row_id = came.last_id
    assert keys == [verdict.key for verdict in verdicts]
    assert row_id == verdict_queries.last_id(records.database)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(
    "wanted",
    [VerdictFilter(), VerdictFilter(line=4), VerdictFilter(decision=Decision.REJECT)],
    ids=["all", "line", "decision"],
)
def test_every_page_is_a_walk_along_an_index(many: Records, wanted: VerdictFilter, side: Side) -> None:
    place = place_of(many.database, f"k{MANY // 2}")
    for start in (None, place):
        plan = explained(many, verdict_queries.page_query(wanted, limit=50, side=side, place=start))
        assert "ix_inspections_" in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "SCAN inspections" not in plan, plan


def test_a_key_and_the_newest_rows_are_found_by_an_index(many: Records) -> None:
    columns = schema.inspections.c
    by_key = explained(many, sa.select(schema.inspections).where(columns.key == "k7"))
    assert "uq_inspections_key" in by_key or "sqlite_autoindex_inspections" in by_key, by_key
    by_id = explained(many, sa.select(schema.inspections).where(columns.id > MANY - 20).order_by(columns.id))
    assert "pk_inspections" in by_id or "USING INTEGER PRIMARY KEY" in by_id, by_id


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """So many rows that a planner prefers an index, and statistics that say so."""
    if request.param == "sqlite":
        records = Records(f"sqlite:///{tmp_path_factory.mktemp('many') / 'records.db'}")
    else:
        records = Records(request.getfixturevalue("postgres").database())
    records.upgrade()
    with records.database.begin() as connection:
        connection.execute(sa.insert(schema.inspections), [verdict_columns(verdict) for verdict in some(MANY)])
        connection.execute(sa.text("ANALYZE"))
    yield records
    records.close()


def explained(records: Records, query: sa.Select[Any]) -> str:
    """The database's own account of how it runs the very statement, with its parameters."""
    with records.database.begin() as connection:
        word = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"

        @sa.event.listens_for(connection, "before_cursor_execute", retval=True)
        def explain(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
            return f"{word} {statement}", parameters

        result = connection.execute(query)
        return "\n".join(str(row) for row in result.cursor.fetchall())
