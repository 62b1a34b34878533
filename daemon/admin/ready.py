"""`ready`: whether the running daemon is ready, for scripts; install.sh decides by it whether an upgrade stays."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from daemon.admin import options
from daemon.admin.output import print_json, remark
from daemon.admin.running import page
from daemon.admin.session import Session, Unavailable
from daemon.exit_codes import ExitCode

POLL_S = 0.5


def ready(
    context: typer.Context,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait so long until it is.")
    ] = 0.0,
    allow: Annotated[
        str, typer.Option("--allow", metavar="CHECK,CHECK", help="Checks of /readyz that may fail.")
    ] = "",
    only_names: Annotated[
        bool, typer.Option("--failing", help="Only print the names of the failing checks, as --allow takes them.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Say whether the running daemon is ready, and what keeps it from that; exit code 69 where it is not."""
    session: Session = context.obj
    if only_names:
        print(",".join(failing(page(session, "readyz") or {})))
        return
    allowed = frozenset(allow.split(","))
    answer = _await(session, allowed, wait)
    if answer is None:
        raise Unavailable(f"no daemon answers at {session.settings.http.bind}: systemctl status aprilgan-daemon")
    wrong = failing(answer, allowed)
    if as_json:
        print_json({"ready": not wrong, "failing": wrong, "checks": answer["checks"]})
    else:
        for name in wrong or ["ready"]:
            remark(f"{name}: {answer['checks'][name]['detail']}" if wrong else name)
    if wrong:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def failing(answer: dict[str, Any], allowed: frozenset[str] = frozenset()) -> list[str]:
    """The checks of a /readyz answer that fail and may not. Pure."""
    checks = answer.get("checks", {})
    return [name for name, check in checks.items() if not check.get("ok") and name not in allowed]


def _await(session: Session, allowed: frozenset[str], wait_s: float) -> dict[str, Any] | None:
    """The last answer: the first good one, or whatever came when the time was over."""
    deadline = time.monotonic() + wait_s
    while True:
        answer = page(session, "readyz")
        if (answer is not None and not failing(answer, allowed)) or time.monotonic() >= deadline:
            return answer
        time.sleep(POLL_S)
