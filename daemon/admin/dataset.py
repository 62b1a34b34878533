"""`dataset synth|check`: a data set for those who have none, and whether the one at hand can be used."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from core import synthetic
from core.datasets import ObjectClass, Size, Survey, survey
from daemon.admin import options
from daemon.admin.output import print_json, progress, remark, show
from daemon.admin.session import Refused
from daemon.exit_codes import ExitCode

COLUMNS = {
    "class": "class",
    "train": "train",
    "good": "good",
    "defective": "defective",
    "defects": "defects",
    "sizes": "sizes",
}
MOST_SHOWN = 50
"""Faults that a person is shown; --json has all."""

app = typer.Typer(help="Make a synthetic data set, or check one before it is used.", no_args_is_help=True)


@app.command("check")
def check(
    layout: options.DatasetLayout,
    root: options.DatasetRoot,
    classes: options.Classes = None,
    as_json: options.AsJson = False,
) -> None:
    """Decode every picture and mask and list all that is wrong; exit code 1 if anything is."""
    with progress() as advance:
        found = survey(layout, root, classes=options.names(classes), progress=advance)
    rows = [_row(found, each) for each in found.dataset.classes]
    if as_json:
        sound = not found.faults
        digest = found.dataset.digest() if sound else None
        print_json({"ok": sound, "layout": layout, "classes": rows, "faults": found.faults, "digest": digest})
    else:
        show(rows, columns=COLUMNS, as_json=False, empty="")
        _tell(found.faults)
    raise typer.Exit(ExitCode.REFUSED if found.faults else ExitCode.OK)


@app.command("synth")
def synth(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder to write it to.")],
    classes: Annotated[
        str, typer.Option("--classes", metavar="NAMES|N|all", help="What to draw, or how many of what there is.")
    ] = "twill,leather,gear",
    defects: Annotated[
        str, typer.Option("--defects", metavar="NAMES|N|all", help="Likewise.")
    ] = "scratch,hole,stain,patch",
    hold_out: Annotated[
        str, typer.Option("--hold-out", metavar="NAMES", help="Classes and defects to leave out of these.")
    ] = "",
    size: Annotated[int, typer.Option("--size", metavar="PX", min=64, max=4096, help="Pixels a side.")] = 384,
    train: Annotated[
        int, typer.Option("--train", metavar="N", min=1, help="Good pictures of a class for references.")
    ] = 40,
    good: Annotated[
        int, typer.Option("--good", metavar="N", min=1, help="Good pictures of a class for the test.")
    ] = 20,
    per_defect: Annotated[
        int, typer.Option("--per-defect", metavar="N", min=1, help="Test pictures of a class and defect.")
    ] = 8,
    varied: Annotated[
        bool,
        typer.Option("--varied", help="Each picture of a product of its own: to train on, not for references."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Another seed, other pictures.")] = 0,
) -> None:
    """Write a made-up data set in MVTec layout: textures and parts with defects and exact masks.

    The same options give the same pictures. A class is one product with its own colours and light. A name that
    there is not is answered with all that there are.
    """
    left_out = _names(hold_out, [*synthetic.SURFACES, *synthetic.DEFECTS], "--hold-out") if hold_out else []
    surfaces = _without(left_out, _chosen(classes, list(synthetic.SURFACES), "--classes"), "--classes")
    kinds = _without(left_out, _chosen(defects, list(synthetic.DEFECTS), "--defects"), "--defects")
    with progress() as advance, _refusing(f"cannot write {out}"):
        synthetic.write_mvtec(
            out.resolve(),  # "." has no name to put in place at the end
            size=size,
            seed=seed,
            surfaces=surfaces,
            defects=kinds,
            train=train,
            good=good,
            per_defect=per_defect,
            varied=varied,
            progress=partial(advance, "drawing pictures"),
        )
    pictures = len(surfaces) * (train + good + per_defect * len(kinds))
    remark(f"Wrote {pictures} pictures to {out}: {', '.join(surfaces)}; defects {', '.join(kinds)}.")
    remark(f"Try it: aprilgan-admin evaluate --dataset mvtec --root {shlex.quote(str(out))} --shots 1,4 --seeds 2")


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """A folder that cannot be made, a full disk: nothing is unavailable, the data have no place."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{what}: {error.strerror}") from error


def _row(found: Survey, each: ObjectClass) -> dict[str, Any]:
    defective = [item for item in each.test if item.anomalous]
    return {
        "class": each.name,
        "train": len(each.train),
        "good": len(each.test) - len(defective),
        "defective": len(defective),
        "defects": sorted({item.defect for item in defective}),
        "sizes": _span(found.sizes[each.name]),
    }


def _span(sizes: Sequence[Size]) -> str | None:
    """ "700x700", or "700x700 to 900x1024" where there are several; width before height, as people say it."""
    if not sizes:
        return None
    ends = [f"{width}x{height}" for height, width in (sizes[0], sizes[-1])]
    return ends[0] if len(sizes) == 1 else f"{ends[0]} to {ends[1]}"


def _tell(faults: Sequence[str]) -> None:
    if not faults:
        remark("Every picture and mask is sound.")
        return
    remark(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}:")
    for fault in faults[:MOST_SHOWN]:
        remark(f"  {fault}")
    if len(faults) > MOST_SHOWN:
        remark(f"  … and {len(faults) - MOST_SHOWN} more (--json lists all)")


def _chosen(text: str, known: Sequence[str], option: str) -> list[str]:
    """ "all", so many of them spread evenly over what there is, or names; a usage error for anything else."""
    if text == "all":
        return list(known)
    if not text.isdecimal():
        return _names(text, known, option)
    count = int(text)
    if not 1 <= count <= len(known):
        raise typer.BadParameter(f"expected 1 to {len(known)}, got {text}", param_hint=option)
    return [known[(2 * index + 1) * len(known) // (2 * count)] for index in range(count)]


def _names(text: str, known: Sequence[str], option: str) -> list[str]:
    named = options.names(text) or ()
    for name in named:
        if name not in known:
            raise typer.BadParameter(f"expected some of {', '.join(known)}; got {name!r}", param_hint=option)
    return list(named)


def _without(left_out: Sequence[str], names: Sequence[str], option: str) -> list[str]:
    kept = [name for name in names if name not in left_out]
    if not kept:
        raise typer.BadParameter("--hold-out leaves none", param_hint=option)
    return kept
