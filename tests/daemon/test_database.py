"""Schema revisions on real databases, SQLite and PostgreSQL: there and back again, and never half of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from daemon import schema
from daemon.database import SCRIPTS, Database, RecordsUnavailable, SchemaMismatch


@pytest.fixture
def missing(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'state of 100%' / 'records.db'}")
    yield database
    database.close()


@pytest.fixture
def database(records_url: str) -> Iterator[Database]:
    """At head."""
    database = Database(records_url)
    database.upgrade()
    yield database
    database.close()


def test_a_missing_file_is_created_at_head_with_nothing_beside_it(missing: Database) -> None:
    missing.prepare()
    assert missing.file is not None
    assert [path.name for path in missing.file.parent.iterdir()] == ["records.db"]
    assert missing.schema_state().ok
    assert missing.differences() == []


def test_up_down_and_up_again_leaves_the_tables_of_the_schema(database: Database) -> None:
    database.downgrade("base")
    state = database.schema_state()
    assert (state.current, state.ok) == (None, False)
    assert len(database.differences()) >= len(schema.metadata.tables)
    database.upgrade()
    assert database.schema_state().ok
    assert database.differences() == []


def test_alembic_check_finds_nothing_to_migrate(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_an_existing_database_is_migrated_by_command_only(database: Database) -> None:
    database.downgrade("base")
    database.prepare()
    with pytest.raises(SchemaMismatch, match="aprilgan-admin db upgrade"), database.begin():
        pytest.fail("the transaction began")
    database.upgrade()
    with database.begin():
        pass


def test_tables_that_are_migrated_away_while_in_use_are_noticed(database: Database, records_url: str) -> None:
    with database.begin():
        pass
    other = Database(records_url)
    other.downgrade("base")
    other.close()
    with pytest.raises(RecordsUnavailable, match=r"no such table|does not exist"), database.begin() as connection:
        connection.execute(schema.lines.select())
    with pytest.raises(SchemaMismatch), database.begin():
        pytest.fail("the transaction began")


def test_a_migration_that_fails_leaves_everything_as_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE products")  # so that the way down breaks in its middle
    with pytest.raises(RecordsUnavailable, match=r"no such table|does not exist"):
        database.downgrade("base")
    assert database.schema_state().ok
    with database.begin() as connection:
        assert connection.execute(schema.lines.select()).all() == []


def test_two_that_create_the_same_file_at_once_both_find_it_at_head(tmp_path: Path) -> None:
    databases = [Database(f"sqlite:///{tmp_path / 'records.db'}") for _ in range(4)]
    start = threading.Barrier(len(databases))
    states = []

    def create(database: Database) -> None:
        start.wait()
        database.prepare()
        states.append(database.schema_state().ok)
        database.close()

    threads = [threading.Thread(target=create, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == [True] * len(databases)


def test_a_folder_that_cannot_be_made_is_said_and_not_raised_as_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordsUnavailable, match="cannot create the database"):
        Database(f"sqlite:///{tmp_path / 'file' / 'records.db'}").prepare()
