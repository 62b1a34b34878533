"""`train`: linear layers on a data set with masks, and the words of an encoder that has none."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import core
from core import training
from core.datasets import Dataset, open_dataset
from core.presets import Activation, resolve_spec
from core.synthetic import SURFACES
from core.training.examples import split
from core.training.options import Method, Schedule, TrainingOptions, WordsOptions, paper_options
from core.training.work_folder import WORDS_FILE, forget, is_begun, work_folder
from daemon.admin import options
from daemon.admin.output import remark, show_one
from daemon.admin.session import Refused, Session
from daemon.admin.training_bar import training_bar
from daemon.durable import write_durably
from daemon.setting_sections import ModelSettings

if TYPE_CHECKING:  # imports torch, which every other command does without
    from core.training.progress import Observer

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One training, checked. words_out: None where the words are not trained."""

    dataset: Dataset
    model: ModelSettings
    method: Method
    options: TrainingOptions
    words: WordsOptions
    out: Path
    words_out: Path | None
    use_cache: bool


def train(
    context: typer.Context,
    dataset: options.DatasetLayout,
    root: options.DatasetRoot,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The layers: FILE.safetensors.")],
    model: options.Model = None,
    weights: options.Weights = None,
    activation: Annotated[Activation | None, typer.Option("--activation", help="Of the model.")] = None,
    image_size: options.ImageSize = None,
    stages: options.Stages = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option("--precision", help="Of the frozen tower; layers and loss are float32."),
    ] = None,
    method: Annotated[Method, typer.Option("--method", help="What the layers are for.")] = "april-gan",
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="A,B", help="Of the data set; default: all.")
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option("--hold-out", metavar="A,B", help="Classes or kinds of defect to measure on, unseen."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="Default: the paper's.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help="Default: the paper's.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", metavar="RATE", min=0, help="Default: the paper's.")
    ] = None,
    schedule: Annotated[
        Schedule | None, typer.Option("--schedule", help="Of the rate; default: the paper's, constant.")
    ] = None,
    stitch: Annotated[
        float | None,
        typer.Option("--stitch", metavar="P", min=0, max=1, help="Share of 2x2 stitches; default: the paper's."),
    ] = None,
    centred: Annotated[
        bool, typer.Option("--centred", help="Tokens relative to their picture's mean; the paper's are not.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 0,
    words_out: Annotated[
        Path | None,
        typer.Option("--words-out", metavar="FILE", help="Train the text tower first (lite): FILE.safetensors."),
    ] = None,
    words_steps: Annotated[
        int | None, typer.Option("--words-steps", metavar="N", min=1, help="Contrastive steps of the words.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", metavar="DIR", help="Checkpoints and token cache. Default: beside --out, removed."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Encode every picture in every epoch.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget a training that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train linear layers on the test pictures of a data set and their masks.

    A training that was stopped goes on when the same command is given again, to the same file.
    """
    session: Session = context.obj
    if words_steps is not None and words_out is None:
        raise typer.BadParameter("goes with --words-out", param_hint="--words-steps")
    _check_targets(out, words_out, overwrite=overwrite)
    given = {
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "stitch_probability": stitch,
    }
    held_out = _names(hold_out, "--hold-out") or ()
    order = Order(
        dataset=open_dataset(dataset, root, classes=_names(classes, "--classes")),
        model=_model(
            session.settings.model,
            preset=model,
            weights=weights,
            activation=activation,
            image_size=image_size,
            stages=None if stages is None else options.whole_numbers(stages),
            precision=precision,
        ),
        method=method,
        options=replace(
            paper_options(dataset, method), seed=seed, hold_out=held_out, centred=centred, **_given(given)
        ),
        words=replace(WordsOptions(seed=seed, hold_out=held_out), **_given({"steps": words_steps})),
        out=out,
        words_out=words_out,
        use_cache=not no_cache,
    )
    split(order.dataset, held_out)  # a name that nothing has is an error before any work
    began = time.monotonic()
    with work_folder(work or out.with_name(f".{out.name}.work")) as folder:
        if restart:
            forget(folder, tokens=False)
        elif is_begun(folder):
            remark(f"Goes on from where it was stopped, in {folder}; --restart begins anew.")
        with training_bar() as observe:
            files = _run(order, folder, observe)
        for path, data in files.items():
            write_durably(path, data)
        forget(folder, tokens=work is None)
    show_one(_summary(order, files, time.monotonic() - began), as_json=as_json)


def _check_targets(out: Path, words_out: Path | None, *, overwrite: bool) -> None:
    for option, path in (("--out", out), ("--words-out", words_out)):
        if path is None:
            continue
        if path.suffix != SUFFIX or not path.parent.is_dir():
            raise typer.BadParameter(
                f"expected FILE{SUFFIX} in a folder that is there, got {path}", param_hint=option
            )
        if path.exists() and not overwrite:
            raise Refused(f"{path} exists; --overwrite replaces it")
    if out == words_out:
        raise typer.BadParameter("expected another file than --out", param_hint="--words-out")


def _names(text: str | None, option: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise typer.BadParameter(f"expected names like bottle,cable, got {text!r}", param_hint=option)
    return names


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _model(configured: ModelSettings, *, preset: str | None, **asked: Any) -> ModelSettings:
    """The settings' model, or another one of which nothing but device and precision is the settings'."""
    base = configured.model_dump()
    if preset is not None:
        base = {"preset": preset, "device": configured.device, "precision": configured.precision}
    return ModelSettings(**{**base, "adapter": None, "method": None, **_given(asked)})


def _run(order: Order, folder: Path, observe: Observer) -> dict[Path, bytes]:
    """The files that the training makes, by where they belong."""
    model, files = order.model, {}
    if order.words_out is not None:
        files[order.words_out] = _train_words(order, folder, observe)
        model = model.model_copy(update={"weights": folder / WORDS_FILE})
        write_durably(folder / WORDS_FILE, files[order.words_out])
    encoder = core.load_encoder(
        model.preset,
        weights=model.weights,
        activation=model.activation,
        stages=model.stages,
        image_size=model.image_size,
        device=model.device,
        precision=training.steady_precision(model.precision, model.device),
        words=True,
    )
    words = core.load_text_encoder(model.preset, weights=model.weights, activation=model.activation)
    files[order.out] = training.train_linear_layers(
        encoder,
        training.class_text(order.method, words.embed),
        order.dataset,
        order.options,
        work=folder,
        observe=observe,
        use_cache=order.use_cache,
    )
    return files


def _train_words(order: Order, folder: Path, observe: Observer) -> bytes:
    model = order.model
    spec = resolve_spec(
        model.preset, activation=model.activation, stages=model.stages, image_size=model.image_size
    )
    kinds = [kind.name for kind in order.dataset.classes if kind.name in SURFACES]
    return training.train_words(
        spec,
        order.dataset,
        order.words,
        work=folder,
        names={kind: SURFACES[kind].names for kind in kinds},
        device=model.device,
        observe=observe,
    )


def _summary(order: Order, files: dict[Path, bytes], seconds: float) -> dict[str, Any]:
    record = core.load_adapter(order.out).header.training
    last = record["history"][-1]
    held_out = last["held_out"] or {}
    return {
        "out": str(order.out),
        "sha256": hashlib.sha256(files[order.out]).hexdigest(),
        "words_out": None if order.words_out is None else str(order.words_out),
        "pictures": record["pictures"]["seen"],
        "held_out": record["pictures"]["held_out"],
        "epochs": order.options.epochs,
        "loss_by_stage": last["loss"],
        "held_out_loss_by_stage": held_out.get("loss"),
        "held_out_pixel_auroc": held_out.get("pixel_auroc"),
        "seconds": round(seconds, 1),
    }
