"""`score`: files against reference pictures, without daemon or database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

import core
from core.decide import decide
from core.presets import resolve_spec
from daemon.admin import options
from daemon.admin.output import progress, show
from daemon.admin.samples import read_samples
from daemon.admin.session import Session, build_scorer
from daemon.settings import ModelSettings

BATCH = 8
COLUMNS = {"file": "file", "score": "score", "threshold": "threshold", "decision": "decision"}


def score(
    context: typer.Context,
    images: options.Images = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PRESET|CONFIG.json", help="Default: the settings' model.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Its state dict.")] = None,
    adapter: Annotated[Path | None, typer.Option("--adapter", metavar="FILE", help="Not in this version.")] = None,
    method: Annotated[str | None, typer.Option("--method", help='"bank" in this version.')] = None,
    activation: Annotated[str | None, typer.Option("--activation", help="gelu or quickgelu.")] = None,
    image_size: Annotated[int | None, typer.Option("--image-size", metavar="S", min=16, max=4096)] = None,
    stages: Annotated[
        str | None, typer.Option("--stages", metavar="6,12,18,24", help="1-based, ascending.")
    ] = None,
    object_name: Annotated[
        str | None, typer.Option("--object", metavar="NAME", help="Not in this version.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option("--reference", metavar="IMG", help="A good part; once or more.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help='"streaming" in this version.')] = "streaming",
    save_maps: Annotated[
        Path | None, typer.Option("--save-maps", metavar="OUT.npz", help="Maps and scores, float32.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Score pictures against reference pictures of good parts; larger is more anomalous.

    The threshold shown is provisional, from the references alone.
    """
    session: Session = context.obj
    _refuse_what_is_not_built(adapter=adapter, method=method, object_name=object_name, mode=mode)
    if not images:
        raise typer.BadParameter("name the pictures to score", param_hint="IMAGE")
    if not reference:
        raise options.not_in_this_version("--reference", "scoring without reference pictures")
    if save_maps and not save_maps.parent.is_dir():
        raise typer.BadParameter(f"{save_maps.parent} is no folder", param_hint="--save-maps")
    numbers = None if stages is None else options.whole_numbers(stages)
    chosen = _model(session, model, weights, activation, numbers, image_size)
    _refuse_other_methods(chosen, method)
    references, pictures = read_samples(reference), read_samples(images)
    scorer = build_scorer(chosen.model_copy(update={"method": "bank"}))
    with progress() as advance:
        enrolment = core.enrol(scorer, references, product="references", progress=advance)
        results, stage_maps = _score_all(
            scorer, scorer.prepare(enrolment.bank), pictures, keep_stages=save_maps is not None, advance=advance
        )
    if save_maps:
        _save(save_maps, results, np.concatenate(stage_maps, axis=1))
    rows = [_row(picture, result, enrolment.thresholds) for picture, result in zip(pictures, results, strict=True)]
    show(rows, columns=COLUMNS, as_json=as_json, empty="")


def _score_all(
    scorer: core.Scorer,
    bank: core.PreparedBank,
    pictures: Sequence[core.Sample],
    *,
    keep_stages: bool,
    advance: Callable[[str, int, int], None],
) -> tuple[list[core.AnomalyResult], list[npt.NDArray[np.float32]]]:
    """Results in order, and a (stages, n, S, S) array a batch where these are wanted."""
    results: list[core.AnomalyResult] = []
    stage_maps: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(pictures), BATCH):
        batch = [picture.image for picture in pictures[start : start + BATCH]]
        features = scorer.encode(batch)
        results += scorer.match(features, [bank] * len(batch))
        if keep_stages:
            stage_maps.append(_stage_maps(scorer, features, bank))
        advance("scoring", len(results), len(pictures))
    return results, stage_maps


def _refuse_what_is_not_built(
    *, adapter: Path | None, method: str | None, object_name: str | None, mode: str
) -> None:
    if adapter is not None:
        raise options.not_in_this_version("--adapter", "the linear layers' branch")
    if object_name is not None:
        raise options.not_in_this_version("--object", "the text branch")
    if method not in (None, "bank"):
        raise options.not_in_this_version("--method", f"any method but bank (got {method!r})")
    if mode != "streaming":
        raise options.not_in_this_version("--mode", f"any mode but streaming (got {mode!r})")


def _refuse_other_methods(model: ModelSettings, method: str | None) -> None:
    spec = resolve_spec(model.preset, activation=model.activation, stages=model.stages)
    if (method or model.method or spec.method) != "bank":
        raise options.not_in_this_version(
            "--method", f"the method of {model.preset} ({model.method or spec.method}; take --method bank)"
        )


def _model(
    session: Session,
    preset: str | None,
    weights: Path | None,
    activation: str | None,
    stages: tuple[int, ...] | None,
    image_size: int | None,
) -> ModelSettings:
    """The settings' model, or another one of which nothing but device and precision is the settings'."""
    configured = session.settings.model
    base = configured.model_dump()
    if preset is not None:
        base = {"preset": preset, "device": configured.device, "precision": configured.precision}
    asked = {"weights": weights, "activation": activation, "stages": stages, "image_size": image_size}
    try:
        return ModelSettings(**{**base, **{name: value for name, value in asked.items() if value is not None}})
    except ValueError as error:
        raise typer.BadParameter(
            f"expected gelu or quickgelu, got {activation!r}", param_hint="--activation"
        ) from error


def _stage_maps(
    scorer: core.Scorer, features: core.Features, prepared: core.PreparedBank
) -> npt.NDArray[np.float32]:
    """(stages, N, S, S): each stage's distances at the size of the map."""
    from core.anomaly_map import upsample  # imports torch, which every other command does without
    from core.bank import to_numpy

    grids = scorer.distances(features, range(len(features)), prepared.memory).grids
    return np.stack([to_numpy(upsample(grid, scorer.encoder.image_size)) for grid in grids])


def _save(path: Path, results: list[core.AnomalyResult], few_shot: npt.NDArray[np.float32]) -> None:
    maps = np.stack([result.map for result in results if result.map is not None])
    scores = np.array([result.score for result in results], dtype=np.float32)
    with path.open("wb") as file:  # np.savez would append .npz to another name
        np.savez(file, map=maps, score=scores, few_shot_stages=few_shot)


def _row(picture: core.Sample, result: core.AnomalyResult, thresholds: core.Thresholds) -> dict[str, Any]:
    return {
        "file": picture.name,
        "score": result.score if math.isfinite(result.score) else None,
        "text_score": result.text_score,
        "threshold": thresholds.reject,
        "threshold_state": thresholds.state.value,
        "decision": decide(result.score, thresholds).value,
    }
