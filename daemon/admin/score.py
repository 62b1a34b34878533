"""`score`: files against words, reference pictures or both, without daemon or database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import core
from core.decide import decide
from core.presets import Activation, MethodName, Mode, resolve_spec
from daemon.admin import options
from daemon.admin.output import progress, show
from daemon.admin.samples import read_references, read_samples
from daemon.admin.session import Session, build_embed, build_scorer
from daemon.admin.words import checked_object_name, remark_on_object_name
from daemon.setting_sections import ModelSettings

if TYPE_CHECKING:  # these import torch, which every other command does without
    from core.bank import Memory
    from core.bank_building import Progress
    from core.score_rule import ScoreRule
    from core.text import TextFeatures

WITH_LAYERS: dict[str, MethodName] = {"bank": "april-gan", "sdp": "sdp+"}
"""What a model's own method becomes when linear layers come with it and nobody names a method."""
COLUMNS = {"image": "image", "score": "score", "text_score": "text score"}
PROVISIONAL_COLUMNS = {**COLUMNS, "threshold": "threshold", "decision": "decision"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """What pictures are held against; the fields are those of core.inspect.

    thresholds: provisional ones, where the references gave some.
    """

    text: TextFeatures | None
    memory: Memory | None
    rule: ScoreRule | None = None
    thresholds: core.Thresholds | None = None


def score(
    context: typer.Context,
    images: options.Images = None,
    model: options.Model = None,
    weights: options.Weights = None,
    adapter: options.AdapterFile = None,
    method: Annotated[
        MethodName | None, typer.Option("--method", help="Default: the settings' or the model's own.")
    ] = None,
    activation: Annotated[
        Activation | None, typer.Option("--activation", help="What the model, and a .pth, were trained with.")
    ] = None,
    image_size: options.ImageSize = None,
    stages: options.Stages = None,
    object_name: Annotated[
        str | None, typer.Option("--object", metavar="NAME", help='What it is, in words: "metal nut".')
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option("--reference", metavar="IMG", help="A good part; once or more.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option("--mode", help="paper: as published, scores depend on the whole set.")
    ] = "streaming",
    save_maps: Annotated[
        Path | None, typer.Option("--save-maps", metavar="OUT.npz", help="Maps and scores, float32.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Score pictures against words, reference pictures of good parts, or both; larger is more anomalous.

    A threshold is shown for references in streaming mode; it is provisional, from the references alone.
    """
    session: Session = context.obj
    if not images:
        raise typer.BadParameter("name the pictures to score", param_hint="IMAGE")
    if save_maps and not save_maps.parent.is_dir():
        raise typer.BadParameter(f"{save_maps.parent} is no folder", param_hint="--save-maps")
    asked = {
        "weights": weights,
        "adapter": adapter,
        "method": method,
        "activation": activation,
        "image_size": image_size,
        "stages": None if stages is None else options.whole_numbers(stages),
    }
    chosen = chosen_model(session.settings.model, model, asked)
    if chosen.method == "bank" and not reference:
        raise typer.BadParameter(
            "method bank takes one good part or more to compare with", param_hint="--reference"
        )
    name = checked_object_name(object_name)
    references, pictures = read_references(reference or ()), read_samples(images)
    with progress() as advance:
        scorer = build_scorer(chosen)
        remark_on_object_name(scorer, name)
        held_against = _yardstick(scorer, chosen, name, references, mode, advance)
        inspection = core.inspect(
            scorer,
            [picture.image for picture in pictures],
            mode=mode,
            text=held_against.text,
            memory=held_against.memory,
            rule=held_against.rule,
            keep_stages=save_maps is not None,
            progress=advance,
        )
    if save_maps:
        _save(save_maps, inspection)
    rows = _rows(pictures, inspection, held_against.thresholds)
    show(rows, columns=PROVISIONAL_COLUMNS if held_against.thresholds else COLUMNS, as_json=as_json, empty="")


def chosen_model(configured: ModelSettings, preset: str | None, asked: dict[str, Any]) -> ModelSettings:
    """The settings' model, or another one of which nothing but device and precision is the settings'.

    asked: settings by name, None where the command line leaves one open. The result names its method.
    Raises EncoderError for a preset that there is not.
    """
    base = configured.model_dump()
    if preset is not None:
        base = {"preset": preset, "device": configured.device, "precision": configured.precision}
    if asked["method"] in WITH_LAYERS:
        base["adapter"] = None  # the settings' layers go with the settings' method
    chosen = ModelSettings(**{**base, **{name: value for name, value in asked.items() if value is not None}})
    if chosen.method is not None:
        return chosen
    own = resolve_spec(chosen.preset, stages=chosen.stages).method
    method = own if chosen.adapter is None else WITH_LAYERS.get(own, own)
    return chosen.model_copy(update={"method": method})


def _yardstick(
    scorer: core.Scorer,
    model: ModelSettings,
    object_name: str | None,
    references: Sequence[core.Sample],
    mode: Mode,
    advance: Progress,
) -> Yardstick:
    """Words, references or both. In streaming mode references are enrolled as the daemon's are."""
    embed = build_embed(model, scorer)
    if references and mode == "streaming":
        enrolment = core.enrol(
            scorer, references, product="references", object_name=object_name, embed=embed, progress=advance
        )
        bank = scorer.prepare(enrolment.bank)
        return Yardstick(
            text=bank.text_features,
            memory=bank.memory,
            rule=enrolment.bank.header.rule,
            thresholds=enrolment.thresholds,
        )
    pictures = [sample.image for sample in references]
    return Yardstick(
        text=core.text_features(scorer, object_name, embed),
        memory=core.paper_memory(scorer, pictures, progress=advance) if pictures else None,
    )


def _save(path: Path, inspection: core.Inspection) -> None:
    """Every array of the inspection that there is, under its own name."""
    arrays = {field.name: getattr(inspection, field.name) for field in fields(inspection)}
    with path.open("wb") as file:  # np.savez would append .npz to another name
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


def _rows(
    pictures: Sequence[core.Sample], inspection: core.Inspection, thresholds: core.Thresholds | None
) -> list[dict[str, Any]]:
    words = inspection.text_score
    rows: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        value = float(inspection.score[index])
        row = {
            "image": picture.name,
            "score": _finite(value),
            "text_score": None if words is None else _finite(float(words[index])),
        }
        if thresholds is not None:
            row |= {
                "threshold": thresholds.reject,
                "threshold_state": thresholds.state.value,
                "decision": decide(value, thresholds).value,
            }
        rows.append(row)
    return rows


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
