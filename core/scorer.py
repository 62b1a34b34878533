"""Pictures and banks in, anomaly results out: the one place where a score is made.

`encode` runs the tower once over the whole batch, whatever products are in it; `match` searches all their banks in
one call and judges product by product. The daemon times the two apart; everyone else calls `score`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.adapter import Adapter, load_adapter
from core.anomaly_map import sum_of_stages
from core.bank import (
    BankHeader,
    Memory,
    PreparedBank,
    ReferenceBank,
    check_belongs,
    descriptors,
    stage_tokens,
    to_numpy,
)
from core.encoder import Encoder, Precision, load_encoder
from core.errors import MismatchError
from core.features import Features
from core.flow import AnomalyResult
from core.graphs import BUCKETS
from core.image import Image
from core.methods.choose import zero_shot_branch
from core.neighbours import nearest_distances
from core.packaged import packaged_layers
from core.presets import Activation, MatchOptions, words_of
from core.region import Roi, blanked, kept, painted, places_inside, smoothed
from core.score_rule import bank_statistics, top_mean
from core.zero_shot import text_logit, text_score

log = logging.getLogger(__name__)

WantMap = Callable[[int, float], bool]
"""(index in the batch, score) -> whether the pixel map is wanted; maps cost more than scores."""


def always(index: int, score: float) -> bool:
    """Want every map."""
    return True


def never(index: int, score: float) -> bool:
    """Want no map."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What speaks for a defect in n pictures.

    distances: per stage (n, h, w) bounded distances to the bank, in [0, 1]. statistics: name to (n,), see
    core.score_rule. text_score: (n,) in [0, 1], None without text features. roi: outside it there is no
    evidence, None for no such region.
    """

    features: Features
    distances: tuple[torch.Tensor, ...]
    statistics: dict[str, torch.Tensor]
    text_score: torch.Tensor | None
    roi: Roi | None = None


class Scorer:
    """Scores pictures with one encoder. Holds no state between calls: a score depends on its picture and bank.

    method: "bank" matches reference banks alone; "april-gan", "sdp" and "sdp+" add their text branch to
    the bank's. None takes the preset's own. adapter: linear layers, for april-gan and sdp+; None takes those
    that come with the preset ("lite").

    Raises EncoderError for a method that this encoder or the lack of an adapter rules out, MismatchError for
    an adapter of another encoder.
    """

    def __init__(self, encoder: Encoder, *, method: str | None = None, adapter: Adapter | None = None) -> None:
        self.encoder = encoder
        self.method = method or encoder.spec.method
        if adapter is None and self.method == "april-gan" and encoder.spec.packaged is not None:
            adapter = load_adapter(packaged_layers(encoder.spec.packaged))
        self.zero_shot = zero_shot_branch(self.method, encoder, adapter)
        self.adapter_sha256 = adapter.sha256 if adapter is not None else None

    def prepare(self, bank: ReferenceBank) -> PreparedBank:
        """Check a bank against this scorer and move it to the device.

        Raises MismatchError, naming both sides, for a bank of another encoder, activation, stage set, image
        size, method or adapter.
        """
        check_belongs(bank.header, self.encoder, method=self.method, adapter_sha256=self.adapter_sha256)
        if self.zero_shot is not None and bank.text_features is None:
            raise MismatchError(
                f"the bank of product {bank.header.product!r} has no text features, "
                f"and method {self.method} takes them"
            )
        self._warn_of_other_arithmetic(bank.header)
        place = self.encoder.torch_device
        return PreparedBank(
            bank=bank,
            memory=bank.memory(place),
            text_features=None if bank.text_features is None else bank.text_features.to(place),
        )

    def _warn_of_other_arithmetic(self, header: BankHeader) -> None:
        """Thresholds hold to within the rounding: the golden self-test decides whether that is near enough."""
        theirs, ours = (header.device, header.precision), (self.encoder.device, self.encoder.precision)
        if theirs != ours:
            log.warning(
                "the bank of product %r was calibrated on %s in %s and scores on %s in %s from now on; "
                "enrol or calibrate it here for thresholds that are exact",
                header.product,
                *theirs,
                *ours,
            )

    def encode(self, images: Sequence[Image], banks: Sequence[PreparedBank] = ()) -> Features:
        """One forward pass over N arrays (H, W, 3) uint8 RGB; sizes may differ.

        banks: one a picture, where what lies outside their regions of interest must not be seen; none where
        pictures have no region or are `painted` already.
        """
        if banks:
            images = [painted(image, bank.memory.roi) for image, bank in zip(images, banks, strict=True)]
        return (
            self.encoder.encode(images) if self.zero_shot is None else self.zero_shot.encode(self.encoder, images)
        )

    @torch.inference_mode()
    def match(
        self, features: Features, banks: Sequence[PreparedBank], *, want_map: WantMap = always
    ) -> list[AnomalyResult]:
        """Score N encoded pictures, each against its own bank. Results stand in the order of the pictures."""
        if len(banks) != len(features):
            raise ValueError(f"expected one bank a picture, got {len(banks)} banks for {len(features)} pictures")
        results: dict[int, AnomalyResult] = {}
        for rows in _alike(banks):
            part = features if len(rows) == len(banks) else features.rows(rows)
            results |= zip(
                rows, self._match_alike(part, rows, [banks[row] for row in rows], want_map), strict=True
            )
        return [results[index] for index in range(len(banks))]

    def score(
        self, images: Sequence[Image], banks: Sequence[PreparedBank], *, want_map: WantMap = always
    ) -> list[AnomalyResult]:
        """`match(encode(images, banks), banks)`."""
        return self.match(self.encode(images, banks), banks, want_map=want_map)

    @torch.inference_mode()
    def evidence(self, features: Features, memory: Memory | None, text: torch.Tensor | None) -> Evidence:
        """Both branches of n encoded pictures of one product; a branch without its memory or text is left out."""
        distances, statistics = (
            ((), {}) if memory is None else self._bank_branch(features, [memory] * len(features))
        )
        return self._with_words(features, distances, statistics, None if memory is None else memory.roi, text)

    def _with_words(
        self,
        features: Features,
        distances: tuple[torch.Tensor, ...],
        statistics: dict[str, torch.Tensor],
        roi: Roi | None,
        text: torch.Tensor | None,
    ) -> Evidence:
        words = None
        if self.zero_shot is not None and text is not None and features.image is not None:
            words = text_score(features.image, text)
            summed = _summed(self.zero_shot.grids(features, text))
            inside = places_inside(roi, (summed.shape[1], summed.shape[2]), summed.device)
            statistics = statistics | {
                "text.logit": text_logit(features.image, text),
                "text.top1": top_mean(kept(summed.flatten(1), inside)),
            }
        return Evidence(features=features, distances=distances, statistics=statistics, text_score=words, roi=roi)

    def _bank_branch(
        self, features: Features, memories: Sequence[Memory]
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Of n pictures, each with its own memory, all of them matched in one way (`_alike`)."""
        distances: list[torch.Tensor] = []
        statistics: dict[str, torch.Tensor] = {}
        match, roi = memories[0].match, memories[0].roi
        features = self.encoder.matched_tokens(features, match)
        for index, (stage, grid) in enumerate(
            zip(match.bank_stages(self.encoder.matched), features.grids, strict=True)
        ):
            inside = places_inside(roi, grid, self.encoder.torch_device)
            sigma = match.smoothing_px * grid[0] / self.encoder.image_size
            tokens = stage_tokens(features.stages[index], grid, match.neighbourhood)
            nearest = nearest_distances(tokens, [memory.tokens[index] for memory in memories])
            places = blanked(smoothed(nearest.view(-1, *grid), sigma, inside), inside)
            whole = descriptors(kept(tokens, inside))[:, None]
            pooled = nearest_distances(whole, [memory.descriptors[index] for memory in memories])[:, 0]
            distances.append(places)
            statistics |= bank_statistics(stage, kept(places.flatten(1), inside), pooled)
        return tuple(distances), statistics

    @torch.inference_mode()
    def maps(self, evidence: Evidence, text: torch.Tensor | None, rows: Sequence[int]) -> torch.Tensor:
        """(len(rows), S, S): the sum over stages and branches, as the method's paper finishes it; 0 outside."""
        size = self.encoder.image_size
        total = sum_of_stages([stage[list(rows)] for stage in evidence.distances], size)
        if self.zero_shot is not None and text is not None:
            stages = self.zero_shot.stage_maps(evidence.features.rows(rows), text, size)
            total = total + self.zero_shot.finish(torch.stack(stages).sum(dim=0))
        return blanked(total, places_inside(evidence.roi, (size, size), total.device))

    def _match_alike(
        self, features: Features, places: Sequence[int], banks: Sequence[PreparedBank], want_map: WantMap
    ) -> list[AnomalyResult]:
        """The banks of all products in one search, then product by product what the words and the rule say."""
        distances, statistics = self._bank_branch(features, [bank.memory for bank in banks])
        statistics = _on_host(statistics)
        results: dict[int, AnomalyResult] = {}
        for prepared in {id(bank): bank for bank in banks}.values():
            rows = [row for row, bank in enumerate(banks) if bank is prepared]
            evidence = self._with_words(
                features if len(rows) == len(banks) else features.rows(rows),
                distances if len(rows) == len(banks) else tuple(stage[rows] for stage in distances),
                {name: values[rows] for name, values in statistics.items()},
                prepared.memory.roi,
                prepared.text_features,
            )
            mine = [places[row] for row in rows]
            results |= zip(rows, self._judged(evidence, mine, prepared, want_map), strict=True)
        return [results[row] for row in range(len(banks))]

    def _judged(
        self, evidence: Evidence, places: Sequence[int], prepared: PreparedBank, want_map: WantMap
    ) -> list[AnomalyResult]:
        """One product's results; only maps that are wanted are made, and only they leave the device."""
        scores = prepared.bank.header.rule.score(evidence.statistics)
        wanted = [row for row, place in enumerate(places) if want_map(place, float(scores[row]))]
        maps: dict[int, npt.NDArray[np.float32]] = {}
        if wanted:
            maps = dict(zip(wanted, to_numpy(self.maps(evidence, prepared.text_features, wanted)), strict=True))
        words: list[float | None] = [None] * len(places)
        if evidence.text_score is not None:
            words = evidence.text_score.tolist()
        return [
            AnomalyResult(score=float(score), text_score=words[row], map=maps.get(row))
            for row, score in enumerate(scores)
        ]


