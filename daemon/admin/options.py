"""Options that several commands share, and how their text becomes a value."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from core.datasets import Layout
from daemon.setting_sections import ID_PATTERN

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Line = Annotated[int, typer.Option("--line", min=0, max=9999, help="The line's id in the settings.")]
AnyLine = Annotated[int | None, typer.Option("--line", min=0, max=9999, help="Only this line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Why = Annotated[str | None, typer.Option("--why", help="The reason, for the audit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do everything but store and publish.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing: for scripts.")]
Sheet = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE", help="Where the contact sheet goes (.html, and .png beside it)."),
]
Images = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IMAGE|DIR", help="JPEG or PNG files, or folders of them.", show_default=False),
]
FalseRejects = Annotated[
    float | None,
    typer.Option("--max-false-rejects", metavar="P", help="Promise at most this rate of rejected good parts."),
]
Reviews = Annotated[
    float | None,
    typer.Option("--max-reviews", metavar="Q", help="Review or reject at most this rate of good parts; Q >= P."),
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="Wait until the running daemon scores with it."),
]

DatasetLayout = Annotated[Layout, typer.Option("--dataset", help="How its folders are laid out.")]
DatasetRoot = Annotated[Path, typer.Option("--root", metavar="DIR", help="The data set's folder.")]
Classes = Annotated[str | None, typer.Option("--classes", metavar="NAME,NAME", help="Only these of its classes.")]

Model = Annotated[
    str | None, typer.Option("--model", metavar="PRESET|CONFIG.json", help="Default: the settings' model.")
]
Weights = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Its state dict.")]
AdapterFile = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="FILE", help="Linear layers: .safetensors, or the reference's .pth."),
]
ImageSize = Annotated[int | None, typer.Option("--image-size", metavar="S", min=16, max=4096)]
Stages = Annotated[str | None, typer.Option("--stages", metavar="6,12,18,24", help="1-based, ascending.")]


def names(text: str | None) -> tuple[str, ...] | None:
    """ "bottle,metal_nut" to a tuple without repetitions; None where nothing was named."""
    return None if text is None else tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def duration(text: str) -> timedelta:
    """ "90s", "30m", "8h", "7d" to a timedelta; a usage error for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise typer.BadParameter(f"expected a duration like 90s, 30m, 8h or 7d, got {text!r}")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def identifier(text: str) -> str:
    """A name that may stand in paths and keys; a usage error for anything else."""
    if not re.fullmatch(ID_PATTERN, text):
        raise typer.BadParameter(
            f"expected 1 to 64 letters, digits, - or _ that begin with a letter or digit, got {text!r}"
        )
    return text


def whole_numbers(text: str) -> tuple[int, ...]:
    """ "6,12,18,24" to a tuple; a usage error for anything else."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"expected whole numbers like 6,12,18,24, got {text!r}") from error


def not_in_this_version(option: str, what: str) -> typer.BadParameter:
    """The usage error for an option whose branch is not built yet."""
    return typer.BadParameter(f"{what} is not in this version", param_hint=option)


Product = Annotated[
    str | None,
    typer.Option("--product", metavar="NAME", parser=identifier, help="The product's name."),
]
