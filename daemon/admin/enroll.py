"""`enroll`: a few good pictures of a product to a bank that a line scores with.

The pictures are files, or the next frames of the running line. Either way they are checked, laid out on a contact
sheet, and a person at a terminal is asked before the bank takes charge; samples can be left out there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import core
from daemon.admin import options, review, switches
from daemon.admin.guard import AllowMisses
from daemon.admin.handover import Handover, hand_over
from daemon.admin.line_rates import rates_for, remark_on_values
from daemon.admin.live_frames import SILENCE_S, live_frames
from daemon.admin.output import progress
from daemon.admin.samples import Picture, read_pictures
from daemon.admin.session import Session
from daemon.admin.words import checked_object_name, remark_on_object_name

LIVE_SHOTS = 8
"""Frames that are taken of a line unless told otherwise: as many as a provisional threshold needs."""


def enroll(
    context: typer.Context,
    line: options.Line,
    images: options.Images = None,
    product: options.Product = None,
    object_name: Annotated[
        str | None, typer.Option("--object", metavar="NAME", help='What it is, in words: "metal nut".')
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            "--shots",
            metavar="K",
            min=1,
            help="Take K of the pictures as references; without pictures: the next K frames (8).",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="DIR", help="Good parts outside the bank.")
    ] = None,
    max_false_rejects: options.FalseRejects = None,
    max_reviews: options.Reviews = None,
    rotations: switches.Rotations = None,
    budget: switches.Budget = None,
    neighbourhood: switches.Neighbourhood = None,
    smoothing: switches.Smoothing = None,
    tokens: switches.Tokens = None,
    text_weight: switches.TextWeight = None,
    roi: switches.Roi = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="A live line without a frame so long is silent."),
    ] = SILENCE_S,
    sheet: options.Sheet = None,
    yes: options.Yes = False,
    allow_misses: AllowMisses = False,
    why: options.Why = None,
    dry_run: options.DryRun = False,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Enrol a product on a line from good pictures, or from the next frames of the running line.

    Without --product: the line's current product, else line-N. Without --max-false-rejects and --max-reviews
    the rates that were chosen for the product before stay. The threshold is provisional unless --calibrate gives
    enough good parts outside the bank. On a terminal you are shown a contact sheet and asked before anything is
    stored; live frames are never taken without that or --yes.
    """
    session: Session = context.obj
    configured = session.line(line)
    if not images:
        review.need_consent("enrolling live frames", yes=yes, dry_run=dry_run, as_json=as_json)
    words = checked_object_name(object_name)
    current = session.records.line(line)
    grey = session.sees_grey(line)
    pictures = read_pictures(images, grey=grey) if images else []
    outside = read_pictures([calibrate], grey=grey) if calibrate else []
    mask = None if roi is None else switches.read_mask(roi)
    name = product or (current.product if current else configured.product) or f"line-{line}"
    rates = rates_for(session, line, name, max_false_rejects=max_false_rejects, max_reviews=max_reviews)
    if not rates.firm:
        remark_on_values(session, line, name)
    with ExitStack() as held:
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
        embed = session.embed_for(scorer)

        def attempt(chosen: Sequence[Picture]) -> core.Enrolment:
            with progress() as advance:
                return core.enrol(
                    scorer,
                    [picture.sample for picture in chosen],
                    product=name,
                    object_name=words,
                    embed=embed,
                    shots=_left(shots, len(chosen), len(pictures)) if images else None,
                    calibration=[picture.sample for picture in outside],
                    max_false_rejects=rates.max_false_rejects,
                    max_reviews=rates.max_reviews,
                    firm=rates.firm,
                    match=match,
                    text_weight=text_weight,
                    roi=mask,
                    progress=advance,
                )

        if not images:
            pictures = held.enter_context(live_frames(session, line, shots or LIVE_SHOTS, silence_s=timeout))
        handover = Handover(
            session=session,
            line=line,
            current=current,
            action="enroll",
            why=why,
            wait_s=wait,
            sheet=sheet,
            yes=yes,
            allow_misses=allow_misses,
            dry_run=dry_run,
            as_json=as_json,
        )
        hand_over(handover, scorer, attempt, pictures, outside)


def _left(shots: int | None, chosen: int, offered: int) -> int | None:
    """How many references once a person has left some pictures out."""
    return shots if shots is None or chosen == offered else min(shots, chosen)
