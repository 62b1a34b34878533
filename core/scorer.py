"""Pictures and banks in, anomaly results out: the one place where a score is made.

`encode` runs the tower once over the whole batch, whatever products are in it; `match` then goes product by
product. The daemon times the two apart; everyone else calls `score`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from core.anomaly_map import sum_of_stages
from core.bank import PreparedBank, ReferenceBank, check_belongs, stage_tokens, to_numpy
from core.encoder import Encoder, Features
from core.flow import AnomalyResult
from core.image import Image
from core.neighbours import nearest_distance
from core.score_rule import select, stage_statistics

WantMap = Callable[[int, float], bool]
"""(index in the batch, score) -> whether the pixel map is wanted; maps cost more than scores."""


def always(index: int, score: float) -> bool:
    """Want every map."""
    return True


class Scorer:
    """Scores pictures with one encoder. Holds no state between calls: a score depends on its picture and bank.

    method: None takes the preset's own. In this version only "bank" (reference banks alone) is built;
    the text branch and linear layers (`adapter`) come with the APRIL-GAN issue.
    """

    def __init__(self, encoder: Encoder, *, method: str | None = None, adapter: None = None) -> None:
        self.encoder = encoder
        self.method = method or encoder.spec.method
        self.adapter_sha256: str | None = None

    def prepare(self, bank: ReferenceBank) -> PreparedBank:
        """Check a bank against this scorer and move it to the device.

        Raises MismatchError, naming both sides, for a bank of another encoder, activation, stage set, image
        size, method or adapter.
        """
        check_belongs(bank.header, self.encoder, method=self.method, adapter_sha256=self.adapter_sha256)
        place = self.encoder.torch_device
        return PreparedBank(
            bank=bank,
            tokens=tuple(stage.float().to(place) for stage in bank.tokens),
            text_features=None if bank.text_features is None else bank.text_features.to(place),
        )

    def encode(self, images: Sequence[Image]) -> Features:
        """One forward pass over N arrays (H, W, 3) uint8 RGB; sizes may differ."""
        return self.encoder.encode(images)

    @torch.inference_mode()
    def match(
        self, features: Features, banks: Sequence[PreparedBank], *, want_map: WantMap = always
    ) -> list[AnomalyResult]:
        """Score N encoded pictures, each against its own bank. Results stand in the order of the pictures."""
        if len(banks) != len(features):
            raise ValueError(f"expected one bank a picture, got {len(banks)} banks for {len(features)} pictures")
        results: list[AnomalyResult | None] = [None] * len(banks)
        for prepared in {id(bank): bank for bank in banks}.values():
            indices = [index for index, bank in enumerate(banks) if bank is prepared]
            for index, result in zip(indices, self._match_one(features, indices, prepared, want_map), strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def score(
        self, images: Sequence[Image], banks: Sequence[PreparedBank], *, want_map: WantMap = always
    ) -> list[AnomalyResult]:
        """`match(encode(images), banks)`."""
        return self.match(self.encode(images), banks, want_map=want_map)

    def distances(self, features: Features, indices: Sequence[int], prepared: PreparedBank) -> list[torch.Tensor]:
        """Per stage (n, h, w) bounded distances of the chosen pictures to one bank."""
        neighbourhood = prepared.bank.header.match.neighbourhood
        rows = list(indices)
        grids = []
        for stage, grid, bank in zip(features.stages, features.grids, prepared.tokens, strict=True):
            tokens = stage_tokens(stage[rows], grid, neighbourhood)
            distance = nearest_distance(tokens.reshape(-1, tokens.shape[2]), bank)
            grids.append(distance.reshape(len(rows), *grid))
        return grids

    def _match_one(
        self, features: Features, indices: Sequence[int], prepared: PreparedBank, want_map: WantMap
    ) -> list[AnomalyResult]:
        grids = self.distances(features, indices, prepared)
        rule = prepared.bank.header.rule
        by_stage = {stage: stage_statistics(grid) for stage, grid in zip(self.encoder.stages, grids, strict=True)}
        scores = rule.score(select(rule.statistics, by_stage))
        wanted = [row for row, index in enumerate(indices) if want_map(index, float(scores[row]))]
        maps = {}
        if wanted:
            summed = sum_of_stages([grid[wanted] for grid in grids], self.encoder.image_size)
            maps = dict(zip(wanted, to_numpy(summed), strict=True))
        return [
            AnomalyResult(score=float(score), text_score=None, map=maps.get(row))
            for row, score in enumerate(scores)
        ]
