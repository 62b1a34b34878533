"""One synthetic picture: a surface, a defect or none, a camera, and the mask of what the defect changed.

Three streams of random numbers are split from the caller's, one each for surface, defect and camera: the same seed
with and without a defect gives the same piece under the same camera. Same seed, same libraries and same kind of
processor give the same bytes; elsewhere floating point may round a pixel the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from core.synthetic import distortions, marks, noise, objects, textures, woven
from core.synthetic.camera import Camera
from core.synthetic.noise import Picture, Region

DrawTexture: TypeAlias = Callable[[np.random.Generator, np.random.Generator, int], Picture]
DrawObject: TypeAlias = Callable[[np.random.Generator, np.random.Generator, int], tuple[Picture, Region]]
DrawDefect: TypeAlias = Callable[[np.random.Generator, Picture, Region, float], Picture]

_SEEN = 5 / 255
"""Least change of any channel, before noise and JPEG, that counts as defective."""
_LEAST_SHARE = 1e-4
"""Least share of a picture's pixels that a defect changes."""
_TRIES = 8
CLEAR = (0.35, 1.0)
"""Strengths of defects that a person sees at a glance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A family of products. names: what people call it. draw: (look, rng, size) -> (picture, region)."""

    kind: Literal["texture", "object"]
    names: tuple[str, ...]
    draw: DrawObject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticPicture:
    """image: (S, S, 3) uint8 RGB. mask: (S, S) bool. surface, defect: families, "good" for none.

    object_name: a word for the surface, for captions.
    """

    image: npt.NDArray[np.uint8]
    mask: Region
    surface: str
    defect: str
    object_name: str


