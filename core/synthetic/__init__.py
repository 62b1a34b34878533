"""Procedural pictures of industrial surfaces and parts, good and defective, with exact masks.

    piece = draw_picture(np.random.default_rng(7), surface="twill", defect="scratch", size=384)

Surfaces (core.synthetic.woven, .textures, .objects) are drawn from noise, defects (.marks, .distortions) are drawn
into them, a camera (.camera) takes the picture; `write_mvtec` writes a data set of them.
"""

from __future__ import annotations

from core.synthetic.mvtec_writer import write_mvtec
from core.synthetic.picture import DEFECTS, SURFACES, Surface, SyntheticPicture, draw_picture

__all__ = ["DEFECTS", "SURFACES", "Surface", "SyntheticPicture", "draw_picture", "write_mvtec"]
