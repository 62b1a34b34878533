"""Redis and SQL: there, let us in, and of our revision."""

from __future__ import annotations

from daemon.admin.doctor.finding import Finding
from daemon.admin.session import Session
from daemon.bank_cache import CacheUnavailable
from daemon.records import Records, RecordsUnavailable
from daemon.settings import ConfigurationError, Settings

_STORE = "sh /opt/aprilgan/current/deploy/credential.sh"
_SQL_REMEDIES = {
    "password authentication failed": f"store the right URL: {_STORE} records.url",
    "no password supplied": f"store a URL with the password: {_STORE} records.url",
    "does not exist": "make the database and its user on the server (CREATE DATABASE), or correct records.url",
    "refused": "start the server; on another machine, let the unit reach it: 20-network.conf (INSTALL.md)",
    "timeout": "look at the network and firewalls; let the unit reach it: 20-network.conf (INSTALL.md)",
    "resolve": "correct the host in records.url",
    "not a database": "the file is damaged: aprilgan-admin db restore FILE puts a backup in its place",
}
"""What SQL's words mean for a person, first match first."""


def redis(session: Session) -> Finding:
    """Whether the bank cache answers; without it banks come from files."""
    try:
        session.cache.ping()
        return Finding("redis", "ok", "answers")
    except ConfigurationError as error:
        return Finding("redis", "configuration", str(error), "correct redis.url")
    except CacheUnavailable as error:
        if session.settings.redis_embedded and not session.settings.redis_socket.exists():
            return Finding("redis", "note", "the embedded server starts with the daemon, which is not running")
        remedy = 'start the server, correct redis.url, or do with the packaged one: [redis] url = "embedded"'
        return Finding("redis", "unavailable", str(error), remedy)


def sql(settings: Settings) -> Finding:
    """Whether the records can be used."""
    try:
        records = Records(settings.records_url)
    except ConfigurationError as error:
        return Finding("sql", "configuration", str(error), "correct records.url")
    file = records.database.file
    if file is not None and not file.exists():
        return Finding("sql", "note", f"{file} is created at the first use")
    try:
        state = records.schema_state()
    except RecordsUnavailable as error:
        return Finding("sql", "unavailable", str(error), sql_remedy(str(error)))
    finally:
        records.close()
    if state.ok:
        return Finding("sql", "ok", f"{records.database.name} at revision {state.current}")
    if state.current is not None and state.current > state.head:
        remedy = "the database is newer than this program: install the newer release again, or restore a backup"
    else:
        remedy = "aprilgan-admin db upgrade"
    return Finding("sql", "unavailable", f"at revision {state.current or 'none'}, needs {state.head}", remedy)


def sql_remedy(words: str) -> str:
    """What to do about a database that cannot be used. Pure."""
    return next(
        (remedy for sign, remedy in _SQL_REMEDIES.items() if sign in words), "look at the server's own log"
    )
