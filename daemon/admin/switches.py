"""The options of `enroll` that change how a product is matched; what nobody names stays as the preset has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

import core
from core.errors import ImageError
from core.image import read_header
from core.presets import TokenPath
from daemon.admin.session import Refused

Rotations = Annotated[
    int | None, typer.Option("--rotations", metavar="R", min=1, help="Turned copies of each reference; 8: by 45°.")
]
Budget = Annotated[
    int | None, typer.Option("--budget", metavar="M", min=0, help="Most tokens a stage keeps; 0: all.")
]
Neighbourhood = Annotated[
    int | None, typer.Option("--neighbourhood", metavar="K", min=1, help="Average KxK tokens, K odd; 1: none.")
]
Smoothing = Annotated[
    float | None, typer.Option("--smoothing", metavar="PX", min=0, help="Gaussian over the map, sigma; 0: none.")
]
Tokens = Annotated[
    TokenPath | None, typer.Option("--tokens", help="Whose tokens are matched; vv: method sdp or sdp+ only.")
]
TextWeight = Annotated[
    float | None, typer.Option("--text-weight", metavar="W", min=0, help="Of the words beside the references.")
]
Roi = Annotated[
    Path | None,
    typer.Option("--roi", metavar="MASK.png", help="Inspect where it is not black; sized as the pictures."),
]


def match_options(
    own: core.MatchOptions,
    *,
    rotations: int | None,
    budget: int | None,
    neighbourhood: int | None,
    smoothing: float | None,
    tokens: TokenPath | None,
) -> core.MatchOptions:
    """The preset's own options with those that were named. Raises core.EnrolmentError, as MatchOptions does."""
    named = {
        "rotations": rotations,
        "neighbourhood": neighbourhood,
        "smoothing_px": smoothing,
        "tokens": tokens,
    }
    chosen = replace(own, **{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
    return chosen if budget is None else replace(chosen, budget=budget or None)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """A PNG as (H, W), true where any channel is not 0. Raises Refused, naming the file.

    No JPEG: its ringing makes nothing quite black.
    """
    try:
        data = path.read_bytes()
        header = read_header(data)
        if header.format != "png":
            raise ImageError(f"expected a PNG, got a {header.format.upper()}")
        picture = core.decode_image(data)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except ImageError as error:
        raise Refused(f"{path}: {error}") from error
    return np.asarray(picture.any(axis=2))
