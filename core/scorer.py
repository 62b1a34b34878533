"""Pictures and banks in, anomaly results out: the one place where a score is made.

`encode` runs the tower once over the whole batch, whatever products are in it; `match` then goes product by
product. The daemon times the two apart; everyone else calls `score`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.anomaly_map import sum_of_stages
from core.bank import Memory, PreparedBank, ReferenceBank, check_belongs, descriptors, stage_tokens, to_numpy
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


def never(index: int, score: float) -> bool:
    """Want no map."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distances:
    """How far n pictures lie from a bank.

    grids: per stage (n, h, w) bounded distances in [0, 1]. statistics: per 1-based stage (n, 4) of
    core.score_rule.stage_statistics.
    """

    grids: tuple[torch.Tensor, ...]
    statistics: dict[int, torch.Tensor]

    def select(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """(n, K) of the named statistics."""
        return select(names, self.statistics)


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
            memory=bank.memory(place),
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
        results: dict[int, AnomalyResult] = {}
        for prepared in {id(bank): bank for bank in banks}.values():
            rows = [index for index, bank in enumerate(banks) if bank is prepared]
            results |= dict(zip(rows, self._match_one(features, rows, prepared, want_map), strict=True))
        return [results[index] for index in range(len(banks))]

    def score(
        self, images: Sequence[Image], banks: Sequence[PreparedBank], *, want_map: WantMap = always
    ) -> list[AnomalyResult]:
        """`match(encode(images), banks)`."""
        return self.match(self.encode(images), banks, want_map=want_map)

    @torch.inference_mode()
    def distances(self, features: Features, rows: Sequence[int], memory: Memory) -> Distances:
        """How far the chosen pictures lie from one bank's memory."""
        grids, statistics = [], {}
        for index, (number, grid) in enumerate(zip(self.encoder.stages, features.grids, strict=True)):
            tokens = stage_tokens(features.stages[index][list(rows)], grid, memory.neighbourhood)
            places = nearest_distance(tokens.flatten(0, 1), memory.tokens[index]).reshape(-1, *grid)
            pooled = nearest_distance(descriptors(tokens), memory.descriptors[index])
            grids.append(places)
            statistics[number] = stage_statistics(places, pooled)
        return Distances(grids=tuple(grids), statistics=statistics)

    def _match_one(
        self, features: Features, rows: Sequence[int], prepared: PreparedBank, want_map: WantMap
    ) -> list[AnomalyResult]:
        distances = self.distances(features, rows, prepared.memory)
        rule = prepared.bank.header.rule
        scores = rule.score(distances.select(rule.statistics))
        wanted = [place for place, row in enumerate(rows) if want_map(row, float(scores[place]))]
        maps: dict[int, npt.NDArray[np.float32]] = {}
        if wanted:
            summed = sum_of_stages([grid[wanted] for grid in distances.grids], self.encoder.image_size)
            maps = dict(zip(wanted, to_numpy(summed), strict=True))
        return [
            AnomalyResult(score=float(score), text_score=None, map=maps.get(place))
            for place, score in enumerate(scores)
        ]
