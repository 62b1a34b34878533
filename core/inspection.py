"""Scoring a set of pictures at hand, with every map the papers show. For `score`, the evaluator and researchers.

Streaming mode scores each picture on its own, as the daemon does. Paper mode reproduces the reference code, whose
few-shot image score rescales by the whole set that it is given: it is transductive, and no stream can do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from core.anomaly_map import upsample
from core.bank import Memory, descriptors, to_numpy
from core.bank_building import Progress
from core.errors import CalibrationError
from core.features import Features
from core.image import Image
from core.leave_one_out import ReferenceTokens
from core.presets import MatchOptions, Mode, WordScore
from core.region import blanked, painted, places_inside
from core.score_rule import ScoreRule
from core.scorer import Evidence, Scorer

Floats = npt.NDArray[np.float32]

BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspection:
    """N pictures, K stages, S the encoder's image size; all float32.

    text_features: (2, E), normal first; zero_shot_stages: (K, N, S, S); text_score: (N,) in [0, 1]; None
    without a text branch. few_shot_stages: (K, N, S, S), `1 - cos` in paper mode and half of it in
    streaming mode; None without references. Neither of the two where stages were not to be kept.
    map: (N, S, S). score: (N,).
    """

    text_features: Floats | None
    zero_shot_stages: Floats | None
    few_shot_stages: Floats | None
    map: Floats
    text_score: Floats | None
    score: Floats


def inspect(
    scorer: Scorer,
    images: Sequence[Image],
    *,
    mode: Mode,
    text: torch.Tensor | None = None,
    memory: Memory | None = None,
    rule: ScoreRule | None = None,
    keep_stages: bool = True,
    progress: Progress | None = None,
) -> Inspection:
    """Score N arrays (H, W, 3) uint8 RGB.

    text: F_t (2, E) for methods with words. memory: for the few-shot branch, of a prepared bank or, without the
    switches of MatchOptions that paper mode knows nothing of, of `paper_memory`. rule: of the references' bank,
    for the streaming score. keep_stages: whether every stage's maps are wanted; they are most of the memory.

    Raises CalibrationError where there is nothing to score with, or a bank with switches in paper mode.
    """
    if text is None and memory is None:
        raise CalibrationError(f"method {scorer.method} has neither words nor references to score with")
    if mode == "streaming" and memory is not None and rule is None:
        raise CalibrationError("the streaming score takes the rule of the references' bank")
    if mode == "paper" and memory is not None and (memory.match != MatchOptions() or memory.roi is not None):
        raise CalibrationError("paper mode takes the references as they are, this bank was made with switches on")
    tell = progress or _silent
    parts = []
    for start in range(0, len(images), BATCH):
        batch = [painted(image, None if memory is None else memory.roi) for image in images[start : start + BATCH]]
        features = scorer.encode(batch)
        parts.append(
            inspect_features(
                scorer, features, mode=mode, text=text, memory=memory, rule=rule, keep_stages=keep_stages
            )
        )
        tell("scoring", min(start + BATCH, len(images)), len(images))
    joined = Inspection(
        text_features=None if text is None else to_numpy(text),
        zero_shot_stages=_concatenate([part.zero_shot_stages for part in parts], axis=1),
        few_shot_stages=_concatenate([part.few_shot_stages for part in parts], axis=1),
        map=np.concatenate([part.map for part in parts]),
        text_score=_concatenate([part.text_score for part in parts], axis=0),
        score=np.concatenate([part.score for part in parts]),
    )
    if mode == "streaming":
        return joined
    peaks = joined.map.max(axis=(1, 2))
    return replace(joined, score=paper_image_scores(joined.text_score, peaks, few_shot=memory is not None))


@torch.inference_mode()
def inspect_features(
    scorer: Scorer,
    features: Features,
    *,
    mode: Mode,
    text: torch.Tensor | None = None,
    memory: Memory | None = None,
    rule: ScoreRule | None = None,
    keep_stages: bool = True,
) -> Inspection:
    """`inspect` of one batch that is encoded already (and painted, where the memory has a region).

    What takes the whole set is left open: text_features is None, and in paper mode the score is only what the
    words give, NaN without them, until `paper_image_scores` makes it from every picture's peak.
    """
    size = scorer.encoder.image_size
    evidence = scorer.evidence(features, memory, text)
    inside = places_inside(evidence.roi, (size, size), scorer.encoder.torch_device)
    few_shot = zero_shot = None
    total = torch.zeros(len(features), size, size, device=scorer.encoder.torch_device)
    if memory is not None:
        scale = 2.0 if mode == "paper" else 1.0  # distances are (1 - cos)/2, the paper's are 1 - cos
        few_shot = torch.stack([scale * upsample(stage, size) for stage in evidence.distances])
        total = total + few_shot.sum(dim=0)
    if scorer.zero_shot is not None and text is not None:
        zero_shot = torch.stack(scorer.zero_shot.stage_maps(evidence.features, text, size))
        total = total + scorer.zero_shot.finish(zero_shot.sum(dim=0))
    return Inspection(
        text_features=None,
        zero_shot_stages=to_numpy(zero_shot) if keep_stages and zero_shot is not None else None,
        few_shot_stages=to_numpy(few_shot) if keep_stages and few_shot is not None else None,
        map=to_numpy(blanked(total, inside)),
        text_score=None if evidence.text_score is None else to_numpy(evidence.text_score),
        score=_streaming_scores(evidence, rule, scorer.encoder.spec.word_score),
    )


def paper_memory(scorer: Scorer, references: Sequence[Image], *, progress: Progress | None = None) -> Memory:
    """The reference code's bank for paper mode: every token of every reference as it is, in float32.

    references: one array (H, W, 3) uint8 RGB or more.
    """
    tokens = ReferenceTokens.encode(scorer, references, MatchOptions(), progress or _silent)
    return Memory(
        tokens=tuple(stage.flatten(0, 1) for stage in tokens.tokens),
        descriptors=tuple(descriptors(stage) for stage in tokens.tokens),
        match=tokens.match,
    )


def paper_image_scores(text_score: Floats | None, peaks: Floats, *, few_shot: bool) -> Floats:
    """The reference's image scores of a whole test set, (N,).

    peaks: (N,) maxima of the pictures' maps. Zero-shot: the text score. Few-shot: `0.5 (p + m')`, m' the peaks
    min-max scaled over the set; without words m' alone.
    """
    if not few_shot and text_score is not None:
        return text_score
    span = peaks.max() - peaks.min()
    scaled = (peaks - peaks.min()) / span if span > 0 else np.zeros_like(peaks)
    return np.asarray(scaled if text_score is None else 0.5 * (text_score + scaled), dtype=np.float32)


def _streaming_scores(evidence: Evidence, rule: ScoreRule | None, word_score: WordScore) -> Floats:
    """By the bank's rule; without references what the words give: a probability, or log-odds (WordScore)."""
    if rule is not None:
        return rule.score(evidence.statistics).astype(np.float32)
    if word_score == "places" and "text.top1" in evidence.statistics:
        return to_numpy(evidence.statistics["text.top1"] + evidence.statistics["text.logit"])
    if evidence.text_score is not None:
        return to_numpy(evidence.text_score)
    return np.full(len(evidence.features), np.nan, dtype=np.float32)  # paper mode replaces it


def _concatenate(parts: Sequence[Floats | None], *, axis: int) -> Floats | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present, axis=axis) if present else None


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""
