"""The contact sheet as one PNG, for wherever a page cannot be opened. The same numbers in fewer words."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from core.image import Image
from daemon.admin.contact_sheet import ContactSheet, Tile

COLUMNS = 4
SIDE = 200
"""Pixels of each of a tile's two pictures."""
GAP, EDGE, HEAD, LINE = 16, 28, 96, 20
WRAPPED = 62
"""Letters of a warning in a tile's width."""
PAGE, BOX, TEXT, MUTED, WARN, PAPER = "#ffffff", "#f2f2ef", "#1a1a1a", "#5c5c5c", "#b26b00", "#fff4de"
SEAM = 4
TILE = 2 * SIDE + SEAM


def png_bytes(sheet: ContactSheet) -> bytes:
    """The whole sheet as a PNG file."""
    columns = min(COLUMNS, len(sheet.tiles))
    rows = [sheet.tiles[start : start + columns] for start in range(0, len(sheet.tiles), columns)]
    heights = [_height(row) for row in rows]
    notes = [line for warning in sheet.warnings for line in textwrap.wrap(warning, WRAPPED * columns)]
    width = max(2, columns) * (TILE + GAP) - GAP + 2 * EDGE
    top = EDGE + HEAD + LINE * len(notes)
    canvas = Pillow.new("RGB", (width, top + sum(heights) + GAP * len(rows) + EDGE), PAGE)
    draw = ImageDraw.Draw(canvas)
    _head(draw, sheet, notes)
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            _draw_tile(canvas, draw, tile, (EDGE + place * (TILE + GAP), top), height)
        top += height + GAP
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _head(draw: ImageDraw.ImageDraw, sheet: ContactSheet, notes: Sequence[str]) -> None:
    promise = sheet.promise
    draw.text((EDGE, EDGE - 8), f"Line {sheet.line}: {sheet.product}", TEXT, _font(28))
    told = f"{promise.state.value}: rejects above {promise.reject:.2f}, {promise.in_words()}"
    draw.text((EDGE, EDGE + 30), told, TEXT, _font(15))
    made = (
        f"{sheet.made_at:%Y-%m-%d %H:%M UTC} · {len(sheet.tiles)} samples, {sheet.flagged} with a warning · each "
        "beside itself, warm where it differs from the others"
    )
    draw.text((EDGE, EDGE + 52), made, MUTED, _font(15))
    for index, line in enumerate(notes):
        draw.text((EDGE, EDGE + 78 + LINE * index), line, WARN, _font(15))


def _draw_tile(
    canvas: Pillow.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], height: int
) -> None:
    left, top = corner
    box = (left, top, left + TILE, top + height)
    draw.rounded_rectangle(box, 8, BOX)
    for place, image in enumerate((tile.picture, tile.heat)):
        if image is not None:
            canvas.paste(_fitted(image), (left + place * (SIDE + SEAM), top))
    if tile.warnings:
        draw.rounded_rectangle(box, 8, None, WARN, 4)
    draw.rounded_rectangle((left + 8, top + 8, left + 44, top + 36), 14, "#ffffff", "#111111", 2)
    draw.text((left + 26, top + 22), str(tile.number), "#111111", _font(17), anchor="mm")
    name = tile.name if len(tile.name) <= 40 else f"{tile.name[:18]}…{tile.name[-20:]}"
    draw.text((left + 10, top + SIDE + 6), name, TEXT, _font(15))
    score = "-" if tile.score is None else f"{tile.score:.2f}"
    told = f"score {score} · sharpness {tile.traits.sharpness:.2f} · light {tile.traits.brightness:.0f}"
    draw.text((left + 10, top + SIDE + 26), told, MUTED, _font(14))
    for index, line in enumerate(_wrapped(tile)):
        at = top + SIDE + 50 + LINE * index
        draw.rectangle((left + 8, at, left + TILE - 8, at + LINE), PAPER)
        draw.text((left + 12, at + 1), line, WARN, _font(14))


def _fitted(image: Image) -> Pillow.Image:
    """In the middle of a grey square."""
    square = Pillow.new("RGB", (SIDE, SIDE), "#808080")
    picture = Pillow.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return square


def _height(row: Sequence[Tile]) -> int:
    return SIDE + 56 + LINE * max(len(_wrapped(tile)) for tile in row)


def _wrapped(tile: Tile) -> list[str]:
    return [line for warning in tile.warnings for line in textwrap.wrap(warning, WRAPPED)]


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
