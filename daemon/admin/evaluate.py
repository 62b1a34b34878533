"""`evaluate`: the papers' tables, on a data set with masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, get_args

import typer

from core import evaluation
from core.datasets import open_dataset
from core.evaluation.options import METHODS, EvaluationOptions, ObjectNames, ScoreMode
from core.presets import Activation
from daemon.admin import options
from daemon.admin.output import progress, remark, show
from daemon.admin.score import WITH_LAYERS, chosen_model
from daemon.admin.session import Session
from daemon.durable import write_durably

COLUMNS = {
    "method": "method",
    "shots": "shots",
    "seed": "seeds",
    "score_mode": "image score",
    "pixel_auroc": "px AUROC",
    "pixel_f1_max": "px F1",
    "pixel_ap": "px AP",
    "pro": "PRO",
    "pro_cflow200": "cflow200",
    "image_auroc": "im AUROC",
    "image_f1_max": "im F1",
    "image_ap": "im AP",
    "vand": "VAND",
}
OF_THE_MODEL = ("weights", "adapter", "activation", "stages", "image_size", "device", "precision")
"""Settings that a panel is loaded with."""


def evaluate(
    context: typer.Context,
    layout: options.DatasetLayout,
    root: options.DatasetRoot,
    classes: options.Classes = None,
    shots: Annotated[
        str, typer.Option("--shots", metavar="K,…", help="Numbers of references; 0 for words alone.")
    ] = "0,1,2,4",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Draws of the references.")] = 5,
    methods: Annotated[
        str | None,
        typer.Option("--method", metavar="NAMES", help=f"Of {', '.join(METHODS)}. Default: the model's own."),
    ] = None,
    score_modes: Annotated[
        str,
        typer.Option("--score-mode", metavar="NAMES", help="How image scores are made; where both exist, both."),
    ] = ",".join(get_args(ScoreMode)),
    model: options.Model = None,
    weights: options.Weights = None,
    adapter: options.AdapterFile = None,
    activation: Annotated[
        Activation | None, typer.Option("--activation", help="What the model, and a .pth, were trained with.")
    ] = None,
    image_size: options.ImageSize = None,
    stages: options.Stages = None,
    object_names: Annotated[
        ObjectNames,
        typer.Option(
            "--object", help="Prompts call a class by its folder (the papers' way), in words, or object."
        ),
    ] = "folder",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="All rows, means, and what they came from.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="OUT", help="The papers' table, published rows beside.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="A grid of images, masks and maps a class.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", metavar="DIR", help="Maps and finished classes. Default: evaluate/ in the state."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take over classes that are finished.")] = False,
    trials_at_once: Annotated[
        int, typer.Option("--trials-at-once", metavar="N", min=1, help="Bounds memory: about 40 MB each.")
    ] = 32,
) -> None:
    """Evaluate methods on a data set, as the papers do; fractions from 0 to 1, means over classes and seeds.

    Everything is checked before any work, and files are written when all is done. A run that was killed goes on
    with --resume.
    """
    session: Session = context.obj
    _check_outputs(json_file, markdown_file, pictures)
    asked = {
        "weights": weights,
        "adapter": adapter,
        "method": None,
        "activation": activation,
        "image_size": image_size,
        "stages": None if stages is None else options.whole_numbers(stages),
    }
    chosen = chosen_model(session.settings.model, model, asked)
    try:
        wanted = EvaluationOptions(
            methods=options.names(methods) or (str(chosen.method),),
            shots=options.whole_numbers(shots),
            seeds=seeds,
            score_modes=options.names(score_modes),  # type: ignore[arg-type]  # it checks them
            object_names=object_names,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if adapter is None and not set(wanted.methods) & set(WITH_LAYERS.values()):
        chosen = chosen.model_copy(update={"adapter": None})  # the settings' layers go with the settings' method
    with progress() as advance:
        dataset = open_dataset(layout, root, classes=options.names(classes), progress=advance)
        panel = evaluation.load_panel(
            chosen.preset, wanted, **{name: getattr(chosen, name) for name in OF_THE_MODEL}
        )
        result = evaluation.evaluate(
            panel,
            dataset,
            work=work or session.state_dir / "evaluate",
            resume=resume,
            pictures=pictures is not None,
            trials_at_once=trials_at_once,
            progress=advance,
            remark=remark,
        )
    document = evaluation.as_json(result, panel, dataset)
    files: dict[Path, str | bytes] = {}
    if json_file is not None:
        files[json_file] = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if markdown_file is not None:
        files[markdown_file] = evaluation.as_markdown(result, panel, dataset)
    if pictures is not None:
        files |= {pictures / f"{name}.png": grid for name, grid in result.pictures.items()}
    for path, content in files.items():
        write_durably(path, content.encode() if isinstance(content, str) else content)
    show(document["mean"], columns=COLUMNS, as_json=False, empty="")
    for named in (json_file, markdown_file):
        if named is not None:
            remark(f"Wrote {named}.")
    if pictures is not None:
        remark(f"Wrote {len(result.pictures)} pictures to {pictures}.")


def _check_outputs(json_file: Path | None, markdown_file: Path | None, pictures: Path | None) -> None:
    """Before hours of work: whether its results will have a place. Raises BadParameter."""
    for option, path in (("--json", json_file), ("--markdown", markdown_file)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise typer.BadParameter(f"{path} is no file in a folder that exists", param_hint=option)
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise typer.BadParameter(f"{pictures} is no folder", param_hint="--pictures")
