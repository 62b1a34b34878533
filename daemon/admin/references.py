"""`banks show`, `add-reference`, `remove-reference`: the single samples of the bank that a line scores with.

A bank is thinned, so a reference cannot be cut out of it: the bank is built anew from the kept pictures of the
others, and what it was calibrated on is scored again. The result is what enrolling the changed set would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import core
from core.errors import BankError
from daemon.admin import options
from daemon.admin.contact_sheet import Promise
from daemon.admin.guard import AllowMisses
from daemon.admin.handover import Handover, hand_over
from daemon.admin.line_rates import remark_on_thresholds
from daemon.admin.output import print_json, progress, remark, show
from daemon.admin.samples import Picture, read_pictures
from daemon.admin.session import Refused, Session
from daemon.bank_store import read_bank_file
from daemon.records import LineAssignment
from daemon.source_pictures import SourcePictures

if TYPE_CHECKING:
    from core.bank import Source  # imports torch, which most commands do without

COLUMNS = {"number": "", "name": "sample", "sha256": "sha256", "score": "score", "picture": "picture"}
SHORTEST_DIGEST = 6
"""Letters of a sha256 that may stand for a sample."""


def show_samples(context: typer.Context, line: options.Line, as_json: options.AsJson = False) -> None:
    """Show the samples of a line's bank, each with its score against the others."""
    session: Session = context.obj
    current, bank = in_charge(session, line)
    rows = sample_rows(bank, SourcePictures(session.state_dir, bank.header.product))
    promise, calibration = Promise.of(bank), bank.header.calibration
    if as_json:
        about = {
            "line": line,
            "product": bank.header.product,
            "bank": current.bank_sha256,
            "built_at": bank.header.built_at,
            "threshold_state": promise.state.value,
            "reject": promise.reject,
            "calibration_samples": len(calibration.calibration_scores),
        }
        print_json({**about, "samples": rows})
        return
    show(rows, columns=COLUMNS, as_json=False, empty="")
    remark(
        f"Bank {current.bank_sha256[:12]} of {bank.header.product}, {promise.state.value}: it rejects above "
        f"{promise.reject:.2f}, {promise.in_words()}; calibrated on {len(calibration.calibration_scores)} samples."
    )