def _texture(draw: DrawTexture, *names: str) -> Surface:
    def everywhere(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
        return draw(look, rng, size), np.ones((size, size), bool)

    return Surface(kind="texture", names=names, draw=everywhere)


def _object(draw: DrawObject, *names: str) -> Surface:
    return Surface(kind="object", names=names, draw=draw)


SURFACES: Mapping[str, Surface] = {
    "plain_weave": _texture(woven.plain_weave, "woven fabric", "linen cloth", "plain weave", "canvas"),
    "basket_weave": _texture(woven.basket_weave, "basket weave", "woven fabric", "upholstery cloth"),
    "twill": _texture(woven.twill, "twill", "denim", "woven fabric"),
    "satin": _texture(woven.satin, "satin", "silk cloth", "woven fabric"),
    "herringbone": _texture(woven.herringbone, "herringbone fabric", "tweed", "wool cloth"),
    "gauze": _texture(woven.gauze, "gauze", "net", "open mesh fabric"),
    "knit": _texture(woven.knit, "knitted fabric", "jersey", "knitwear"),
    "pile": _texture(woven.pile, "carpet", "rug", "terry cloth"),
    "felt": _texture(woven.felt, "felt", "nonwoven", "fleece"),
    "leather": _texture(textures.leather, "leather", "artificial leather", "hide"),
    "wood": _texture(textures.wood, "wood", "wooden board", "veneer"),
    "brushed_metal": _texture(textures.brushed_metal, "brushed metal", "steel sheet", "aluminium plate"),
    "cast_metal": _texture(textures.cast_metal, "cast metal", "casting", "cast iron surface"),
    "paper": _texture(textures.paper, "paper", "cardboard", "wall"),
    "concrete": _texture(textures.concrete, "concrete", "plaster", "asphalt"),
    "marble": _texture(textures.marble, "marble", "stone slab", "polished stone"),
    "terrazzo": _texture(textures.terrazzo, "terrazzo", "stone tile", "floor"),
    "granite": _texture(textures.granite, "granite", "worktop", "stone"),
    "foam": _texture(textures.foam, "foam", "sponge", "insulation"),
    "tiles": _texture(textures.tiles, "tile", "tiled wall", "brickwork"),
    "mosaic": _texture(textures.mosaic, "mosaic", "honeycomb", "hexagonal tiles"),
    "perforated": _texture(textures.perforated, "perforated sheet", "punched plate", "speaker grille"),
    "wire_mesh": _texture(textures.wire_mesh, "wire mesh", "grid", "grating"),
    "stripes": _texture(textures.stripes, "striped fabric", "striped paper", "printed film"),
    "checks": _texture(textures.checks, "checked fabric", "gingham", "checkered print"),
    "corrugated": _texture(textures.corrugated, "corrugated sheet", "ribbed plate", "corduroy"),
    "tread_plate": _texture(textures.tread_plate, "tread plate", "diamond plate", "chequer plate"),
    "solar_cell": _texture(textures.solar_cell, "solar cell", "wafer", "photovoltaic panel"),
    "plastic": _texture(textures.plastic, "plastic", "moulded plastic", "painted panel"),
    "speckled_print": _texture(textures.speckled_print, "dotted fabric", "printed sheet", "wallpaper"),
    "washer": _object(objects.washer, "washer", "ring", "gasket"),
    "hex_nut": _object(objects.hex_nut, "nut", "metal nut", "hexagon nut"),
    "screw": _object(objects.screw, "screw", "bolt", "fastener"),
    "capsule": _object(objects.capsule, "capsule", "pill", "medicine capsule"),
    "tablet": _object(objects.tablet, "tablet", "pill", "coin"),
    "bottle_cap": _object(objects.bottle_cap, "bottle cap", "crown cap", "lid"),
    "gear": _object(objects.gear, "gear", "cog wheel", "sprocket"),
    "bearing": _object(objects.bearing, "ball bearing", "bearing", "metal part"),
    "connector": _object(objects.connector, "connector", "plug", "socket"),
    "chip": _object(objects.chip, "chip", "integrated circuit", "electronic component"),
    "circuit_board": _object(objects.circuit_board, "circuit board", "pcb", "electronic board"),
    "button": _object(objects.button, "button", "plastic button", "disc"),
    "cable_end": _object(objects.cable_end, "cable", "wire", "cable end"),
}

DEFECTS: Mapping[str, DrawDefect] = {
    "scratch": marks.scratch,
    "crack": marks.crack,
    "hole": marks.hole,
    "stain": marks.stain,
    "colour_spot": marks.colour_spot,
    "specks": marks.specks,
    "fibre": marks.fibre,
    "missing_part": marks.missing_part,
    "displaced_line": distortions.displaced_line,
    "thick_line": distortions.thick_line,
    "missing_line": distortions.missing_line,
    "warp": distortions.warp,
    "patch": distortions.patch,
    "smear": distortions.smear,
    "wear": distortions.wear,
    "dent": distortions.dent,
    "fold": distortions.fold,
}


def draw_picture(
    rng: np.random.Generator,
    *,
    surface: str,
    defect: str | None,
    size: int,
    product: int | None = None,
    strength: tuple[float, float] = CLEAR,
) -> SyntheticPicture:
    """Draw one piece, good (`defect` None, mask all False) or with a defect of that family.

    size: pixels a side, 64 or more. product: seed of the look (colours, scale, direction, light), so that many
    pieces of one product can be drawn; None: a product of its own, drawn from `rng`. strength: range from which
    the defect's is drawn, log-uniform; 0.05 is hardly to be seen, 1 is as clear as it gets.

    Raises KeyError for a surface or defect that SURFACES or DEFECTS does not have, ValueError for a smaller size.
    """
    if size < 64:
        raise ValueError(f"expected a size of 64 pixels or more, got {size}")
    family = SURFACES[surface]
    for_look, for_piece, for_defect, for_camera = rng.spawn(4)
    look = for_look if product is None else np.random.default_rng([product, list(SURFACES).index(surface)])
    object_name = str(for_piece.choice(family.names))
    drawn, region = family.draw(look, for_piece, size)
    good = np.clip(drawn, 0, 1).astype(np.float32)
    camera = Camera.set_up(look, for_camera, size)
    seen, mask = camera.through_lens(good), np.zeros((size, size), bool)
    if defect is not None:
        seen, mask = _spoil(for_defect, DEFECTS[defect], good, region, camera, strength)
    return SyntheticPicture(
        image=camera.record(for_camera, seen),
        mask=mask,
        surface=surface,
        defect=defect or "good",
        object_name=object_name,
    )


def _spoil(
    rng: np.random.Generator,
    draw_defect: DrawDefect,
    good: Picture,
    region: Region,
    camera: Camera,
    between: tuple[float, float],
) -> tuple[Picture, Region]:
    """(What the lens sees of the piece with a defect, the mask); drawn anew and stronger until it can be seen."""
    before = camera.through_lens(good)
    strength = float(np.exp(rng.uniform(np.log(between[0]), np.log(between[1]))))
    for _ in range(_TRIES):
        spoilt = np.where(region[..., None], draw_defect(rng, good, region, strength), good)
        seen = camera.through_lens(spoilt)
        mask = changed(before, seen)
        if mask.mean() >= _LEAST_SHARE:
            break
        strength = min(1.5 * strength, 1.0)
    return seen, mask


def changed(before: Picture, after: Picture) -> Region:
    """Where two pictures differ by 5 of 255 levels or more in some channel, gaps of a few pixels closed."""
    differs = (np.abs(after - before).max(axis=2) >= _SEEN).astype(np.uint8)
    side = 2 * round(2 * noise.unit(len(before))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(differs, cv2.MORPH_CLOSE, kernel) > 0)
