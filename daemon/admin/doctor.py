"""`doctor`: is everything there that the daemon needs? Looks, and changes nothing.

Secrets never come out: settings mask them, and no check repeats a URL.
"""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from core.errors import CoreError
from daemon.admin import options
from daemon.admin.output import print_json, remark, show
from daemon.admin.running import page
from daemon.admin.session import Session
from daemon.authorized_keys import KeysUnreadable, Role, authorized_file, read_authorized
from daemon.bank_cache import CacheUnavailable
from daemon.curve import server_pair
from daemon.exit_codes import ExitCode
from daemon.records import Records, RecordsUnavailable
from daemon.settings import ConfigurationError, Settings

LOW_DISK_BYTES = 1 << 30

Outcome = Literal["ok", "note", "unavailable", "configuration"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. "note" is worth knowing and fails nothing; the last two name an exit code."""

    check: str
    outcome: Outcome
    detail: str


def doctor(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Check GPU, weights, Redis, SQL, disk and sockets, and print the effective settings without secrets."""
    session: Session = context.obj
    settings = session.settings
    findings = [
        *_encoder(session),
        _redis(session),
        _sql(settings),
        _disk(settings.state.dir),
        _lines(settings),
        _keys(settings),
        _socket("ingest.bind", settings.ingest.bind),
        _socket("publish.bind", settings.publish.bind),
        _socket("http.bind", f"tcp://{settings.http.bind}"),
        _daemon(session),
    ]
    shown = effective(settings)
    if as_json:
        print_json({"ok": exit_code(findings) == 0, "checks": [asdict(f) for f in findings], "settings": shown})
    else:
        columns = {"check": "check", "outcome": "outcome", "detail": "detail"}
        show([asdict(finding) for finding in findings], columns=columns, as_json=False, empty="")
        remark("")
        show(_flat(shown), columns={"setting": "setting", "value": "value"}, as_json=False, empty="")
    raise typer.Exit(exit_code(findings))


def exit_code(findings: list[Finding]) -> ExitCode:
    """Wrong configuration outweighs a service that is down: it will not come back by itself. Pure."""
    outcomes = {finding.outcome for finding in findings}
    if "configuration" in outcomes:
        return ExitCode.CONFIG
    return ExitCode.UNAVAILABLE if "unavailable" in outcomes else ExitCode.OK


def effective(settings: Settings) -> dict[str, Any]:
    """The settings as JSON; a secret is masked unless it is one of the words that stand for a default."""
    tree = settings.model_dump(mode="json")
    tree["redis"]["url"] = "embedded" if settings.redis_embedded else "**********"
    tree["records"]["url"] = "sqlite" if settings.records.url.get_secret_value() == "sqlite" else "**********"
    return tree


def _encoder(session: Session) -> list[Finding]:
    """Weights and device are only known by loading them as the worker does."""
    try:
        encoder = session.scorer().encoder
    except (CoreError, ConfigurationError) as error:
        return [Finding("weights", "configuration", str(error))]
    where = f"{encoder.device} in {encoder.precision}"
    gpu_there = Path("/dev/nvidia0").exists()
    if gpu_there and encoder.device == "cpu":
        gpu = Finding("gpu", "note", f"an NVIDIA GPU is there, but the encoder runs on {where}")
    else:
        gpu = Finding("gpu", "ok" if gpu_there else "note", f"the encoder runs on {where}")
    return [Finding("weights", "ok", f"{encoder.id}, stages {list(encoder.stages)}"), gpu]


def _redis(session: Session) -> Finding:
    try:
        session.cache.ping()
        return Finding("redis", "ok", "answers")
    except ConfigurationError as error:
        return Finding("redis", "configuration", str(error))
    except CacheUnavailable as error:
        if session.settings.redis_embedded and not session.settings.redis_socket.exists():
            return Finding("redis", "note", "the embedded server starts with the daemon, which is not running")
        return Finding("redis", "unavailable", str(error))


def _sql(settings: Settings) -> Finding:
    try:
        records = Records(settings.records_url)
    except ConfigurationError as error:
        return Finding("sql", "configuration", str(error))
    file = records.database.file
    if file is not None and not file.exists():
        return Finding("sql", "note", f"{file} is created at the first use")
    try:
        state = records.schema_state()
    except RecordsUnavailable as error:
        return Finding("sql", "unavailable", str(error))
    finally:
        records.close()
    if state.ok:
        return Finding("sql", "ok", f"{records.database.name} at revision {state.current}")
    detail = f"at revision {state.current or 'none'}, needs {state.head}: run `aprilgan-admin db upgrade`"
    return Finding("sql", "unavailable", detail)


def _disk(state_dir: Path) -> Finding:
    existing = next(folder for folder in (state_dir.resolve(), *state_dir.resolve().parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("disk", "configuration", f"{existing} cannot be written to (state.dir = {state_dir})")
    free = shutil.disk_usage(existing).free
    outcome: Outcome = "ok" if free >= LOW_DISK_BYTES else "unavailable"
    return Finding("disk", outcome, f"{free / (1 << 30):.1f} GiB free for {state_dir.resolve()}")


def _lines(settings: Settings) -> Finding:
    if not settings.lines:
        return Finding("lines", "note", "no line is configured: every frame will be refused")
    watched = {camera.line for camera in settings.cameras}
    blind = [line.id for line in settings.lines if line.id not in watched]
    detail = f"{len(settings.lines)} lines, {len(settings.cameras)} cameras"
    if blind:
        return Finding("lines", "note", f"{detail}; no camera looks at line {', '.join(map(str, blind))}")
    return Finding("lines", "ok", detail)


def _keys(settings: Settings) -> Finding:
    """The server's pair as the daemon will look for it, and which cameras could not connect."""
    if settings.ingest.security == "none":
        return Finding("keys", "ok", 'not needed: ingest.security = "none"')
    try:
        public = server_pair(settings).public
        keys = read_authorized(authorized_file(settings.state.dir)).keys
    except (ConfigurationError, KeysUnreadable) as error:
        return Finding("keys", "configuration", str(error))
    keyed = {entry.name for entry in keys if entry.role is Role.CAMERA}
    without = [camera.name for camera in settings.cameras if camera.name not in keyed]
    detail = f"the server's public key is {public}; {len(keys)} keys are authorized"
    if without:
        return Finding("keys", "note", f"{detail}; without a key: {', '.join(without)}")
    return Finding("keys", "ok", detail)


def _socket(name: str, endpoint: str) -> Finding:
    """Free, or served by somebody, who should then be our daemon."""
    transport, _, address = endpoint.partition("://")
    if transport == "ipc":
        served = _answers(socket.AF_UNIX, address)
        return Finding(name, "ok", f"{endpoint} is {'served' if served else 'free'}")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if transport != "tcp" or not port.isdigit():
        return Finding(name, "configuration", f"expected tcp://ADDRESS:PORT or ipc://PATH, got {endpoint!r}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    target = (host if host not in ("*", "0.0.0.0") else "127.0.0.1", int(port))  # noqa: S104
    served = _answers(family, target)
    return Finding(name, "ok", f"{endpoint} is {'served' if served else 'free'}")


def _answers(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(address) == 0


def _daemon(session: Session) -> Finding:
    ready = page(session, "readyz")
    if ready is None:
        return Finding("daemon", "note", f"none answers at {session.settings.http.bind}")
    failing = [name for name, check in ready.get("checks", {}).items() if not check.get("ok")]
    detail = f"runs, not ready: {', '.join(failing)}" if failing else "runs and is ready"
    return Finding("daemon", "note" if failing else "ok", detail)


def _flat(tree: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for section, fields in tree.items():
        if isinstance(fields, dict):
            rows += [{"setting": f"{section}.{name}", "value": str(value)} for name, value in fields.items()]
        else:
            rows += [{"setting": section, "value": str(item)} for item in fields]
    return rows
