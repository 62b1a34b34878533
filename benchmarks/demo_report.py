"""The demo's report: one HTML file with the pictures, heatmaps and scores a person would look at."""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from benchmarks.demo import Answered

SHOWN = 8
BINS = 48
PLOT = (920, 220)
"""Width and height of the histogram in pixels."""
COLOURS = {"nominal": "#0072b2", "local": "#d55e00", "global": "#cc79a7"}
"""Okabe and Ito's palette, told apart by colour-blind eyes."""


def write_report(
    path: Path,
    *,
    answered: Sequence[Answered],
    state: Path,
    enrolment: dict[str, Any],
    references: Sequence[str],
    summary: dict[str, Any],
) -> None:
    """Render the template with everything inlined."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    html = environment.get_template("demo_report.html.j2").render(
        summary=summary,
        enrolment=enrolment,
        counts=_counts(answered),
        histogram=_histogram(answered, enrolment["reject_above"]),
        colours=COLOURS,
        references=[_data_uri(Path(reference)) for reference in references],
        galleries=_galleries(answered, state),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.machine()}, {platform.system()} {platform.release()}",
    )
    path.write_text(html, encoding="utf-8")


def _counts(answered: Sequence[Answered]) -> list[dict[str, Any]]:
    decisions = ("accept", "review", "reject", "uninspected")
    return [
        {
            "kind": kind,
            **{
                decision: sum(
                    frame.picture.kind == kind and frame.verdict["decision"] == decision for frame in answered
                )
                for decision in decisions
            },
        }
        for kind in COLOURS
    ]


def _galleries(answered: Sequence[Answered], state: Path) -> list[dict[str, Any]]:
    """The pictures worth a look: worst first, and above all the mistakes."""
    by_score = sorted(
        (frame for frame in answered if frame.verdict["score"] is not None),
        key=lambda frame: frame.verdict["score"],
        reverse=True,
    )

    def some(title: str, note: str, frames: list[Answered]) -> dict[str, Any]:
        shown = [_figure(frame, state) for frame in frames[:SHOWN]]
        return {"title": title, "note": note, "count": len(frames), "frames": shown}

    rejected = [frame for frame in by_score if frame.verdict["decision"] == "reject"]
    passed = [frame for frame in by_score if frame.verdict["decision"] == "accept"]
    return [
        some("Rejected: local defects", "worst first", [f for f in rejected if f.picture.kind == "local"]),
        some("Rejected: global defects", "worst first", [f for f in rejected if f.picture.kind == "global"]),
        some(
            "False rejects", "good pictures above the threshold", [f for f in rejected if not f.picture.defective]
        ),
        some("Missed defects", "nearest the threshold first", [f for f in passed if f.picture.defective]),
        some(
            "Accepted good pictures",
            "a good part stays cold",
            [f for f in passed[::-1] if not f.picture.defective],
        ),
    ]


def _figure(frame: Answered, state: Path) -> dict[str, Any]:
    heatmap = frame.verdict["heatmap"]
    return {
        "picture": _data_uri(frame.picture.path),
        "heatmap": None if heatmap is None else _data_uri(state / heatmap),
        "score": frame.verdict["score"],
        "part": frame.verdict["part"],
        "kind": frame.picture.kind,
    }


def _data_uri(path: Path) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _histogram(answered: Sequence[Answered], threshold: float) -> dict[str, Any]:
    """Stacked bars in plot coordinates; scores beyond the 98th percentile share the last bin."""
    scores = {
        kind: np.array(
            [f.verdict["score"] for f in answered if f.picture.kind == kind and f.verdict["score"] is not None]
        )
        for kind in COLOURS
    }
    everything = np.concatenate(list(scores.values()))
    low, high = float(everything.min()), float(max(np.percentile(everything, 98), threshold * 1.2))
    edges = np.linspace(low, high, BINS + 1)
    width, height = PLOT
    counts = {kind: np.histogram(values.clip(low, high), edges)[0] for kind, values in scores.items()}
    tallest = max(1, int(sum(counts.values()).max()))  # type: ignore[union-attr]
    bars, base = [], np.zeros(BINS)
    for kind, stack in counts.items():
        for index, count in enumerate(stack):
            if count:
                top = height * (1 - (base[index] + count) / tallest)
                bars.append(
                    {
                        "x": index * width / BINS,
                        "y": top,
                        "w": width / BINS - 1,
                        "h": height * count / tallest,
                        "kind": kind,
                    }
                )
        base = base + stack
    return {
        "bars": bars,
        "width": width,
        "height": height,
        "threshold": (threshold - low) / (high - low) * width,
        "low": low,
        "high": high,
    }
