"""References to a provisional bank: encoded, scored each against the others, standardised, with a golden picture.

What may be a reference, and which thresholds a bank gets to promise, core.enrolment decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch

from core.bank import BankHeader, ReferenceBank, Source, to_numpy
from core.calibration import provisional
from core.errors import EnrolmentError
from core.flow import Sample
from core.image import Image
from core.leave_one_out import ReferenceTokens, leave_one_out
from core.map_scale import map_scale
from core.preprocess import squash
from core.presets import MatchOptions
from core.region import Roi, painted
from core.score_rule import ScoreRule, default_statistics, is_worded
from core.scorer import Scorer, never
from core.text import Embed

Progress = Callable[[str, int, int], None]
"""(what, done, total), called as the work goes on."""

UNKNOWN_OBJECT = "object"
"""method.md section 3 item 8."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuiltBank:
    """A provisional bank.

    scores: of its references, each against the others; of jittered copies where there is one. statistics:
    (len(scores), K), what the scores were made of, in the rule's order. images: the references as the tower saw
    them. maps: (len(scores), S, S), where each differs from the others.
    """

    bank: ReferenceBank
    scores: tuple[float, ...]
    statistics: npt.NDArray[np.float64]
    images: tuple[Image, ...]
    maps: npt.NDArray[np.float32]


def build_bank(
    scorer: Scorer,
    references: Sequence[Sample],
    *,
    product: str,
    object_name: str | None,
    match: MatchOptions,
    text_weight: float,
    region: Roi | None,
    embed: Embed | None,
    tell: Progress,
) -> BuiltBank:
    """Build a bank of checked references (core.enrolment_checks). Raises as `text_features` does."""
    images = [painted(sample.image, region) for sample in references]
    tokens = ReferenceTokens.encode(scorer, images, match, tell, roi=region)
    header = _header(scorer, references, product=product, object_name=object_name, match=match)
    text = text_features(scorer, object_name, embed)
    left_out = leave_one_out(scorer, images, tokens, header, text, tell)
    good = _merged([evidence.statistics for evidence in left_out])
    rule = ScoreRule.fit(header.rule.statistics, good, text_weight=text_weight)
    scores = tuple(float(score) for score in rule.score(good))
    maps = np.concatenate([to_numpy(scorer.maps(part, text, range(len(part.features)))) for part in left_out])
    scale = map_scale(maps, None if region is None else region != 0)
    header = replace(header, rule=rule, calibration=provisional(scores), map_scale=scale)
    bank = replace(tokens.bank(header), text_features=None if text is None else text.cpu())
    bank = _with_golden(scorer, bank, images[0])
    return BuiltBank(
        bank=bank,
        scores=scores,
        statistics=np.stack([good[name].double().cpu().numpy() for name in rule.statistics], axis=1),
        images=tuple(images),
        maps=maps,
    )


def text_features(scorer: Scorer, object_name: str | None, embed: Embed | None) -> torch.Tensor | None:
    """F_t (2, E) of a product on the scorer's device, None for a method without words.

    object_name: None says "object". Raises EnrolmentError where words are needed and there is no text tower to
    read them, EncoderError for an empty name.
    """
    if scorer.zero_shot is None:
        return None
    if embed is None:
        raise EnrolmentError(
            f"method {scorer.method} takes the product's name in words, and a text tower to read it"
        )
    name = UNKNOWN_OBJECT if object_name is None else object_name
    return scorer.zero_shot.text_features(embed, name).to(scorer.encoder.torch_device)


def _header(
    scorer: Scorer,
    references: Sequence[Sample],
    *,
    product: str,
    object_name: str | None,
    match: MatchOptions,
) -> BankHeader:
    """All that is known before the references have been scored; rule, calibration and scale follow."""
    encoder = scorer.encoder
    names = default_statistics(match.bank_stages(encoder.matched), worded=scorer.zero_shot is not None)
    if encoder.spec.statistics is not None:
        names = tuple(name for name in encoder.spec.statistics if scorer.zero_shot or not is_worded(name))
    height, width = references[0].image.shape[:2]
    return BankHeader(
        product=product,
        object_name=object_name,
        method=scorer.method,
        encoder_id=encoder.id,
        activation=encoder.spec.activation,
        stages=encoder.matched,
        image_size=encoder.image_size,
        adapter_sha256=scorer.adapter_sha256,
        device=encoder.device,
        precision=encoder.precision,
        match=match,
        rule=ScoreRule(statistics=names, centre=(0.0,) * len(names), spread=(1.0,) * len(names)),
        calibration=provisional([0.0]),
        map_scale=(0.0, 1.0),
        golden_score=None,
        source_size=(height, width),
        sources=tuple(Source(name=sample.name, sha256=sample.sha256) for sample in references),
        built_at=now(),
    )


def _merged(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _with_golden(scorer: Scorer, bank: ReferenceBank, image: Image) -> ReferenceBank:
    """Keep a shifted copy of the first reference and its score: the self-test's question and answer.

    Shifted, because the reference itself lies at distance 0 from its own tokens whatever the tower does to it.
    """
    size = scorer.encoder.image_size
    small = squash(image, size=size, device=torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    golden = np.ascontiguousarray(painted(np.roll(small, (size // 7, size // 5), axis=(0, 1)), bank.roi))
    score = scorer.score([golden], [scorer.prepare(bank)], want_map=never)[0].score
    return replace(bank, golden=golden, header=replace(bank.header, golden_score=score))


def now() -> str:
    """When a bank was built: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
