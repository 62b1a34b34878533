"""CLIP-AD's text features: its own sentences, one representative vector a class. Needed at enrolment only."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from core.clip_ad_prompts import sentences
from core.representative_vector import Selection, representative_vector
from core.text import Embed


def clip_ad_text_features(embed: Embed, object_name: str, *, selection: Selection = "rvs") -> torch.Tensor:
    """F_t of CLIP-AD: (2, E) float32 unit rows, normal first.

    selection: "rvs" is the paper's, "mean" that of all sentences. Raises EncoderError for an empty object name.
    """
    rows = [
        representative_vector(F.normalize(embed(texts), dim=-1), selection) for texts in sentences(object_name)
    ]
    return torch.stack(rows)
