"""`feedback`: what a person says of a verdict; false rejects may teach the bank, defects guard it from then on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.decide import Decision
from daemon import verdict_queries
from daemon.admin import options
from daemon.admin.output import remark, show, show_one
from daemon.admin.samples import read_samples
from daemon.admin.session import Refused, Session, operator
from daemon.feedback import Feedback, Label, add, keep_picture, latest
from daemon.flow import Verdict

COLUMNS = {
    "at": "at",
    "line": "line",
    "product": "product",
    "label": "label",
    "who": "who",
    "note": "note",
    "frame_path": "picture",
    "key": "key",
}


def feedback(
    context: typer.Context,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Of the verdict; none lists.", show_default=False)
    ] = None,
    good: Annotated[bool, typer.Option("--good", help="The part is good.")] = False,
    defect: Annotated[bool, typer.Option("--defect", help="The part is defective.")] = False,
    note: Annotated[str | None, typer.Option("--note", help="What you saw.")] = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="The part's picture, where none was kept.")
    ] = None,
    line: options.AnyLine = None,
    product: options.Product = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what a part really was; without KEY, list what was said.

    A good part that was rejected can be proposed for the bank (`propose`). A defect is tested against every later
    bank and threshold of its product.
    """
    session: Session = context.obj
    if key is None:
        if good or defect or note or image:
            raise typer.BadParameter("name the verdict's key (see `verdicts`)", param_hint="KEY")
        rows = [row.public() for row in latest(session.records.database, line=line, product=product)]
        show(rows, columns=COLUMNS, as_json=as_json, empty="Nobody has said anything of a verdict yet.")
        return
    if good == defect:
        raise typer.BadParameter("say either --good or --defect")
    verdict = verdict_queries.find(session.records.database, key)
    if verdict is None:
        raise Refused(f"there is no verdict with the key {key!r}; `aprilgan-admin verdicts` lists keys")
    said = _said(session, verdict, Label.GOOD if good else Label.DEFECT, note, image)
    add(session.records.database, said)
    show_one(said.public(), as_json=as_json)
    if not as_json:
        remark(_what_now(verdict, said))


def _said(session: Session, verdict: Verdict, label: Label, note: str | None, image: Path | None) -> Feedback:
    current = session.records.line(verdict.line)
    product = verdict.product or (current.product if current else None)
    if product is None:
        raise Refused(f"the part {verdict.key} was seen before line {verdict.line} had a product")
    return Feedback(
        key=verdict.key,
        line=verdict.line,
        product=product,
        label=label,
        note=note,
        who=operator(),
        at=datetime.now(UTC),
        frame_path=_kept(session.state_dir, product, verdict, image),
        frame_sha256=verdict.frame_sha256,
    )


def _kept(state: Path, product: str, verdict: Verdict, image: Path | None) -> str | None:
    """The picture's own copy: of the file that is named, else of what the daemon kept, else none."""
    if image is not None:
        read_samples([image])  # refuses what is no whole picture
    source = image or (state / verdict.frame if verdict.frame else None)
    if source is None or (image is None and not source.is_file()):
        return None
    try:
        return keep_picture(state, product, source.read_bytes(), suffix=source.suffix.lower())
    except OSError as error:
        raise Refused(f"cannot keep the picture {source}: {error.strerror}") from error


def _what_now(verdict: Verdict, said: Feedback) -> str:
    """What the label leads to, in a sentence."""
    if said.frame_path is None:
        return (
            "Only the label is stored: the camera's picture of this part was not kept. Give it with --image FILE, "
            "or let more be kept ([frames] keep and accept_every)."
        )
    if said.label is Label.DEFECT:
        return f"From now on every new bank and threshold of {said.product} is tested on this part."
    if verdict.decision in (Decision.REJECT, Decision.REVIEW):
        return f"`aprilgan-admin propose --line {verdict.line}` shows what taking it into the bank would change."
    return "Noted."