def load_scorer(
    preset: str,
    *,
    weights: Path | str | None = None,
    adapter: Path | str | None = None,
    method: str | None = None,
    activation: Activation | None = None,
    stages: tuple[int, ...] | None = None,
    image_size: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    buckets: Sequence[int] = BUCKETS,
) -> Scorer:
    """An encoder, its linear layers where a file is named, and the method: enrolment and worker build the same.

    The arguments are `load_encoder`'s and `Scorer`'s. Raises what they and `load_adapter` raise.
    """
    encoder = load_encoder(
        preset,
        weights=weights,
        activation=activation,
        stages=stages,
        image_size=image_size,
        device=device,
        precision=precision,
        words=words_of(method),
        buckets=buckets,
    )
    layers = None
    if adapter is not None:
        layers = load_adapter(Path(adapter), activation=activation, stages=encoder.stages)
    return Scorer(encoder, method=method, adapter=layers)


def _alike(banks: Sequence[PreparedBank]) -> list[list[int]]:
    """The places of pictures whose tokens are prepared and judged in one way: same switches, same region."""
    groups: dict[tuple[MatchOptions, int], list[int]] = {}
    for place, bank in enumerate(banks):
        groups.setdefault((bank.memory.match, id(bank.memory.roi)), []).append(place)
    return list(groups.values())


def _on_host(statistics: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All of them in one copy: the scores wait for the device once a batch, not once a product and statistic."""
    return dict(zip(statistics, torch.stack(list(statistics.values())).cpu(), strict=True))


def _summed(grids: Sequence[torch.Tensor]) -> torch.Tensor:
    """Per-stage (n, h, w) maps at the finest grid among them, summed."""
    height = max(grid.shape[1] for grid in grids)
    return sum_of_stages(grids, height)
