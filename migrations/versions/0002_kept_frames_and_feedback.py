"""Kept camera pictures, the hold that exempts a part from retention, and what people say of verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inspections", sa.Column("frame_path", sa.Text()))
    op.add_column("inspections", sa.Column("hold", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frame_path", sa.Text()),
        sa.Column("frame_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_key", "feedback", ["key"])
    op.create_index("ix_feedback_product_label", "feedback", ["product", "label"])


def downgrade() -> None:
    op.drop_table("feedback")
    op.drop_column("inspections", "hold")
    op.drop_column("inspections", "frame_path")
