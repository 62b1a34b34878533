"""Live parts as calibration samples: a fair draw of what the line inspected, and a person's word on it.

Accepted parts count as good unless a person drops them; parts that the line stopped count only where a person says
that they are good. Feedback is such a word, given before. Nothing that nobody vouched for goes in.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer

from daemon.admin.calibration_sheet import write_sheet
from daemon.admin.output import remark
from daemon.admin.samples import Picture, read_frame
from daemon.admin.session import Refused, Session
from daemon.calibration_draw import Candidate, Draw, fair_draw, look_back
from daemon.feedback import Feedback, Label, latest
from daemon.records import LineAssignment

SHEET = "contact-sheets/{line}/calibrate.html"
NAMED = 5
"""Keys that a refusal lists."""

Ask = Callable[[str], str]
"""A question to a person, and the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is to look at.

    accepted: good unless dropped. stopped: good only where the answer says so. vouched: where feedback said so.
    """

    accepted: tuple[Candidate, ...]
    stopped: tuple[Candidate, ...]
    vouched: tuple[Candidate, ...]

    @property
    def shown(self) -> tuple[Candidate, ...]:
        """In the order of their numbers on the sheet, from 1."""
        return (*self.accepted, *self.stopped)


def question(draw: Draw, labels: Mapping[str, Label]) -> Question:
    """The draw without what people already said of it: defects are out, stopped parts called good are in. Pure."""
    return Question(
        # the likeliest to be no good part first: who looks at many pictures looks best at the first
        accepted=tuple(part for part in _worst_first(draw.accepted) if labels.get(part.key) is not Label.DEFECT),
        stopped=tuple(part for part in draw.stopped if part.key not in labels),
        vouched=tuple(part for part in draw.stopped if labels.get(part.key) is Label.GOOD),
    )


def _worst_first(parts: Sequence[Candidate]) -> list[Candidate]:
    return sorted(parts, key=lambda part: -math.inf if part.score is None else part.score, reverse=True)


def live_samples(
    session: Session,
    current: LineAssignment,
    *,
    since: datetime,
    at_most: int,
    yes: bool,
    ask: Ask | None = None,
) -> list[Picture]:
    """Draw, show, ask, read. ask: None asks on the terminal, where there is one.

    Raises Refused where no picture was kept, where nobody can be asked, or where a part cannot be judged.
    """
    window = look_back(session.records.database, line=current.line, product=current.product, since=since)
    draw = fair_draw(window, at_most=at_most)
    if not draw.accepted:
        raise Refused(
            f"no picture is kept of the {window.accepted} parts that line {current.line} accepted since "
            f"{since.isoformat(timespec='minutes')}: set [frames] accept_every (every n-th is kept), wait, or "
            "name picture files"
        )
    said = latest(session.records.database, keys=[part.key for part in (*draw.accepted, *draw.stopped)])
    asked = question(draw, {row.key: row.label for row in said})
    remark(
        f"{len(draw.accepted)} of {window.accepted} accepted parts and, in the same proportion, "
        f"{len(draw.stopped)} of {len(window.stopped)} reviewed or rejected ones are in the draw."
    )
    chosen = (*_answered(session, current, asked, yes=yes, ask=ask), *asked.vouched)
    copies = {row.key: row for row in said}
    return [read_frame(_picture(session.state_dir, part, copies), part.key) for part in chosen]


def numbers(text: str, allowed: range) -> set[int]:
    """ "3, 7-9" to a set; "" and "none" to an empty one. Raises ValueError for anything else."""
    found: set[int] = set()
    for word in re.split(r"[,\s]+", text.strip()):
        if word in ("", "none"):
            continue
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        if match is None:
            raise ValueError(f"expected numbers like 3, 7-9, got {word!r}")
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    strange = sorted(found - set(allowed))
    if strange:
        raise ValueError(f"expected numbers from {allowed.start} to {allowed.stop - 1}, got {strange[0]}")
    return found


def _answered(
    session: Session, current: LineAssignment, asked: Question, *, yes: bool, ask: Ask | None
) -> tuple[Candidate, ...]:
    """The good ones of what was to be asked."""
    sheet = session.state_dir / SHEET.format(line=current.line)
    write_sheet(sheet, session.state_dir, accepted=asked.accepted, stopped=asked.stopped, line=current.line)
    remark(f"The contact sheet is {sheet}")
    if yes:
        _refuse_open(asked.stopped)
        return asked.accepted
    if ask is None and not sys.stdin.isatty():
        raise Refused(
            f"look at {sheet}, say what is not good with `aprilgan-admin feedback KEY --defect`, and run this "
            "again with --yes (on a terminal it asks)"
        )
    return _asked(asked, ask or _on_terminal)


def _refuse_open(stopped: Sequence[Candidate]) -> None:
    if not stopped:
        return
    keys = ", ".join(part.key for part in stopped[:NAMED]) + (", …" if len(stopped) > NAMED else "")
    raise Refused(
        f"{len(stopped)} parts of the draw were reviewed or rejected and nobody has said what they are: {keys}. "
        "Without them the sample would lack high scores. Say it with `aprilgan-admin feedback KEY "
        "--good|--defect`, or leave out --yes"
    )


def _asked(asked: Question, ask: Ask) -> tuple[Candidate, ...]:
    """Two questions: which accepted parts are not good, and which stopped parts are."""
    first = range(1, len(asked.accepted) + 1)
    second = range(first.stop, first.stop + len(asked.stopped))
    dropped = _until_understood(ask, f"Which of {first.start}-{first.stop - 1} are NOT good? (none)", first)
    good = set()
    if asked.stopped:
        question = f"Which of the stopped parts {second.start}-{second.stop - 1} ARE good? (numbers, or none)"
        good = _until_understood(ask, question, second, empty=False)
    kept = (set(first) - dropped) | good
    if dropped:
        keys = ", ".join(asked.shown[number - 1].key for number in sorted(dropped))
        remark(f"Accepted, and not good: {keys}. `feedback KEY --defect` makes them known defects.")
    return tuple(part for number, part in enumerate(asked.shown, 1) if number in kept)


def _until_understood(ask: Ask, text: str, allowed: range, *, empty: bool = True) -> set[int]:
    while True:
        answer = ask(text).strip()
        try:
            if not answer and not empty:
                raise ValueError("expected numbers or the word none, got nothing")
            return numbers(answer, allowed)
        except ValueError as error:
            remark(str(error))


def _on_terminal(text: str) -> str:
    return str(typer.prompt(text, default="", show_default=False, err=True))


def _picture(state: Path, part: Candidate, copies: Mapping[str, Feedback]) -> Path:
    """The part's picture: the one kept, else feedback's copy. Raises Refused."""
    said = copies.get(part.key)
    for relative in (part.frame_path, said.frame_path if said else None):
        if relative is not None and (state / relative).is_file():
            return state / relative
    raise Refused(
        f"the {part.decision} part {part.key} is in the draw, and its picture was not kept: leaving it out would "
        "make the sample unfair. Keep pictures of what is stopped ([frames] keep) and look back less far"
    )
