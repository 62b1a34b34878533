"""A bank takes charge of a line: its pictures are kept, it is published with an audit row, the daemon is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import core
from daemon.admin.running import announce
from daemon.admin.samples import Picture
from daemon.admin.session import Refused, Session, operator
from daemon.bank_store import publish, read_bank_file
from daemon.records import LineAssignment
from daemon.source_pictures import SourcePictures


def store(
    session: Session,
    bank: core.ReferenceBank,
    *,
    line: int,
    current: LineAssignment | None,
    action: str,
    why: str | None,
    wait_s: float,
    pictures: Sequence[Picture] = (),
) -> dict[str, Any]:
    """Publish a bank and tell the running daemon; what there is to say of it.

    current: what the line scored with when the work began; a change since then is a RevisionConflict. pictures:
    of its references and calibration that may not be kept yet.
    """
    _keep(session, bank.header.product, pictures)
    assignment = publish(
        session.records,
        None,
        session.state_dir,
        bank,
        line=line,
        who=operator(),
        why=why,
        action=action,
        expected_revision=current.revision if current else 0,
    )
    data = read_bank_file(session.state_dir, assignment.bank_path, assignment.bank_sha256)
    scores_since = announce(session, assignment, data, wait_s=wait_s)
    return {
        "bank": assignment.bank_sha256,
        "bank_path": assignment.bank_path,
        "revision": assignment.revision,
        "published_at": assignment.updated_at.isoformat(timespec="milliseconds"),
        "scores_since": scores_since,
    }


def _keep(session: Session, product: str, pictures: Sequence[Picture]) -> None:
    """Copy the files, each checked to be the one that was enrolled. Raises Refused, naming the file."""
    kept = SourcePictures(session.state_dir, product)
    for picture in pictures:
        if not kept.missing([picture.sample.sha256]):
            continue
        try:
            data = picture.path.read_bytes()
        except OSError as error:
            raise Refused(f"cannot read {picture.path} again: {error.strerror}") from error
        if kept.keep(data) != picture.sample.sha256:
            raise Refused(f"{picture.path} was changed while it was enrolled; nothing was published")
