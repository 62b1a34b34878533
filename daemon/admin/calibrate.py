"""`calibrate`: good parts outside the bank to a threshold that promises something. The bank's tokens stay."""

from __future__ import annotations

from typing import Annotated

import typer

import core
from daemon.admin import options
from daemon.admin.enroll import report, store
from daemon.admin.output import progress
from daemon.admin.samples import read_references
from daemon.admin.session import Session
from daemon.bank_store import read_bank_file


def calibrate(
    context: typer.Context,
    line: options.Line,
    images: options.Images = None,
    accepted_since: Annotated[
        str | None, typer.Option("--accepted-since", metavar="8h", help="Not in this version.")
    ] = None,
    max_false_rejects: options.FalseRejects = None,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Add good parts to a line's calibration, without touching its bank."""
    session: Session = context.obj
    if accepted_since is not None:
        raise options.not_in_this_version("--accepted-since", "calibrating on accepted live parts")
    if not images:
        raise typer.BadParameter("name the pictures of good parts, or their folder", param_hint="IMAGE|DIR")
    current = session.assigned(line)
    data = read_bank_file(session.state_dir, current.bank_path, current.bank_sha256)
    bank = core.bank_from_bytes(data, sha256=current.bank_sha256)
    samples = read_references(images, grey=session.sees_grey(line))
    with progress() as advance:
        enrolment = core.recalibrate(
            session.scorer(), bank, samples, max_false_rejects=max_false_rejects, progress=advance
        )
    published = store(
        session, enrolment.bank, line=line, current=current, action="calibrate", why=why, wait_s=wait
    )
    report(enrolment, line=line, published=published, as_json=as_json)
