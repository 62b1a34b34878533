"""From pictures to a bank in charge: enrol, show, ask, try on known defects, store, report.

Whoever changes a line's references goes this way, so that nothing takes charge unseen or untested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import core
from core.errors import BankError
from core.image import Image
from core.sample_findings import Finding, FindingKind, colours_against
from daemon.admin import review
from daemon.admin.contact_sheet import contact_sheet
from daemon.admin.enrolment_report import report
from daemon.admin.guard import check_known_defects
from daemon.admin.output import remark
from daemon.admin.publishing import store
from daemon.admin.samples import Picture
from daemon.admin.session import Session
from daemon.admin.sheet_files import write_sheet
from daemon.bank_store import read_bank_file
from daemon.records import LineAssignment

Attempt = Callable[[Sequence[Picture]], "core.Enrolment"]  # in quotes: its module imports torch
"""Enrols these pictures, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """How a bank comes into charge of a line.

    current: what the line scored with when the work began. action, why: for the audit. sheet: where the contact
    sheet should lie, None in the state folder. yes: ask nothing.
    """

    session: Session
    line: int
    current: LineAssignment | None
    action: str
    why: str | None
    wait_s: float
    sheet: Path | None
    yes: bool
    allow_misses: bool
    dry_run: bool
    as_json: bool

    @property
    def asks(self) -> bool:
        """Whether a person is asked before anything is stored."""
        return not (self.yes or self.dry_run or self.as_json) and review.at_a_terminal()


def hand_over(
    handover: Handover,
    scorer: core.Scorer,
    attempt: Attempt,
    pictures: Sequence[Picture],
    outside: Sequence[Picture],
) -> None:
    """Enrol, show, ask (until nothing more is left out), try on known defects, store, report.

    outside: pictures that calibrate only, to be kept as well.
    """
    session = handover.session
    while True:
        enrolment = _compared(handover, attempt(pictures), pictures)
        page = _shown(handover, enrolment, pictures)
        answer = _answer(handover, enrolment, page) if handover.asks else review.Answer(go_on=True)
        if answer.go_on:
            break
        dropped = {enrolment.bank.header.sources[number - 1].sha256 for number in answer.dropped}
        pictures = [picture for picture in pictures if picture.sample.sha256 not in dropped]
    check_known_defects(
        session, enrolment.bank, enrolment.thresholds, allow_misses=handover.allow_misses, scorer=scorer
    )
    published = None
    if not handover.dry_run:
        published = store(
            session,
            enrolment.bank,
            line=handover.line,
            current=handover.current,
            action=handover.action,
            why=handover.why,
            wait_s=handover.wait_s,
            pictures=[*pictures, *outside],
        )
    extra: dict[str, Any] = {"contact_sheet": None if page is None else str(page)}
    report(enrolment, line=handover.line, published=published, as_json=handover.as_json, extra=extra)


def _compared(handover: Handover, enrolment: core.Enrolment, pictures: Sequence[Picture]) -> core.Enrolment:
    """With what the line's present bank of the same product has to say of the samples and their colours."""
    current, header = handover.current, enrolment.bank.header
    if current is None or current.product != header.product:
        return enrolment
    named = [(source.name, traits) for source, traits in zip(header.sources, enrolment.traits, strict=True)]
    known = _golden(handover.session, current)
    findings = [
        *(
            Finding(kind=FindingKind.STOPPED, sample=picture.sample.name, text=picture.doubt)
            for picture in pictures
            if picture.doubt is not None
        ),
        *(() if known is None else colours_against(named, known)),
    ]
    return replace(enrolment, findings=(*enrolment.findings, *findings))


def _golden(session: Session, current: LineAssignment) -> Image | None:
    """A picture of the product as the line's present bank keeps it, where it can be read."""
    try:
        data = read_bank_file(session.state_dir, current.bank_path, current.bank_sha256)
        return core.bank_from_bytes(data, sha256=current.bank_sha256).golden
    except BankError as error:
        remark(f"warning: not compared with the present bank: {error}")
        return None


def _shown(handover: Handover, enrolment: core.Enrolment, pictures: Sequence[Picture]) -> Path | None:
    """Write the contact sheet; its page's path."""
    samples = {picture.sample.sha256: picture.sample for picture in pictures}
    references = [samples[source.sha256] for source in enrolment.bank.header.sources]
    made = contact_sheet(enrolment, references, line=handover.line, made_at=datetime.now(UTC))
    return write_sheet(made, handover.session.state_dir, handover.sheet)


def _answer(handover: Handover, enrolment: core.Enrolment, page: Path | None) -> review.Answer:
    for number, source in enumerate(enrolment.bank.header.sources, 1):
        for finding in enrolment.findings:
            if finding.sample == source.name:
                remark(f"  {number}: {Path(source.name).name} {finding.text}")
    for finding in enrolment.findings:
        if finding.sample is None:
            remark(f"  {finding.text}")
    if page is not None:
        remark(f"Contact sheet: {page}")
    shots = enrolment.bank.header.shots
    return review.ask(f"Score line {handover.line} with these {shots} samples?", shots)
