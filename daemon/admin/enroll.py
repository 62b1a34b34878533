"""`enroll`: a few good pictures of a product to a bank that a line scores with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import core
from daemon.admin import options, switches
from daemon.admin.output import progress, remark, show_one
from daemon.admin.running import announce
from daemon.admin.samples import read_references
from daemon.admin.session import Session, operator
from daemon.admin.words import checked_object_name, remark_on_object_name
from daemon.bank_store import publish, read_bank_file
from daemon.records import LineAssignment


def enroll(
    context: typer.Context,
    line: options.Line,
    images: options.Images = None,
    product: options.Product = None,
    object_name: Annotated[
        str | None, typer.Option("--object", metavar="NAME", help='What it is, in words: "metal nut".')
    ] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", metavar="K", min=1, help="Take K of the pictures as references.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="DIR", help="Good parts outside the bank.")
    ] = None,
    max_false_rejects: options.FalseRejects = None,
    rotations: switches.Rotations = None,
    budget: switches.Budget = None,
    neighbourhood: switches.Neighbourhood = None,
    smoothing: switches.Smoothing = None,
    tokens: switches.Tokens = None,
    text_weight: switches.TextWeight = None,
    roi: switches.Roi = None,
    why: options.Why = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but store and publish.")] = False,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Enrol a product on a line from good pictures.

    Without --product: the line's current product, else line-N. Without --max-false-rejects the threshold
    is provisional, unless --calibrate gives good parts outside the bank.
    """
    session: Session = context.obj
    if not images:
        raise options.not_in_this_version("IMAGE|DIR", "enrolling live frames of a running line (no images given)")
    configured = session.line(line)
    words = checked_object_name(object_name)
    current = session.records.line(line)
    grey = session.sees_grey(line)
    samples = read_references(images, grey=grey)
    calibration = read_references([calibrate], grey=grey) if calibrate else []
    mask = None if roi is None else switches.read_mask(roi)
    name = product or (current.product if current else configured.product) or f"line-{line}"
    with progress() as advance:
        scorer = session.scorer()
        remark_on_object_name(scorer, words)
        match = switches.match_options(
            scorer.encoder.spec.match,
            rotations=rotations,
            budget=budget,
            neighbourhood=neighbourhood,
            smoothing=smoothing,
            tokens=tokens,
        )
        enrolment = core.enrol(
            scorer,
            samples,
            product=name,
            object_name=words,
            embed=session.embed_for(scorer),
            shots=shots,
            calibration=calibration,
            max_false_rejects=max_false_rejects,
            match=match,
            text_weight=text_weight,
            roi=mask,
            progress=advance,
        )
    published = None
    if not dry_run:
        published = store(
            session, enrolment.bank, line=line, current=current, action="enroll", why=why, wait_s=wait
        )
    report(enrolment, line=line, published=published, as_json=as_json)


def store(
    session: Session,
    bank: core.ReferenceBank,
    *,
    line: int,
    current: LineAssignment | None,
    action: str,
    why: str | None,
    wait_s: float,
) -> dict[str, Any]:
    """Publish a bank and tell the running daemon; what there is to say of it.

    current: what the line scored with when the work began; a change since then is a RevisionConflict.
    """
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


def report(enrolment: core.Enrolment, *, line: int, published: dict[str, Any] | None, as_json: bool) -> None:
    """Say what came out: spread of the scores, threshold, and what it promises."""
    header, thresholds = enrolment.bank.header, enrolment.thresholds
    row = {
        "line": line,
        "product": header.product,
        "shots": header.shots,
        "encoder": header.encoder_id,
        "reference_scores": _spread(enrolment.scores),
        "calibration_scores": _spread(enrolment.calibration_scores),
        "reject_above": thresholds.reject,
        "review_above": thresholds.review,
        "threshold_state": thresholds.state.value,
        "expected_false_rejects": enrolment.expected_false_rejects,
        "upper_false_rejects": header.calibration.upper_false_rejects,
        "warnings": list(enrolment.warnings),
        "published": published is not None,
        **(published or {}),
    }
    if as_json:
        show_one(row, as_json=True)
        return
    show_one({**row, **_in_words(row)}, as_json=False)
    for warning in enrolment.warnings:
        remark(f"warning: {warning}")
    if published is None:
        remark("Dry run: nothing was stored.")


def _spread(scores: tuple[float, ...]) -> dict[str, float] | None:
    if not scores:
        return None
    ordered = sorted(scores)
    return {
        "count": len(ordered),
        "min": ordered[0],
        "median": ordered[len(ordered) // 2],
        "max": ordered[-1],
    }


def _in_words(row: dict[str, Any]) -> dict[str, str]:
    """The fields of a report that read better as a phrase."""
    words = {
        key: "{count} from {min:.3g} to {max:.3g}, median {median:.3g}".format(**row[key])
        for key in ("reference_scores", "calibration_scores")
        if row[key]
    }
    rate = f"{row['expected_false_rejects']:.2%} of good parts"
    if row["upper_false_rejects"] is None:
        rate += " (provisional: an expectation, no promise)"
    else:
        rate += f" on average; this calibration at most {row['upper_false_rejects']:.2%} with 95 % confidence"
    return {**words, "expected_false_rejects": rate, "upper_false_rejects": ""}
