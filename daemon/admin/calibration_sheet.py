"""The contact sheet of a calibration: one self-contained HTML file, a numbered picture a part."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from core.errors import ImageError
from core.image import decode_image
from daemon.admin.contact_page import inlined
from daemon.admin.contact_sheet import thumbnail
from daemon.calibration_draw import Candidate
from daemon.durable import write_durably

SIDE = 192
"""Longest side of a picture on the sheet, in pixels."""
STYLE = """
body { font: 14px sans-serif; margin: 24px; color: #222 }
div { display: flex; flex-wrap: wrap; gap: 12px }
figure { margin: 0; width: 192px } img { width: 192px } figcaption { overflow-wrap: anywhere; font-size: 11px }
b { font-size: 18px }
.accepted figure { border-top: 4px solid #0072b2 }
.stopped figure { border-top: 4px solid #d55e00 }
"""


def write_sheet(
    path: Path, state: Path, *, accepted: Sequence[Candidate], stopped: Sequence[Candidate], line: int
) -> None:
    """Write the sheet; numbers go from 1 through both groups. Raises OSError."""
    body = _group("accepted", "Accepted: drop what is not good", accepted, 1, state)
    body += _group("stopped", "Stopped (review, reject): say which are good", stopped, len(accepted) + 1, state)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration of line {line}</title>'
        f"<style>{STYLE}</style><h1>Calibration of line {line}</h1>{body}</html>"
    )
    write_durably(path, page.encode())


def _group(name: str, title: str, parts: Sequence[Candidate], first: int, state: Path) -> str:
    if not parts:
        return ""
    figures = "".join(_figure(number, part, state) for number, part in enumerate(parts, first))
    return f'<h2>{title} ({len(parts)})</h2><div class="{name}">{figures}</div>'


def _figure(number: int, part: Candidate, state: Path) -> str:
    score = "no score" if part.score is None else f"score {part.score:.2f}"
    at = part.decided_at.isoformat(sep=" ", timespec="seconds")
    caption = f"<b>{number}</b> {part.decision} {score}<br>{at}<br>{html.escape(part.key)}"
    return f"<figure>{_picture(part, state)}<figcaption>{caption}</figcaption></figure>"


def _picture(part: Candidate, state: Path) -> str:
    try:
        if part.frame_path is None:
            return "<p>its picture was not kept</p>"
        image = decode_image((state / part.frame_path).read_bytes())
    except (OSError, ImageError) as error:
        return f"<p>its picture cannot be shown: {html.escape(str(error))}</p>"
    return f'<img alt="" src="{inlined(thumbnail(image, SIDE))}">'