def add_reference(
    context: typer.Context,
    line: options.Line,
    images: options.Images = None,
    sheet: options.Sheet = None,
    yes: options.Yes = False,
    allow_misses: AllowMisses = False,
    why: options.Why = None,
    dry_run: options.DryRun = False,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Add good samples to a line's bank; everything else about it stays as it was chosen."""
    session: Session = context.obj
    if not images:
        raise typer.BadParameter("name the pictures of good parts, or their folder", param_hint="IMAGE|DIR")
    current, bank = in_charge(session, line)
    fresh = read_pictures(images, grey=session.sees_grey(line))
    known = {source.sha256 for source in bank.header.sources}
    double = [picture.sample.name for picture in fresh if picture.sample.sha256 in known]
    if double:
        raise Refused(f"{double[0]} is one of the bank's references already")
    pictures = [*kept_pictures(session, bank, bank.header.sources), *fresh]
    handover = Handover(
        session=session,
        line=line,
        current=current,
        action="add-reference",
        why=why,
        wait_s=wait,
        sheet=sheet,
        yes=yes,
        allow_misses=allow_misses,
        dry_run=dry_run,
        as_json=as_json,
    )
    change(handover, bank, pictures)


def remove_reference(
    context: typer.Context,
    line: options.Line,
    samples: Annotated[
        list[str], typer.Argument(metavar="SAMPLE...", help="Number, name or sha256, as `banks show` has them.")
    ],
    sheet: options.Sheet = None,
    yes: options.Yes = False,
    allow_misses: AllowMisses = False,
    why: options.Why = None,
    dry_run: options.DryRun = False,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Take samples out of a line's bank; everything else about it stays as it was chosen."""
    session: Session = context.obj
    current, bank = in_charge(session, line)
    gone = {chosen(bank.header.sources, name).sha256 for name in samples}
    rest = [source for source in bank.header.sources if source.sha256 not in gone]
    if not rest:
        raise Refused("a bank needs a reference: nothing would be left")
    handover = Handover(
        session=session,
        line=line,
        current=current,
        action="remove-reference",
        why=why,
        wait_s=wait,
        sheet=sheet,
        yes=yes,
        allow_misses=allow_misses,
        dry_run=dry_run,
        as_json=as_json,
    )
    change(handover, bank, kept_pictures(session, bank, rest))


def change(handover: Handover, bank: core.ReferenceBank, pictures: Sequence[Picture]) -> None:
    """Build the line's bank anew from other references; what it was calibrated on is scored again."""
    session = handover.session
    scorer = session.scorer()
    embed = session.embed_for(scorer)
    references = {picture.sample.sha256 for picture in pictures}
    outside = [each for each in kept_calibration(session, bank) if each.sha256 not in references]
    remark_on_thresholds(session, handover.line, bank.header.product)

    def attempt(picked: Sequence[Picture]) -> core.Enrolment:
        with progress() as advance:
            return core.re_enrol(
                scorer,
                bank,
                [picture.sample for picture in picked],
                calibration=outside,
                thresholds=None if handover.current is None else handover.current.thresholds,
                embed=embed,
                progress=advance,
            )

    hand_over(handover, scorer, attempt, pictures, ())


def in_charge(session: Session, line: int) -> tuple[LineAssignment, core.ReferenceBank]:
    """What a line scores with, and its bank. Raises Refused or BankError."""
    current = session.assigned(line)
    data = read_bank_file(session.state_dir, current.bank_path, current.bank_sha256)
    return current, core.bank_from_bytes(data, sha256=current.bank_sha256)


def sample_rows(bank: core.ReferenceBank, kept: SourcePictures) -> list[dict[str, Any]]:
    """One row a reference. score: against the others; None where the scores are of copies of the only one."""
    sources, scores = bank.header.sources, bank.header.calibration.reference_scores
    missing = set(kept.missing(source.sha256 for source in sources))
    return [
        {
            "number": number,
            "name": source.name,
            "sha256": source.sha256,
            "score": scores[number - 1] if len(scores) == len(sources) else None,
            "picture": "missing" if source.sha256 in missing else "kept",
        }
        for number, source in enumerate(sources, 1)
    ]


def chosen(sources: Sequence[Source], name: str) -> Source:
    """The one sample that a person means: by number, name, file name, or the beginning of its sha256. Pure.

    Raises Refused where there is none, or more than one.
    """
    rules: tuple[Callable[[int, Source], bool], ...] = (
        lambda number, source: name == str(number),
        lambda number, source: name == source.name,
        lambda number, source: name == Path(source.name).name,
        lambda number, source: len(name) >= SHORTEST_DIGEST and source.sha256.startswith(name),
    )
    for rule in rules:
        found = [source for number, source in enumerate(sources, 1) if rule(number, source)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Refused(f"{name!r} could be {found[0].name} or {found[1].name}; say its number (`banks show`)")
    raise Refused(f"the bank has no sample {name!r}; `banks show` lists them by number and name")


def kept_pictures(session: Session, bank: core.ReferenceBank, sources: Sequence[Source]) -> list[Picture]:
    """The references' kept pictures. Raises Refused, naming those that are not there."""
    kept = SourcePictures(session.state_dir, bank.header.product)
    missing = set(kept.missing(source.sha256 for source in sources))
    if missing:
        names = ", ".join(source.name for source in sources if source.sha256 in missing)
        raise Refused(
            f"the pictures of {names} were not kept, and without them the bank cannot be built anew; enrol all of "
            "them again with `aprilgan-admin enroll`"
        )
    return [_kept_picture(kept, source.name, source.sha256) for source in sources]


def kept_calibration(session: Session, bank: core.ReferenceBank) -> list[core.Sample]:
    """What the bank was calibrated on, as far as it was kept; says what was not."""
    kept = SourcePictures(session.state_dir, bank.header.product)
    calibration = bank.header.calibration
    samples = []
    for sha256 in calibration.calibration_sources:
        try:
            samples.append(kept.read(f"calibration sample {sha256[:12]}", sha256))
        except BankError as error:
            remark(f"warning: {error}; it no longer counts")
    lost = len(calibration.calibration_scores) - len(samples)
    if lost:
        remark(
            f"{lost} of {len(calibration.calibration_scores)} calibration samples cannot be scored against the "
            "new bank: the promise is made from the others. `aprilgan-admin calibrate` adds more."
        )
    return samples


def _kept_picture(kept: SourcePictures, name: str, sha256: str) -> Picture:
    sample = kept.read(name, sha256)
    return Picture(path=kept.find(sha256) or Path(name), sample=sample)
