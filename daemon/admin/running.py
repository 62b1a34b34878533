"""What the running daemon says of itself over loopback HTTP; and telling it that a line changed."""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from daemon.admin.output import remark
from daemon.admin.session import Session, Unavailable
from daemon.bank_store import tell
from daemon.records import LineAssignment

POLL_S = 0.1
TIMEOUT_S = 2.0


def announce(session: Session, assignment: LineAssignment, data: bytes | None, *, wait_s: float) -> str | None:
    """Tell running daemons of a change; returns when the local one began to score with it (ISO 8601), if known.

    wait_s: how long to wait for that. Raises Unavailable when it does not come to pass in that time.
    """
    failure = tell(session.cache, assignment, data)
    if wait_s > 0:
        return _await(session, assignment, wait_s)
    if failure is None:
        remark("Announced through Redis: a running daemon scores with this from its next batch on.")
    else:
        remark(f"Stored. Redis was not told ({failure}): a running daemon finds it in SQL within 30 s.")
    return None


def page(session: Session, name: str) -> dict[str, Any] | None:
    """A JSON page of the local daemon ("readyz", "statusz"), None where nothing answers with one."""
    try:
        with urlopen(f"http://{session.settings.http.bind}/{name}", timeout=TIMEOUT_S) as reply:
            body = json.load(reply)
    except HTTPError as error:
        body = _body(error)
    except (URLError, OSError, ValueError, http.client.HTTPException):
        return None
    return body if isinstance(body, dict) else None


def _body(error: HTTPError) -> Any:
    with error:
        try:
            return json.load(error)
        except ValueError:
            return None


def _await(session: Session, assignment: LineAssignment, wait_s: float) -> str:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if _scores_with(page(session, "statusz"), assignment):
            return datetime.now(UTC).isoformat(timespec="milliseconds")
        time.sleep(POLL_S)
    raise Unavailable(
        f"stored, but the daemon at {session.settings.http.bind} does not score with it after {wait_s:g} s"
    )


def _scores_with(status: dict[str, Any] | None, assignment: LineAssignment) -> bool:
    """Whether /statusz names this bank, threshold and revision (or a later one) for the line."""
    try:
        line = (status or {})["lines"][str(assignment.line)]
        since = line.get("revision") or assignment.revision
        same = line["bank"] == assignment.bank_sha256 and line["threshold"] == assignment.thresholds.reject
        return bool(same and since >= assignment.revision)
    except (KeyError, TypeError):
        return False
