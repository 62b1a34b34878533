"""The records: verdicts as they are kept, and which line scores with what. `verdict_queries` reads verdicts back.

At-least-once in, exactly once kept: an inspection whose key is there already is left alone, and a line
changes only from the revision that its changer saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from daemon import schema
from daemon.database import Database, RecordsUnavailable, SchemaMismatch, SchemaState
from daemon.flow import Verdict
from daemon.record_rows import (
    BankRecord,
    LineAssignment,
    LineChange,
    ProductRecord,
    assignment_from,
    bank_from,
    change_from,
    product_from,
    threshold_columns,
    verdict_columns,
)

__all__ = [
    "BankRecord",
    "LineAssignment",
    "LineChange",
    "ProductRecord",
    "Records",
    "RecordsUnavailable",
    "RevisionConflict",
    "SchemaMismatch",
    "SchemaState",
]

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_ASSIGNED = sa.select(schema.lines, schema.banks.c.path).join_from(
    schema.lines, schema.banks, schema.lines.c.bank_sha256 == schema.banks.c.sha256
)


class RevisionConflict(Exception):
    """Somebody else changed the line in the meantime; nothing was written."""


class Records:
    """The SQL repository. Constructing it connects to nothing; every method may raise RecordsUnavailable.

    Safe to share between threads. Raises ConfigurationError for a URL that is none.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    @property
    def database(self) -> Database:
        """The engine room: `db` commands and `doctor` look in."""
        return self._database

    def prepare(self) -> None:
        """Create a missing SQLite file at head; an existing database is migrated by command only."""
        self._database.prepare()

    def schema_state(self) -> SchemaState:
        """The database's revision and the program's."""
        return self._database.schema_state()

    def upgrade(self, revision: str = "head") -> None:
        """Migrate up."""
        self._database.upgrade(revision)

    def downgrade(self, revision: str) -> None:
        """Migrate down."""
        self._database.downgrade(revision)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # Verdicts

    def insert_inspections(self, verdicts: Sequence[Verdict]) -> int:
        """Keep the verdicts whose key is not there yet, in one transaction; returns how many those were."""
        if not verdicts:
            return 0
        with self._database.begin() as connection:
            return insert_absent(connection, schema.inspections, "key", [verdict_columns(v) for v in verdicts])

    # Lines

    def line(self, line_id: int) -> LineAssignment | None:
        """What the line scores with, None while it never was enrolled."""
        rows = self._rows(_ASSIGNED.where(schema.lines.c.id == line_id))
        return assignment_from(rows[0]) if rows else None

    def lines(self) -> list[LineAssignment]:
        """Every enrolled line, by id."""
        return [assignment_from(row) for row in self._rows(_ASSIGNED.order_by(schema.lines.c.id))]

    def changes(self, line_id: int) -> list[LineChange]:
        """The line's audit, newest first."""
        columns = schema.line_changes.c
        query = sa.select(schema.line_changes).where(columns.line == line_id).order_by(columns.revision.desc())
        return [change_from(row) for row in self._rows(query)]

    def change_counts(self) -> dict[tuple[int, str], int]:
        """How many changes the audit holds, by line and action."""
        columns = schema.line_changes.c
        query = sa.select(columns.line, columns.action, sa.func.count().label("n"))
        rows = self._rows(query.group_by(columns.line, columns.action))
        return {(row["line"], row["action"]): row["n"] for row in rows}

    def assign(
        self,
        change: LineChange,
        *,
        expected_revision: int | None,
        bank: BankRecord | None = None,
        product: ProductRecord | None = None,
    ) -> LineAssignment:
        """Put a bank and thresholds in charge of a line, with its audit row, all or nothing.

        expected_revision: the revision the caller saw, None for a line that never was enrolled.
        bank, product: rows to keep in the same transaction, where they are new.

        Raises RevisionConflict, and ValueError where the change names a bank that nobody recorded.
        """
        try:
            with self._database.begin() as connection:
                _write_line(connection, change, expected_revision)
                if product is not None:
                    _keep_product(connection, product)
                if bank is not None:
                    insert_absent(connection, schema.banks, "sha256", [_bank_columns(bank)])
                return _audit(connection, change, 1 if expected_revision is None else expected_revision + 1)
        except IntegrityError as error:
            raise RevisionConflict(
                f"line {change.line} was changed in the meantime (expected revision "
                f"{expected_revision or 'none'}); look at it and try again"
            ) from error

    def reassign(self, changes: Sequence[tuple[LineChange, int]]) -> list[LineAssignment]:
        """Change several enrolled lines in one transaction, all of them or none.

        changes: each with the revision that the caller saw. Raises as `assign` does.
        """
        with self._database.begin() as connection:
            for change, seen in changes:
                _write_line(connection, change, seen)
            return [_audit(connection, change, seen + 1) for change, seen in changes]

    # Banks and products

    def add_bank(self, bank: BankRecord) -> bool:
        """Record a bank without putting it in charge; False when it was there already."""
        with self._database.begin() as connection:
            return insert_absent(connection, schema.banks, "sha256", [_bank_columns(bank)]) == 1

    def bank(self, sha256: str) -> BankRecord | None:
        """The bank of that digest, or None."""
        rows = self._rows(sa.select(schema.banks).where(schema.banks.c.sha256 == sha256))
        return bank_from(rows[0]) if rows else None

    def banks(self, *, product: str | None = None, line: int | None = None) -> list[BankRecord]:
        """Banks that pass both filters, newest first."""
        columns = schema.banks.c
        query = sa.select(schema.banks).order_by(columns.built_at.desc(), columns.sha256)
        if product is not None:
            query = query.where(columns.product == product)
        if line is not None:
            query = query.where(columns.line == line)
        return [bank_from(row) for row in self._rows(query)]

    def products(self) -> list[ProductRecord]:
        """Every product, by name."""
        return [product_from(row) for row in self._rows(sa.select(schema.products).order_by("name"))]

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._database.begin() as connection:
            return [row._asdict() for row in connection.execute(query)]


