"""Encoder presets: plain data over one builder (core.encoder). Knows no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from core.errors import EncoderError, EnrolmentError

Activation = Literal["gelu", "quickgelu"]
MethodName = Literal["april-gan", "sdp", "sdp+", "bank"]
TokenPath = Literal["residual", "vv"]
WordScore = Literal["image", "places"]
"""What words alone say of a picture in streaming mode: the image embedding's probability, as in the paper, or the
log-odds of the embedding and of the most suspicious 1 % of places, added (method.md section 3 item 1)."""
Mode = Literal["paper", "streaming"]
"""How a set of pictures at hand is scored: see core.inspection."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOptions:
    """How tokens are prepared for matching; enrolment and scoring must agree, so the bank keeps it.

    The switches of method.md section 3 that touch the tokens; as it stands here, each is off.

    neighbourhood: odd side of the square of tokens averaged before matching (1 = none). budget: most tokens a
    stage of the bank keeps, None keeps all. rotations: evenly turned copies of each reference (1 = as it is).
    smoothing_px: sigma of the Gaussian over the distances, in pixels of the encoder's image (0 = none). tokens:
    "residual" stream, or "vv", CLIP-AD's second path, for methods that walk it. joined: the stages are pooled to
    the coarsest one's grid and matched as one, each with the same say.

    Raises EnrolmentError for values that mean nothing.
    """

    neighbourhood: int = 1
    budget: int | None = None
    rotations: int = 1
    smoothing_px: float = 0.0
    tokens: TokenPath = "residual"
    joined: bool = False

    def bank_stages(self, stages: tuple[int, ...]) -> tuple[int, ...]:
        """What a bank of these stages calls its own: joined ones go by the last one's name."""
        return stages[-1:] if self.joined else stages

    def __post_init__(self) -> None:
        if self.neighbourhood < 1 or self.neighbourhood % 2 == 0:
            raise EnrolmentError(f"expected a neighbourhood of an odd number of tokens, got {self.neighbourhood}")
        if self.rotations < 1 or (self.budget is not None and self.budget < 1):
            raise EnrolmentError(
                f"expected one rotation or more and a budget of one token or more, got {self.rotations} and "
                f"{self.budget}"
            )
        if not (math.isfinite(self.smoothing_px) and self.smoothing_px >= 0):
            raise EnrolmentError(f"expected a smoothing of 0 pixels or more, got {self.smoothing_px}")
        if self.tokens not in get_args(TokenPath):
            raise EnrolmentError(f"expected tokens of {', '.join(get_args(TokenPath))}, got {self.tokens!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What to build.

    name: for people and the encoder id. model: an open_clip model name, or its config as a dict.
    pretrained: open_clip's tag for its own download, None where weights are always a local file.
    image_size: pixels a side, every picture is squashed to it. stages: 1-based blocks (ViT) or feature levels
    (CNN) whose tokens are kept, a linear layer each. matched: those of them that banks hold, None for all.
    statistics: of the streaming score, as "bank.4.top1"
    (core.score_rule; None: the largest of every stage and the whole-picture one of the last). match: how enrolment
    prepares tokens unless told otherwise. text_weight: of the words beside a bank. word_score: of words alone.
    activation: see method.md, the GELU trap. mean, std: of RGB in 0..1.
    packaged: folder of core/assets with text tower and linear layers that come with the product (core.packaged).
    """

    name: str
    model: str | dict[str, Any]
    pretrained: str | None
    image_size: int
    stages: tuple[int, ...]
    activation: Activation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    method: MethodName
    statistics: tuple[str, ...] | None = None
    match: MatchOptions = MatchOptions()
    text_weight: float = 0.1
    word_score: WordScore = "image"
    matched: tuple[int, ...] | None = None
    packaged: str | None = None


PRESETS: dict[str, EncoderSpec] = {
    "april-gan": EncoderSpec(
        name="april-gan",
        model="ViT-L-14-336",
        pretrained="openai",
        image_size=518,
        stages=(6, 12, 18, 24),
        # OpenAI trained with QuickGELU; the published adapters are on exact-GELU features.
        activation="gelu",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        method="april-gan",
    ),
    "sdp": EncoderSpec(
        name="sdp",
        model="ViT-B-16-plus-240",
        pretrained="laion400m_e31",
        image_size=240,
        stages=(3, 6, 9, 12),
        activation="gelu",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        method="sdp",
    ),
    "lite": EncoderSpec(
        name="lite",
        model={
            "embed_dim": 64,
            "vision_cfg": {
                "image_size": 384,
                "timm_model_name": "tf_efficientnet_lite0",
                "timm_pool": "avg",
                "timm_proj": "linear",
            },
            "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
        },
        pretrained=None,
        # Chosen by measurement: docs/notes/0003-streaming-score.md
        image_size=384,
        stages=(3, 4, 5),
        matched=(3, 4),
        packaged="lite",
        activation="gelu",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        method="bank",
        statistics=("bank.4.top1", "bank.4.pool", "text.top1"),
        text_weight=0.3,
        word_score="places",
        match=MatchOptions(budget=1024, smoothing_px=8.0, joined=True),  # docs/notes/0004-switches.md
    ),
}


def resolve_spec(
    preset: str,
    *,
    activation: Activation | None = None,
    stages: tuple[int, ...] | None = None,
    image_size: int | None = None,
) -> EncoderSpec:
    """The spec of a preset name or of an open_clip config file, with overrides.

    preset: a key of PRESETS, or the path of a JSON file with open_clip's model config (`embed_dim`,
    `vision_cfg`, `text_cfg`, optionally `quick_gelu`, or these under `model_cfg`).

    Raises EncoderError for an unknown name, an unreadable file or an empty or repeating stage set.
    """
    spec = PRESETS[preset] if preset in PRESETS else _spec_from_file(preset)
    spec = replace(spec, activation=activation or spec.activation, image_size=image_size or spec.image_size)
    if stages is not None:  # what was measured for the preset's own stages says nothing of others
        match = replace(spec.match, joined=False)
        spec = replace(spec, stages=tuple(stages), matched=None, statistics=None, match=match)
    if not spec.stages or list(spec.stages) != sorted(set(spec.stages)) or spec.stages[0] < 1:
        raise EncoderError(f"stages must be 1-based, ascending and distinct, got {list(spec.stages)}")
    return spec


def needed_parts(spec: EncoderSpec, *, words: bool | None) -> EncoderSpec:
    """The spec with its words or (where that saves work) without; None: as its own method needs them."""
    if words is None:
        words = spec.method != "bank" or spec.packaged is None
    return spec if words else without_words(spec)


def has_text_tower(spec: EncoderSpec) -> bool:
    """Whether the spec is a whole CLIP; "lite" without its words is an image tower alone."""
    return isinstance(spec.model, str) or "text_cfg" in spec.model


def takes_a_clip(preset: str, method: str | None) -> bool:
    """Whether `core.load_scorer` builds a whole CLIP for these, and so imports open_clip. Raises EncoderError."""
    return has_text_tower(needed_parts(resolve_spec(preset), words=words_of(method)))


def words_of(method: str | None) -> bool | None:
    """Whether a method takes words, None where the preset's own decides."""
    return None if method is None else method != "bank"


