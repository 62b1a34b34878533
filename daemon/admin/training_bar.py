"""How a training is watched: a bar with the loss on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from core.training.progress import Observer, Step


@contextmanager
def training_bar() -> Iterator[Observer]:
    """Yields the observer. Remarks are printed in either case, on standard error."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def observe(step: Step) -> None:
        if step.phase not in tasks:
            tasks[step.phase] = bar.add_task(step.phase, total=step.total, loss="")
        loss = "" if math.isnan(step.loss) else f"loss {step.loss:.4f}"
        bar.update(tasks[step.phase], completed=step.done, total=step.total, loss=loss)
        if step.remark:
            console.print(step.remark, markup=False, soft_wrap=True)

    with bar:
        yield observe
