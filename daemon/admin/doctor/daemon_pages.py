"""What the running daemon says of itself: not ready and why, who sends under a name that nobody configured."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from daemon.admin.doctor.finding import Finding
from daemon.admin.running import TIMEOUT_S, page
from daemon.admin.session import Session

REMEDIES = {
    "serving": "it starts or stops: look again in a minute; then journalctl -u aprilgan-daemon",
    "keys": "mend the file that the check `keys` names",
    "schema": "aprilgan-admin db upgrade",
    "worker": "journalctl -u aprilgan-daemon says what ended it; while loading, wait",
    "selftest": "the encoder gives other scores than at enrolment: was the machine or model changed? Enrol again",
    "banks": "aprilgan-admin enroll the lines that it names",
    "outbox": "bring SQL back: the check `sql` says what it lacks",
}
"""By the checks of daemon.readiness."""


def check(session: Session) -> list[Finding]:
    """Ready, and heard from its cameras."""
    ready = page(session, "readyz")
    if ready is None:
        remedy = "systemctl status aprilgan-daemon; systemctl start aprilgan-daemon"
        return [Finding("daemon", "note", f"none answers at {session.settings.http.bind}", remedy)]
    return [_ready(ready), *_senders(session)]


def _ready(ready: dict[str, Any]) -> Finding:
    checks = ready.get("checks", {})
    failing = [name for name, check in checks.items() if not check.get("ok")]
    if not failing:
        return Finding("daemon", "ok", "runs and is ready")
    why = "; ".join(f"{name}: {checks[name].get('detail') or 'fails'}" for name in failing)
    return Finding("daemon", "note", f"runs, not ready: {why}", REMEDIES.get(failing[0]))


def _senders(session: Session) -> list[Finding]:
    """Names that nobody configured, and cameras that never sent: often one and the same camera."""
    strangers, silent = _heard(session)
    if not strangers:
        return []
    names = ", ".join(camera.name for camera in session.settings.cameras) or "none"
    detail = f"{strangers:.0f} messages refused from senders that are no configured camera ({names})"
    if silent:
        detail += f"; never heard since the start: {', '.join(silent)}"
    remedy = "give the sender the camera's configured name, or configure its name under [[cameras]]"
    return [Finding("cameras", "note", detail, remedy)]


def _heard(session: Session) -> tuple[float, list[str]]:
    """(messages refused from unknown senders, configured cameras that never sent), by /metrics."""
    strangers, seen = 0.0, set()
    for family in text_string_to_metric_families(_metrics(session)):
        for sample in family.samples:
            camera = sample.labels.get("camera")
            if sample.name == "aprilgan_frames_refused_total" and camera == "unknown":
                strangers += sample.value
            if sample.name == "aprilgan_last_frame_timestamp_seconds" and sample.value > 0:
                seen.add(camera)
    return strangers, [camera.name for camera in session.settings.cameras if camera.name not in seen]


def _metrics(session: Session) -> str:
    try:
        with urlopen(f"http://{session.settings.http.bind}/metrics", timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode("utf-8"))
    except (OSError, ValueError):
        return ""
