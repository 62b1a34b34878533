"""The first tables: inspections, products, banks, lines, line_changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _thresholds() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("reject_threshold", sa.Float(), nullable=False),
        sa.Column("review_threshold", sa.Float(), nullable=False),
        sa.Column("threshold_state", sa.String(16), nullable=False),
    )


def upgrade() -> None:
    _create_inspections()
    op.create_table(
        "products",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("object", sa.String(200)),
        _time("created_at"),
        sa.PrimaryKeyConstraint("name", name="pk_products"),
    )
    op.create_table(
        "banks",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("encoder_id", sa.String(200), nullable=False),
        sa.Column("shots", sa.Integer(), nullable=False),
        _time("built_at"),
        *_thresholds(),
        sa.Column("header", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_banks"),
    )
    op.create_index("ix_banks_product", "banks", ["product"])
    _create_lines()


def _create_inspections() -> None:
    op.create_table(
        "inspections",
        _id(),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("part", sa.String(200)),
        sa.Column("seq", sa.BigInteger()),
        _time("captured_at", nullable=True),
        _time("received_at"),
        _time("decided_at"),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("score", sa.Float()),
        sa.Column("threshold", sa.Float()),
        sa.Column("threshold_state", sa.String(16)),
        sa.Column("p_value", sa.Float()),
        sa.Column("product", sa.String(64)),
        sa.Column("bank_sha256", sa.String(64)),
        sa.Column("model_id", sa.String(200)),
        sa.Column("adapter_sha256", sa.String(64)),
        sa.Column("software_version", sa.String(32), nullable=False),
        sa.Column("batch_size", sa.Integer()),
        sa.Column("queue_ms", sa.Float()),
        sa.Column("infer_ms", sa.Float()),
        sa.Column("total_ms", sa.Float(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("heatmap_path", sa.Text()),
        sa.Column("no_heatmap", sa.String(64)),
        sa.Column("frame_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inspections"),
        sa.UniqueConstraint("key", name="uq_inspections_key"),
    )
    op.create_index("ix_inspections_line_decided_at", "inspections", ["line", "decided_at"])
    op.create_index("ix_inspections_decision_decided_at", "inspections", ["decision", "decided_at"])


def _create_lines() -> None:
    op.create_table(
        "lines",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("bank_sha256", sa.String(64), nullable=False),
        *_thresholds(),
        sa.Column("revision", sa.Integer(), nullable=False),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_lines"),
    )
    op.create_table(
        "line_changes",
        _id(),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        _time("at"),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("why", sa.Text()),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("bank_sha256", sa.String(64), nullable=False),
        *_thresholds(),
        sa.PrimaryKeyConstraint("id", name="pk_line_changes"),
    )
    op.create_index("uq_line_changes_line_revision", "line_changes", ["line", "revision"], unique=True)


def downgrade() -> None:
    for table in ("line_changes", "lines", "banks", "products", "inspections"):
        op.drop_table(table)
