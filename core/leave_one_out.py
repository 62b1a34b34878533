"""References as tokens, and each of them against the others.

Leave-one-out rebuilds the thinned bank without the reference. Deleting its tokens from the finished bank
instead leaves holes exactly where they are needed and lifts every score (by 1 to 2.3 spreads at 1024 and 512
tokens, docs/notes/0003-streaming-score.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.bank import BankHeader, ReferenceBank, descriptors, stage_tokens
from core.copies import jittered, turned
from core.coreset import k_centre
from core.features import Features, joined
from core.image import Image
from core.presets import MatchOptions
from core.region import Roi, kept, painted, places_inside
from core.scorer import Evidence, Scorer

BATCHES = {"cpu": 2, "cuda": 8}
"""Pictures encoded in one go. A CPU gains nothing by more, and makes tensors too large to be kept for the next."""
Tell = Callable[[str, int, int], None]


def batch_size(scorer: Scorer) -> int:
    """Pictures to encode in one go here."""
    return BATCHES[scorer.encoder.torch_device.type]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceTokens:
    """All references' tokens before thinning.

    features: of the references as they are, raw. tokens: per stage (R, P, C) unit, R references and their
    turned copies, P places inside the region of interest. sources: (R,) which reference each came from.
    """

    features: Features
    tokens: tuple[torch.Tensor, ...]
    sources: torch.Tensor
    match: MatchOptions
    roi: Roi | None = None

    @classmethod
    def encode(
        cls, scorer: Scorer, images: Sequence[Image], match: MatchOptions, tell: Tell, *, roi: Roi | None = None
    ) -> ReferenceTokens:
        """Encode n references and `match.rotations - 1` turned copies of each.

        images: painted outside the region of interest, so that turning brings nothing from there into it.
        """
        upright = encode_all(scorer, images, tell, roi=roi)
        turns = [turn / match.rotations for turn in range(1, match.rotations)]
        copies = [encode_all(scorer, [turned(image, turn) for image in images], tell, roi=roi) for turn in turns]
        parts = [scorer.encoder.matched_tokens(part, match) for part in (upright, *copies)]
        return cls(
            features=upright,
            tokens=tuple(
                kept(
                    torch.cat([stage_tokens(part.stages[index], grid, match.neighbourhood) for part in parts]),
                    places_inside(roi, grid, scorer.encoder.torch_device),
                )
                for index, grid in enumerate(parts[0].grids)
            ),
            sources=torch.arange(len(images)).repeat(len(parts)),
            match=match,
            roi=roi,
        )

    def bank(self, header: BankHeader, *, without: int | None = None) -> ReferenceBank:
        """The thinned bank of all references, or of all but one, as a file would hold it."""
        keep = torch.nonzero(self.sources != (-1 if without is None else without))[:, 0]
        return ReferenceBank(
            header=header,
            tokens=tuple(self._thin(stage[keep]) for stage in self.tokens),
            descriptors=tuple(descriptors(stage[keep]).float().cpu() for stage in self.tokens),
            roi=self.roi,
        )

    def _thin(self, stage: torch.Tensor) -> torch.Tensor:
        flat = stage.flatten(0, 1).half().cpu()
        return flat[k_centre(flat, self.match.budget)]


def leave_one_out(
    scorer: Scorer,
    images: Sequence[Image],
    tokens: ReferenceTokens,
    header: BankHeader,
    text: torch.Tensor | None,
    tell: Tell,
) -> list[Evidence]:
    """Each reference against a bank without all its own tokens; jittered copies of the only one against it."""
    place = scorer.encoder.torch_device
    if len(images) == 1:
        copies = encode_all(scorer, list(jittered(images[0])), tell, roi=tokens.roi)
        return [scorer.evidence(copies, tokens.bank(header).memory(place), text)]
    left_out = []
    for index in range(len(images)):
        memory = tokens.bank(header, without=index).memory(place)
        left_out.append(scorer.evidence(tokens.features.rows([index]), memory, text))
        tell("scoring each reference against the others", index + 1, len(images))
    return left_out


def encode_all(scorer: Scorer, images: Sequence[Image], tell: Tell, *, roi: Roi | None = None) -> Features:
    """Features of any number of pictures, a few at a time, painted outside the region of interest."""
    parts = []
    batch = batch_size(scorer)
    for start in range(0, len(images), batch):
        parts.append(scorer.encode([painted(image, roi) for image in images[start : start + batch]]))
        tell("encoding", min(start + batch, len(images)), len(images))
    return joined(parts)
