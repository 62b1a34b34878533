"""How commands speak: tables for people, JSON for machines, progress and remarks on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

# A pipe has no width; a table that is cut there loses data.
_PIPE_WIDTH = 240


def print_json(value: object) -> None:
    """One JSON document on standard output. Values that are not finite would be no JSON and raise ValueError."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def show(rows: Sequence[Mapping[str, Any]], *, columns: Mapping[str, str], as_json: bool, empty: str) -> None:
    """A list: all of each row as JSON, or the chosen columns (key -> title) as a table.

    empty: what to say to a person when there are no rows.
    """
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        remark(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in columns.values():
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(key, row[key]) for key in columns))
    _console().print(table, markup=False)


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: JSON, or a line a field."""
    if as_json:
        print_json(row)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in row.items():
        table.add_row(key.replace("_", " "), _cell(key, value))
    _console().print(table, markup=False)


def remark(text: str) -> None:
    """A remark for a person, on standard error, so that it never disturbs what a machine reads."""
    print(text, file=sys.stderr)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere. Yields the callback (what, done, total)."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    with bar:
        yield advance


def _console() -> Console:
    console = Console(file=sys.stdout, highlight=False)
    return console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=_PIPE_WIDTH)


def _cell(key: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, float):
        return f"{value:.4g}"
    if key in ("bank", "sha256"):
        return str(value)[:12]
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    return str(value)
