"""Methods on data sets with masks, by the papers' metrics: rows, means, tables, picture grids.

    options = EvaluationOptions(methods=("april-gan",), shots=(0, 4))
    panel = load_panel("april-gan", options, adapter=Path("trained-on-visa.safetensors"))
    evaluation = evaluate(panel, open_dataset("mvtec", root), work=Path("var/evaluate"))

Two image scores stand side by side: `transductive`, which rescales over the class's whole test set as the
reference code does, and `streaming`, which the daemon has.

Names are loaded when they are first used, as those of `core` are: options know no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.evaluation.options import METHODS, EvaluationOptions, ObjectNames, ScoreMode, Trial
    from core.evaluation.panel import Panel, load_panel
    from core.evaluation.report import as_json, as_markdown
    from core.evaluation.rows import METRICS, MeanRow, Row
    from core.evaluation.run import Evaluation, evaluate

_HOMES = {
    "METHODS": "options",
    "METRICS": "rows",
    "Evaluation": "run",
    "EvaluationOptions": "options",
    "MeanRow": "rows",
    "ObjectNames": "options",
    "Panel": "panel",
    "Row": "rows",
    "ScoreMode": "options",
    "Trial": "options",
    "as_json": "report",
    "as_markdown": "report",
    "evaluate": "run",
    "load_panel": "panel",
}

__all__ = [
    "METHODS",
    "METRICS",
    "Evaluation",
    "EvaluationOptions",
    "MeanRow",
    "ObjectNames",
    "Panel",
    "Row",
    "ScoreMode",
    "Trial",
    "as_json",
    "as_markdown",
    "evaluate",
    "load_panel",
]


def __getattr__(name: str) -> object:
    """Load a public name's module at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'core.evaluation' has no attribute {name!r}")
    return getattr(import_module(f"core.evaluation.{_HOMES[name]}"), name)