def without_words(spec: EncoderSpec) -> EncoderSpec:
    """The image tower alone, stopped after the last stage that banks hold; only where words are packaged apart.

    Other towers are one file with their words and stay as they are.
    """
    if spec.packaged is None or isinstance(spec.model, str):
        return spec
    return replace(
        spec,
        model={"timm_model_name": spec.model["vision_cfg"]["timm_model_name"]},
        stages=spec.matched or spec.stages,
        matched=None,
        packaged=None,
        method="bank",
    )


def _spec_from_file(preset: str) -> EncoderSpec:
    path = Path(preset)
    if path.suffix != ".json":
        raise EncoderError(f"expected a preset ({', '.join(PRESETS)}) or an open_clip CONFIG.json, got {preset!r}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("model_cfg", config)
        vision = config["vision_cfg"]
        image_size = vision.get("image_size", 224)
        layers = vision.get("layers", 12)
    except OSError as error:
        raise EncoderError(f"cannot read the model config {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError) as error:
        raise EncoderError(f"{path} is not an open_clip model config: {error!r}") from error
    return EncoderSpec(
        name=path.stem,
        model=config,
        pretrained=None,
        image_size=int(image_size if isinstance(image_size, int) else image_size[0]),
        stages=_quarters(layers),
        activation="quickgelu" if config.get("quick_gelu") else "gelu",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        method="bank",
    )


def _quarters(layers: int | list[int]) -> tuple[int, ...]:
    """The ends of the four quarters of a ViT, as the paper takes them; the last two levels of a CNN."""
    if not isinstance(layers, int):
        return (len(layers), len(layers) + 1)
    return tuple(sorted({max(1, layers * quarter // 4) for quarter in (1, 2, 3, 4)}))
