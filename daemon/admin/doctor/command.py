"""The command: every area's checks in turn, shown with what to do, and the effective settings without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from daemon.admin import options
from daemon.admin.doctor import (
    daemon_pages,
    keys,
    lines,
    machine,
    model,
    services,
    setting_names,
    sockets,
    state_folder,
)
from daemon.admin.doctor.finding import Finding, exit_code
from daemon.admin.output import print_json, remark, show
from daemon.admin.session import Session
from daemon.settings import ConfigurationError, Settings

COLUMNS = {"check": "check", "outcome": "outcome", "detail": "detail", "remedy": "what to do"}


def doctor(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Check GPU, weights, Redis, SQL, disk and sockets, and print the effective settings without secrets."""
    session: Session = context.obj
    try:
        settings = session.settings
    except ConfigurationError as error:
        findings, shown = setting_names.explain(error), {}
    else:
        findings, shown = examine(session), effective(settings)
    if as_json:
        print_json({"ok": exit_code(findings) == 0, "checks": [asdict(f) for f in findings], "settings": shown})
    else:
        show([asdict(finding) for finding in findings], columns=COLUMNS, as_json=False, empty="")
        remark("")
        show(_flat(shown), columns={"setting": "setting", "value": "value"}, as_json=False, empty="")
    raise typer.Exit(exit_code(findings))


def examine(session: Session) -> list[Finding]:
    """Every check of an installation whose settings can be read."""
    encoder, of_model = model.check(session)
    return [
        *of_model,
        services.redis(session),
        services.sql(session.settings),
        *state_folder.check(session),
        *lines.check(session, encoder),
        *keys.check(session.settings),
        *sockets.check(session),
        *daemon_pages.check(session),
        *machine.check(session),
    ]


def effective(settings: Settings) -> dict[str, Any]:
    """The settings as JSON; a secret is masked unless it is one of the words that stand for a default."""
    tree = settings.model_dump(mode="json")
    tree["redis"]["url"] = "embedded" if settings.redis_embedded else "**********"
    tree["records"]["url"] = "sqlite" if settings.records.url.get_secret_value() == "sqlite" else "**********"
    return tree


def _flat(tree: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for section, fields in tree.items():
        if isinstance(fields, dict):
            rows += [{"setting": f"{section}.{name}", "value": str(value)} for name, value in fields.items()]
        else:
            rows += [{"setting": section, "value": _named(item)} for item in fields]
    return rows


def _named(item: Mapping[str, Any]) -> str:
    """A line or a camera: what is set of it."""
    return ", ".join(f"{name} {value}" for name, value in item.items() if value not in (None, ""))
