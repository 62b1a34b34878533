"""`propose`: false rejects that people marked good become references, after a trial on what the line has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

import core
from core.decide import Decision
from daemon import verdict_queries
from daemon.admin import options
from daemon.admin.guard import AllowMisses, scored_by
from daemon.admin.handover import Handover, hand_over
from daemon.admin.line_rates import remark_on_thresholds
from daemon.admin.output import progress, remark, show
from daemon.admin.references import in_charge, kept_calibration, kept_pictures
from daemon.admin.samples import Picture, read_frame
from daemon.admin.session import Refused, Session
from daemon.bank_trial import SeenPart, compare, seen_parts, summary
from daemon.feedback import Feedback, Label, latest
from daemon.records import LineAssignment

DEFAULT_SINCE = timedelta(days=7)
COLUMNS = {
    "group": "parts that are",
    "parts": "parts",
    "stopped_before": "stopped now",
    "stopped_after": "stopped then",
    "changes": "decided otherwise",
}


def propose(
    context: typer.Context,
    line: options.Line,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="Only these of the parts marked good.")
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option(
            "--since", metavar="7d", parser=options.duration, help="Try it on the last so long; default: 7d."
        ),
    ] = None,
    recent: Annotated[int, typer.Option("--recent", min=1, max=5000, help="On at most so many of them.")] = 200,
    sheet: options.Sheet = None,
    yes: options.Yes = False,
    allow_misses: AllowMisses = False,
    why: options.Why = None,
    dry_run: options.DryRun = False,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Take parts that were stopped and that a person called good into the line's bank.

    Before anything is swapped in, present and proposed bank decide the parts that the line has seen: false rejects
    and known defects before and after are shown, and a known defect that would pass stops it.
    """
    session: Session = context.obj
    current, bank = in_charge(session, line)
    remark_on_thresholds(session, line, current.product)
    proposed = _false_rejects(session, current, bank, keys)
    fresh = [read_frame(session.state_dir / str(each.frame_path), each.key) for each in proposed]
    parts = _seen(session, current, since or DEFAULT_SINCE, recent, without={each.key for each in proposed})
    references = kept_pictures(session, bank, bank.header.sources)
    known = {picture.sample.sha256 for picture in (*references, *fresh)}
    calibration = [each for each in kept_calibration(session, bank) if each.sha256 not in known]
    scorer = session.scorer()
    embed = session.embed_for(scorer)

    def attempt(pictures: Sequence[Picture]) -> core.Enrolment:
        samples = [picture.sample for picture in pictures]
        with progress() as advance:
            enrolment = core.re_enrol(
                scorer,
                bank,
                samples,
                calibration=calibration,
                thresholds=current.thresholds,
                embed=embed,
                progress=advance,
            )
        before, after = scored_by(scorer, bank), scored_by(scorer, enrolment.bank)
        outcomes = compare(parts, (before, current.thresholds), (after, enrolment.thresholds))
        if not as_json:
            remark(
                f"{len(fresh)} false reject{'s' * (len(fresh) > 1)} proposed; on {len(parts)} other parts that "
                f"line {line} has seen:"
            )
            show(
                summary(outcomes), columns=COLUMNS, as_json=False, empty="No picture of an earlier part was kept."
            )
        return enrolment

    handover = Handover(
        session=session,
        line=line,
        current=current,
        action="propose",
        why=why or f"false rejects: {', '.join(each.key for each in proposed)}",
        wait_s=wait,
        sheet=sheet,
        yes=yes,
        allow_misses=allow_misses,
        dry_run=dry_run,
        as_json=as_json,
    )
    hand_over(handover, scorer, attempt, [*references, *fresh], ())


def _false_rejects(
    session: Session, current: LineAssignment, bank: core.ReferenceBank, keys: Sequence[str] | None
) -> list[Feedback]:
    """What a person called good although it was stopped, with its picture, not in the bank yet. Raises Refused."""
    database = session.records.database
    marked = latest(database, line=current.line, product=current.product, label=Label.GOOD, keys=keys)
    absent = set(keys or ()) - {each.key for each in marked}
    if absent:
        raise Refused(
            f"{', '.join(sorted(absent))} is not marked good for {current.product} on line {current.line}; "
            "`aprilgan-admin feedback KEY --good` does that"
        )
    in_bank = {source.name for source in bank.header.sources}
    stopped = [
        each
        for each in marked
        if each.frame_path is not None
        and (session.state_dir / each.frame_path).is_file()
        and each.key not in in_bank
        and _was_stopped(session, each.key)
    ]
    if not stopped:
        raise Refused(
            f"nothing to propose for line {current.line}: no part of {current.product} that was rejected or "
            "reviewed is marked good, has its picture, and is not in the bank yet"
        )
    return stopped


def _was_stopped(session: Session, key: str) -> bool:
    verdict = verdict_queries.find(session.records.database, key)
    return verdict is not None and verdict.decision in (Decision.REJECT, Decision.REVIEW)


def _seen(
    session: Session, current: LineAssignment, since: timedelta, limit: int, *, without: set[str]
) -> list[SeenPart]:
    """The newest parts of the product on its line whose pictures were kept, but for the proposed ones.

    Of a part that somebody said something of, feedback's own copy is the picture: it stays, maybe the only one.
    """
    database = session.records.database
    wanted = verdict_queries.VerdictFilter(line=current.line, since=datetime.now(UTC) - since)
    said = latest(database, product=current.product)
    labels = {each.key: each.label for each in said}
    copies = {each.key: each.frame_path for each in said if each.frame_path is not None}
    found: list[SeenPart] = []
    place = None
    while len(found) < limit:
        page = verdict_queries.page(database, wanted, limit=500, place=place)
        of_product = [each for each in page if each.product == current.product and each.key not in without]
        pictured = [replace(each, frame=copies.get(each.key, each.frame)) for each in of_product]
        found += seen_parts(session.state_dir, pictured, labels)
        place = verdict_queries.place_of(database, page[-1].key) if page else None
        if place is None:
            break
    return found[:limit]