def insert_absent(connection: Connection, table: sa.Table, key: str, rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose unique `key` is not there yet; returns how many those were."""
    insert = _INSERTS.get(connection.dialect.name)
    if insert is None:
        return insert_absent_anywhere(connection, table, key, rows)
    # RETURNING, because psycopg counts nothing when many rows go in one call
    statement = insert(table).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
    return len(connection.execute(statement, rows).all())


def insert_absent_anywhere(connection: Connection, table: sa.Table, key: str, rows: list[dict[str, Any]]) -> int:
    """`insert_absent` for a dialect without ON CONFLICT: look, then insert.

    Raises RecordsUnavailable when another writer slips in between: the transaction is to be tried again.
    """
    column = table.c[key]
    known = set(connection.scalars(sa.select(column).where(column.in_([row[key] for row in rows]))))
    absent = [row for row in rows if row[key] not in known]
    if absent:
        try:
            connection.execute(sa.insert(table), absent)
        except IntegrityError as error:
            raise RecordsUnavailable(f"another writer was quicker with a row of {table.name}") from error
    return len(absent)


def _write_line(connection: Connection, change: LineChange, expected_revision: int | None) -> None:
    """Compare and set. The first statement writes, so SQLite takes its write lock before anything is read."""
    values = {
        "product": change.product,
        "bank_sha256": change.bank_sha256,
        "updated_at": change.at,
        **threshold_columns(change.thresholds),
    }
    if expected_revision is None:
        connection.execute(sa.insert(schema.lines).values(id=change.line, revision=1, **values))
        return
    seen = (schema.lines.c.id == change.line) & (schema.lines.c.revision == expected_revision)
    written = connection.execute(
        sa.update(schema.lines).where(seen).values(revision=expected_revision + 1, **values)
    )
    if written.rowcount != 1:
        raise RevisionConflict(
            f"line {change.line} was changed in the meantime: it is no longer at revision "
            f"{expected_revision}; look at it and try again"
        )


def _audit(connection: Connection, change: LineChange, revision: int) -> LineAssignment:
    """Write the change's audit row and read back what the line has now."""
    connection.execute(sa.insert(schema.line_changes), _change_columns(change, revision))
    row = connection.execute(_ASSIGNED.where(schema.lines.c.id == change.line)).one_or_none()
    if row is None:
        raise ValueError(f"no bank {change.bank_sha256} is recorded; hand its row in as well")
    return assignment_from(row._asdict())


def _keep_product(connection: Connection, product: ProductRecord) -> None:
    row = {"name": product.name, "object": product.object_name, "created_at": product.created_at}
    if not insert_absent(connection, schema.products, "name", [row]) and product.object_name is not None:
        named = schema.products.c.name == product.name
        connection.execute(sa.update(schema.products).where(named).values(object=product.object_name))


def _bank_columns(bank: BankRecord) -> dict[str, Any]:
    fields = {name: getattr(bank, name) for name in BankRecord.__dataclass_fields__ if name != "thresholds"}
    return {**fields, **threshold_columns(bank.thresholds)}


def _change_columns(change: LineChange, revision: int) -> dict[str, Any]:
    return {
        "line": change.line,
        "revision": revision,
        "at": change.at,
        "who": change.who,
        "action": change.action,
        "why": change.why,
        "product": change.product,
        "bank_sha256": change.bank_sha256,
        **threshold_columns(change.thresholds),
    }
