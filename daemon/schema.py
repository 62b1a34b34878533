"""The SQL tables, as SQLAlchemy Core. Alembic compares its migrations with this (`alembic check`).

Times are UTC with time zone where the database has them. SQLite has no time zones: `UtcDateTime` stores
UTC and hands back aware values on both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in, the same instant in UTC out. Refuses naive values: they mean nothing."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; SQLite drops the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a time with a zone, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _id() -> Column[Any]:
    # SQLite autoincrements only INTEGER PRIMARY KEY; PostgreSQL should not run out at 2^31 parts.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _chosen_rates() -> tuple[Column[Any], ...]:
    # of good parts, as a person chose them for these thresholds; null where nobody did
    return Column("max_false_rejects", Float), Column("max_reviews", Float)


inspections = Table(
    "inspections",
    metadata,
    _id(),
    Column("key", String(200), nullable=False, unique=True),
    Column("line", Integer, nullable=False),
    Column("camera", String(64), nullable=False),
    Column("part", String(200)),
    Column("seq", BigInteger),
    Column("captured_at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reason", String(64)),
    Column("score", Float),
    Column("threshold", Float),
    Column("threshold_state", String(16)),
    Column("p_value", Float),
    Column("product", String(64)),
    Column("bank_sha256", String(64)),
    Column("model_id", String(200)),
    Column("adapter_sha256", String(64)),
    Column("software_version", String(32), nullable=False),
    Column("batch_size", Integer),
    Column("queue_ms", Float),
    Column("infer_ms", Float),
    Column("total_ms", Float, nullable=False),
    Column("host", String(255), nullable=False),
    Column("heatmap_path", Text),
    Column("no_heatmap", String(64)),
    Column("frame_sha256", String(64), nullable=False),
    # The camera's picture where it was kept, relative to the state folder; gone when retention took the file.
    Column("frame_path", Text),
    # Exempts the part's pictures from retention.
    Column("hold", Boolean, nullable=False, server_default=false()),
    Index("ix_inspections_line_decided_at", "line", "decided_at"),
    Index("ix_inspections_decision_decided_at", "decision", "decided_at"),
)

products = Table(
    "products",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("object", String(200)),
    Column("created_at", UtcDateTime, nullable=False),
)

banks = Table(
    "banks",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("product", String(64), nullable=False, index=True),
    Column("line", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("encoder_id", String(200), nullable=False),
    Column("shots", Integer, nullable=False),
    Column("built_at", UtcDateTime, nullable=False),
    Column("reject_threshold", Float, nullable=False),
    Column("review_threshold", Float, nullable=False),
    Column("threshold_state", String(16), nullable=False),
    *_chosen_rates(),
    Column("header", Text, nullable=False),
)

lines = Table(
    "lines",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("product", String(64), nullable=False),
    Column("bank_sha256", String(64), nullable=False),
    Column("reject_threshold", Float, nullable=False),
    Column("review_threshold", Float, nullable=False),
    Column("threshold_state", String(16), nullable=False),
    *_chosen_rates(),
    # Counts up by one with every change; a change names the revision it saw (compare-and-set).
    Column("revision", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

line_changes = Table(
    "line_changes",
    metadata,
    _id(),
    Column("line", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String(200), nullable=False),
    Column("action", String(32), nullable=False),
    Column("why", Text),
    Column("product", String(64), nullable=False),
    Column("bank_sha256", String(64), nullable=False),
    Column("reject_threshold", Float, nullable=False),
    Column("review_threshold", Float, nullable=False),
    Column("threshold_state", String(16), nullable=False),
    *_chosen_rates(),
    Index("uq_line_changes_line_revision", "line", "revision", unique=True),
)

feedback = Table(
    "feedback",
    metadata,
    _id(),
    # Not unique: people change their minds. The latest row of a key counts, the others are its history.
    Column("key", String(200), nullable=False, index=True),
    Column("line", Integer, nullable=False),
    Column("product", String(64), nullable=False),
    Column("label", String(16), nullable=False),
    Column("note", Text),
    Column("who", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    # A copy of the camera's picture of its own, so that retention cannot take it.
    Column("frame_path", Text),
    Column("frame_sha256", String(64), nullable=False),
    Index("ix_feedback_product_label", "product", "label"),
)
