"""`calibrate`: good parts outside the bank to a threshold that promises something. The bank's tokens stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

import core
from core.decide import ThresholdState
from daemon.admin import options
from daemon.admin.enrolment_report import report
from daemon.admin.guard import AllowMisses, check_known_defects
from daemon.admin.line_rates import rates_for
from daemon.admin.live_samples import live_samples
from daemon.admin.output import progress, remark
from daemon.admin.publishing import store
from daemon.admin.samples import Picture, read_pictures
from daemon.admin.session import Session
from daemon.bank_store import read_bank_file
from daemon.records import LineAssignment

AcceptedSince = Annotated[
    timedelta | None,
    typer.Option(
        "--accepted-since",
        metavar="8h",
        parser=options.duration,
        help="Take live parts of the last so long, as they come: what was accepted, and its share of the rest.",
    ),
]


def calibrate(
    context: typer.Context,
    line: options.Line,
    images: options.Images = None,
    accepted_since: AcceptedSince = None,
    max_false_rejects: options.FalseRejects = None,
    max_reviews: options.Reviews = None,
    at_most: Annotated[
        int, typer.Option("--at-most", metavar="N", min=1, max=2000, help="Of the accepted live parts.")
    ] = 200,
    yes: Annotated[bool, typer.Option("--yes", help="Every accepted part of the draw is good.")] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Forget earlier samples: after a drift they are not like today's parts."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but store and publish.")] = False,
    allow_misses: AllowMisses = False,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Add good parts to a line's calibration, without touching its bank.

    They are picture files, or live parts that a person has looked at on a contact sheet. The rates that were
    chosen for the line stay, unless others are named.
    """
    session: Session = context.obj
    if bool(images) == (accepted_since is not None):
        raise typer.BadParameter("name pictures of good parts, or --accepted-since", param_hint="IMAGE|DIR")
    current = session.assigned(line)
    data = read_bank_file(session.state_dir, current.bank_path, current.bank_sha256)
    bank = core.bank_from_bytes(data, sha256=current.bank_sha256)
    rates = rates_for(session, line, current.product, max_false_rejects=max_false_rejects, max_reviews=max_reviews)
    if accepted_since is None:
        pictures = read_pictures(images or (), grey=session.sees_grey(line))
    else:
        since = datetime.now(UTC) - accepted_since
        pictures = outside(bank, live_samples(session, current, since=since, at_most=at_most, yes=yes))
    with progress() as advance:
        scorer = session.scorer()
        enrolment = core.recalibrate(
            scorer,
            bank,
            [picture.sample for picture in pictures],
            max_false_rejects=rates.max_false_rejects,
            max_reviews=rates.max_reviews,
            firm=rates.firm,
            keep_earlier=not replace,
            progress=advance,
        )
    _remark_on_values(current)
    check_known_defects(session, enrolment.bank, enrolment.thresholds, allow_misses=allow_misses, scorer=scorer)
    published = None
    if not dry_run:
        published = store(
            session,
            enrolment.bank,
            line=line,
            current=current,
            action="calibrate",
            why=why,
            wait_s=wait,
            pictures=pictures,
        )
    report(enrolment, line=line, published=published, as_json=as_json)


def outside(bank: core.ReferenceBank, pictures: list[Picture]) -> list[Picture]:
    """Live parts that are no references of the bank: those were enrolled from the line itself."""
    references = {source.sha256 for source in bank.header.sources}
    return [picture for picture in pictures if picture.sample.sha256 not in references]


def _remark_on_values(current: LineAssignment) -> None:
    if current.thresholds.state is ThresholdState.MANUAL:
        remark(
            f"The thresholds of line {current.line} were set by hand (reject above "
            f"{current.thresholds.reject:.4g}); they end with this calibration. `aprilgan-admin threshold --line "
            f"{current.line} --reject X` sets them again."
        )
