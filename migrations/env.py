"""What Alembic runs for every command: `aprilgan-admin db`, tests, and `alembic` itself in a checkout.

daemon.database hands its connection over, with the transaction around it. Started by `alembic` (to draft a
revision: `alembic revision --autogenerate -m TEXT`) there is none, and the product's own settings name one.
"""

from alembic import context
from sqlalchemy import Connection, create_engine

from daemon.schema import metadata
from daemon.settings import load_settings


def run(connection: Connection) -> None:
    """Run the asked-for migrations. SQLite cannot alter most things in place, hence batch mode."""
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    with create_engine(load_settings().records_url).begin() as own:
        run(own)
