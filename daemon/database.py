"""The database under the records: engine, transactions, schema revisions. Knows what no table means."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from daemon.schema import metadata
from daemon.settings import ConfigurationError

# Beside the package: in a checkout, and in site-packages where the wheel puts it.
SCRIPTS = Path(__file__).resolve().parents[1] / "migrations"

CONNECT_TIMEOUT_S = 3
LOCK_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 8
BUSY_TIMEOUT_S = 5

# Alembic keeps the running migration in module globals, so a process can run one at a time.
_one_migration = threading.Lock()


class RecordsUnavailable(Exception):
    """The database cannot be used now: down, slow, locked, migrated away. What was asked may be asked again."""


class SchemaMismatch(RecordsUnavailable):
    """The database answers, but its tables are of another revision than this program's."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which revision the database is at, and which this program needs. `current` is None without tables."""

    current: str | None
    head: str

    @property
    def ok(self) -> bool:
        """Whether the program may use the database."""
        return self.current == self.head


class Database:
    """A lazily connected database. Constructing it touches nothing; raises ConfigurationError for a bad URL."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.file = _sqlite_file(parsed)
        self.name = str(self.file) if self.file else f"{parsed.get_backend_name()} on {parsed.host}"
        self._engine = _sqlite_engine(self.file) if self.file else _server_engine(parsed)
        self._at_head = False

    @cached_property
    def head(self) -> str:
        """The revision that this program's tables have."""
        head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
        if head is None:
            raise ConfigurationError(f"no migrations in {SCRIPTS}: the installation is incomplete")
        return head

    def revisions(self) -> list[str]:
        """Every revision that this program knows, oldest first."""
        scripts = ScriptDirectory.from_config(_alembic_config())
        return [script.revision for script in scripts.walk_revisions()][::-1]

    def prepare(self) -> None:
        """Create a missing SQLite file at head, whole or not at all; leave everything that exists alone.

        Raises RecordsUnavailable where the file cannot be created.
        """
        if self.file is None or self.file.exists():
            return
        try:
            self._create_file(self.file)
        except OSError as error:
            raise RecordsUnavailable(f"cannot create the database {self.file}: {error.strerror}") from error

    def _create_file(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".records-", dir=file.parent) as folder:
            draft = Path(folder) / "records.db"
            sqlite3.connect(draft).close()
            database = Database(f"sqlite:///{draft}")
            try:
                database.upgrade()
            finally:
                database.close()  # the last connection writes the log back: one file holds everything
            try:
                os.link(draft, file)
            except FileExistsError:  # somebody else was quicker, with the same content
                return

    def schema_state(self) -> SchemaState:
        """The two revisions. Raises RecordsUnavailable."""
        with self._translated(), self._engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        return SchemaState(current=current, head=self.head)

    def upgrade(self, revision: str = "head") -> None:
        """Migrate up, in one transaction. Raises RecordsUnavailable."""
        self.prepare()
        with self._migrating() as config:
            command.upgrade(config, revision)

    def downgrade(self, revision: str) -> None:
        """Migrate down, in one transaction; "base" drops every table. Raises RecordsUnavailable."""
        with self._migrating() as config:
            command.downgrade(config, revision)

    def differences(self) -> list[str]:
        """Where the tables differ from daemon.schema, one line each; empty is what `db check` hopes for."""
        with self._translated(), self._engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return [str(difference) for difference in compare_metadata(context, metadata)]

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by an exception.

        Raises RecordsUnavailable, and SchemaMismatch before anything is done to tables of another revision.
        """
        self._require_head()
        with self._translated(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections. The next use opens new ones."""
        self._engine.dispose()

    def _require_head(self) -> None:
        if self._at_head:
            return
        state = self.schema_state()
        if not state.ok:
            raise SchemaMismatch(
                f"the database {self.name} is at revision {state.current or 'none'}, this program needs "
                f"{state.head}: run `aprilgan-admin db upgrade`"
            )
        self._at_head = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (OperationalError, InterfaceError, ProgrammingError, PoolTimeout) as error:
            self._at_head = False
            detail = error.orig if isinstance(error, DBAPIError) else error
            raise RecordsUnavailable(f"the database {self.name} cannot be used: {detail}") from error

    @contextmanager
    def _migrating(self) -> Iterator[Config]:
        self._at_head = False
        with (
            _one_migration,
            self._translated(),
            self._engine.begin() as connection,
            _unhurried(connection),
        ):
            yield _alembic_config(connection)


@contextmanager
def _unhurried(connection: Connection) -> Iterator[None]:
    """A migration takes as long as the table is large; whoever runs it can end it."""
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    driver: Any = connection.connection.driver_connection
    patience_s, driver.patience_s = driver.patience_s, None
    try:
        yield
    finally:
        driver.patience_s = patience_s


def _alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _parse(url: str) -> URL:
    # The URL may hold a password, so no message repeats it.
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError('records.url: expected "sqlite" or a SQLAlchemy URL') from error


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("records.url: an SQLite database needs a file, since several processes share it")
    return Path(url.database).resolve()


def _sqlite_engine(file: Path) -> Engine:
    # mode=rw: connecting must never create an empty database where one is missing.
    url = URL.create("sqlite", database=file.as_uri(), query={"mode": "rw", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is transactional too
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _server_engine(url: URL) -> Engine:
    is_postgresql = url.get_backend_name() == "postgresql"
    if is_postgresql and url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    options = _postgresql_options(url) if is_postgresql else {}
    try:
        engine = create_engine(
            url, connect_args=options, pool_size=2, pool_pre_ping=True, pool_timeout=CONNECT_TIMEOUT_S
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"records.url: no driver for {url.drivername!r} is installed") from error
    if engine.driver == "psycopg":
        event.listen(engine, "do_connect", _connect_patiently)
    return engine


def _postgresql_options(url: URL) -> dict[str, Any]:
    """libpq parameters: limits that the server and the kernel keep; the client's own are in sql_patience."""
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": CONNECT_TIMEOUT_S * 1000}
    if "options" not in url.query:
        options["options"] = (
            f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000} -c lock_timeout={LOCK_TIMEOUT_S * 1000}"
        )
    return options


def _connect_patiently(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    from daemon.sql_patience import PatientConnection  # psycopg is for those who use it

    return PatientConnection.connect(*arguments, **options)
