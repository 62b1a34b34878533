"""`adapter`: what a file of linear layers belongs to, and the reference's `.pth` in the project's own form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import core
from core.presets import Activation
from daemon.admin import options
from daemon.admin.output import remark, show, show_one
from daemon.admin.session import Refused, Session
from daemon.admin.training_record import history_rows, record_lines
from daemon.durable import write_durably

if TYPE_CHECKING:  # imports torch
    from core.adapter import Adapter

app = typer.Typer(
    name="adapter", help="Linear layers: show a file, check it, convert the reference's.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="Project .safetensors, or the reference's .pth.")]
TrainedWith = Annotated[
    Activation | None, typer.Option("--activation", help="What a .pth was trained with; it does not say.")
]


@app.command("show")
def show_layers(file: File, activation: TrainedWith = None, as_json: options.AsJson = False) -> None:
    """Show what a file of linear layers was trained for, and its training record."""
    _show(_row(core.load_adapter(file, activation=activation)), as_json=as_json)


@app.command()
def check(
    context: typer.Context, file: File, activation: TrainedWith = None, as_json: options.AsJson = False
) -> None:
    """Check that the layers fit the encoder of the settings; says what does not fit."""
    session: Session = context.obj
    encoder = session.scorer().encoder
    layers = core.load_adapter(file, activation=activation, stages=encoder.stages)
    core.check_adapter(layers, encoder)
    _show({**_row(layers), "fits": encoder.id}, as_json=as_json)


@app.command("import")
def import_layers(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.safetensors", help="A new file.")],
    activation: Annotated[
        Activation, typer.Option("--activation", help="What it was trained with (gelu: the published ones).")
    ],
    stages: Annotated[
        str, typer.Option("--stages", metavar="6,12,18,24", help="The stages it was trained on, in order.")
    ],
    dataset: Annotated[str | None, typer.Option("--dataset", help="What it was trained on, in words.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Convert the reference's .pth, which says nothing of itself, to a file that does."""
    if out.suffix != ".safetensors":
        raise typer.BadParameter(f"expected a name ending in .safetensors, got {out.name!r}", param_hint="--out")
    if out.exists():
        raise Refused(f"{out} is there already; name a new file")
    chosen = options.whole_numbers(stages)
    layers = core.load_adapter(file, activation=activation, stages=chosen)
    if len(chosen) != len(layers.weights):
        raise Refused(f"{file.name} holds {len(layers.weights)} layers, {len(chosen)} stages were named: {stages}")
    header = core.AdapterHeader(
        tower_id=layers.header.tower_id,
        activation=activation,
        stages=chosen,
        dataset=dataset,
        training={"imported_from": file.name, "imported_sha256": layers.sha256},
    )
    _write(out, core.adapter_to_bytes(header, list(zip(layers.weights, layers.biases, strict=True))))
    _show(_row(core.load_adapter(out)), as_json=as_json)
    remark(f"Wrote {out}. Name it in [model] adapter, or try it: aprilgan-admin score --adapter {out} …")


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    """JSON as it is; for a person the training record a line a field, and below it what each epoch gave."""
    if as_json:
        show_one(row, as_json=True)
        return
    record = row["training"]
    fields = {name: value for name, value in row.items() if name != "training"}
    fields["widths"] = ", ".join(" to ".join(map(str, reversed(width))) for width in row["widths"])
    show_one({**fields, **record_lines(record)}, as_json=False)
    if history := history_rows(record):
        print()
        show(history, columns={name: name for name in history[0]}, as_json=False, empty="")


def _row(layers: Adapter) -> dict[str, Any]:
    header = layers.header
    return {
        "sha256": layers.sha256,
        "tower": header.tower_id,
        "activation": header.activation,
        "centred": header.centred,
        "stages": list(header.stages),
        "widths": [list(weight.shape) for weight in layers.weights],
        "dataset": header.dataset,
        "training": header.training,
    }


def _write(path: Path, data: bytes) -> None:
    """Whole or not there. Raises Refused."""
    try:
        write_durably(path, data)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
