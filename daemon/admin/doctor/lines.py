"""Lines and cameras: does each see, and does each have a bank of the encoder that is configured?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daemon.admin.doctor.finding import Finding
from daemon.admin.session import Session
from daemon.records import LineAssignment, Records, RecordsUnavailable
from daemon.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from core import Encoder


def check(session: Session, encoder: Encoder | None) -> list[Finding]:
    """The cameras' findings, and one for the banks where SQL answers. encoder: None where it cannot be loaded."""
    findings = [_cameras(session.settings)]
    try:
        with_banks = _banks(session, encoder)
    except (RecordsUnavailable, ConfigurationError):
        return findings  # the check `sql` says why
    return findings if with_banks is None else [*findings, with_banks]


def _cameras(settings: Settings) -> Finding:
    if not settings.lines:
        remedy = "add [[lines]] and [[cameras]] to the configuration"
        return Finding("lines", "note", "no line is configured: every frame will be refused", remedy)
    watched = {camera.line for camera in settings.cameras}
    blind = [str(line.id) for line in settings.lines if line.id not in watched]
    detail = f"{len(settings.lines)} lines, {len(settings.cameras)} cameras"
    if blind:
        remedy = f"add [[cameras]] with line = {blind[0]}: a frame's line comes from its camera's name alone"
        return Finding("lines", "note", f"{detail}; no camera looks at line {', '.join(blind)}", remedy)
    return Finding("lines", "ok", detail)


def _banks(session: Session, encoder: Encoder | None) -> Finding | None:
    """None where there is no database yet. Raises RecordsUnavailable."""
    records = Records(session.settings.records_url)
    try:
        file = records.database.file
        if file is not None and not file.exists():
            return None
        assigned = {assignment.line: assignment for assignment in records.lines()}
        return _judge(session, records, assigned, encoder)
    finally:
        records.close()


def _judge(
    session: Session, records: Records, assigned: dict[int, LineAssignment], encoder: Encoder | None
) -> Finding:
    lines = [line.id for line in session.settings.lines]
    for line in lines:
        if line in assigned:
            fault = _fault(session.state_dir, records, assigned[line], encoder)
            if fault is not None:
                return fault
    without = [line for line in lines if line not in assigned]
    if without:
        detail = f"no bank for line {', '.join(map(str, without))}: its parts are uninspected"
        return Finding("banks", "note", detail, f"aprilgan-admin enroll --line {without[0]} FOLDER_OF_GOOD_PARTS")
    return Finding("banks", "ok", f"{len(lines)} lines have one")


def _fault(state: Path, records: Records, assigned: LineAssignment, encoder: Encoder | None) -> Finding | None:
    line, short = assigned.line, assigned.bank_sha256[:12]
    again = f"aprilgan-admin enroll --line {line} FOLDER_OF_GOOD_PARTS"
    if not (state / assigned.bank_path).is_file():
        remedy = f"bring the file back from a backup, or aprilgan-admin banks rollback --line {line}, or {again}"
        return Finding(
            "banks", "configuration", f"line {line}: bank {short} is gone: {assigned.bank_path}", remedy
        )
    bank = records.bank(assigned.bank_sha256)
    if bank is None or encoder is None or bank.encoder_id == encoder.id:
        return None
    detail = f"line {line}: bank {short} was made with {bank.encoder_id}, [model] loads {encoder.id}"
    return Finding("banks", "configuration", detail, f"set [model] back to what it was, or {again}")
