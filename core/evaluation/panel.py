"""All methods of an evaluation on one encoder: what looks at pictures, and who judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from core.adapter import Adapter, load_adapter
from core.bank_building import UNKNOWN_OBJECT, text_features
from core.baselines import Baseline
from core.baselines.padim import PaDiM
from core.baselines.patchcore import PatchCore
from core.baselines.spade import Spade
from core.baselines.winclip import WinClip
from core.baselines.windows import WindowEncoder
from core.datasets import ObjectClass, draw_references, read_image
from core.encoder import Encoder, Precision, load_encoder
from core.enrolment import enrol
from core.errors import EncoderError
from core.evaluation.judges import (
    BaselineJudge,
    Judge,
    ScorerJudge,
    Seen,
    features_of,
    joined_windows,
    windows_of,
)
from core.evaluation.options import BASELINES, SCORERS, ZERO_SHOT, EvaluationOptions, Trial
from core.features import Features, joined
from core.flow import Sample
from core.image import Image
from core.inspection import paper_memory
from core.methods.choose import TAKE_ADAPTER, WALK_BOTH_PATHS
from core.preprocess import squash
from core.presets import Activation
from core.scorer import Scorer
from core.text import Embed, april_gan_text_features, load_text_encoder

BATCH = 4
"""Pictures that are encoded and judged together. Memory holds one batch, whatever the set's size."""
PLAIN_BASELINES: Mapping[str, type[PatchCore] | type[PaDiM] | type[Spade]] = {
    baseline.name: baseline for baseline in (PatchCore, PaDiM, Spade)
}


class Panel:
    """One encoder and every method that is to be evaluated on it.

    adapter: for the methods that take linear layers. embed: the text tower, None where no method has words.

    Raises EncoderError or MismatchError, saying why, for a method that this encoder cannot do.
    """

    def __init__(
        self,
        encoder: Encoder,
        options: EvaluationOptions,
        *,
        adapter: Adapter | None = None,
        embed: Embed | None = None,
    ) -> None:
        if adapter is not None and not set(options.methods) & set(TAKE_ADAPTER):
            raise EncoderError(
                f"linear layers are given, and none of {', '.join(options.methods)} takes them "
                f"(those that do: {', '.join(TAKE_ADAPTER)})"
            )
        self.encoder = encoder
        self.options = options
        self.adapter = adapter
        self._embed = None if embed is None else _remembering(embed)
        self.scorers = {
            method: Scorer(encoder, method=method, adapter=adapter if method in TAKE_ADAPTER else None)
            for method in options.methods
            if method in SCORERS
        }
        self._windows = WindowEncoder(encoder) if "winclip" in options.methods else None
        if self._windows is not None and not encoder.has_image_embedding:
            raise EncoderError(f"winclip compares pictures with words, and {encoder.spec.name} has no text tower")
        if self.has_words and embed is None:
            raise EncoderError(f"{encoder.spec.name} was given no text tower to read the classes' names with")

    @property
    def has_words(self) -> bool:
        """Whether some method takes text features."""
        return self._windows is not None or any(scorer.zero_shot for scorer in self.scorers.values())

    def look(self, images: Sequence[Image]) -> Seen:
        """Encode N arrays (H, W, 3) uint8 RGB for every method: one pass, and WinCLIP's where it takes part."""
        only_windows = set(self.options.methods) == {"winclip"}
        return Seen(
            features=None if only_windows else self._features(images),
            windows=None if self._windows is None else self._windows.encode(images),
        )

    def references(self, object_class: ObjectClass, *, shots: int, seed: int) -> References:
        """The references of a trial. Raises DatasetError where the class has too few."""
        return References(self, draw_references(object_class, shots, seed) if shots else ())

    def judge(self, trial: Trial, object_class: ObjectClass, references: References) -> Judge:
        """The trial's method with its references: fitted, enrolled, or neither where there are none.

        Raises DatasetError for a reference that cannot be read, EnrolmentError for two that are the same picture.
        """
        if trial.method in BASELINES:
            return self._baseline(trial, object_class, references)
        if trial.shots and trial.score_modes == ("streaming",):
            return self._streaming(trial, object_class, references)
        scorer = self.scorers[trial.method]
        return ScorerJudge(
            scorer=scorer,
            mode="paper",
            text=text_features(scorer, self.object_name(object_class), self._embed),
            memory=paper_memory(scorer, references.images) if trial.shots else None,
        )

    def object_name(self, object_class: ObjectClass) -> str:
        """What prompts call it."""
        names = {
            "folder": object_class.name,
            "words": object_class.name.replace("_", " "),
            "object": UNKNOWN_OBJECT,
        }
        return names[self.options.object_names]

    def _streaming(self, trial: Trial, object_class: ObjectClass, references: References) -> ScorerJudge:
        """Enrolled and prepared as the daemon's banks are."""
        scorer = self.scorers[trial.method]
        enrolment = enrol(
            scorer,
            references.samples,
            product=object_class.name,
            object_name=self.object_name(object_class),
            embed=self._embed,
        )
        bank = scorer.prepare(enrolment.bank)
        return ScorerJudge(
            scorer=scorer,
            mode="streaming",
            text=bank.text_features,
            memory=bank.memory,
            rule=enrolment.bank.header.rule,
        )

    @torch.inference_mode()
    def _baseline(self, trial: Trial, object_class: ObjectClass, references: References) -> Judge:
        size = self.encoder.image_size
        if trial.method in PLAIN_BASELINES:
            settings: Baseline[Features] = PLAIN_BASELINES[trial.method](size=size)
            return BaselineJudge(fitted=settings.fit(features_of(references.seen)), takes=features_of)
        if self._embed is None:
            raise ValueError("checked when the panel was made")
        words = april_gan_text_features(self._embed, self.object_name(object_class))
        winclip = WinClip(size=size, text=words.to(self.encoder.torch_device))
        fitted = winclip.fit(windows_of(references.seen)) if trial.shots else winclip.zero_shot()
        return BaselineJudge(fitted=fitted, takes=windows_of)

    def _features(self, images: Sequence[Image]) -> Features:
        """Those of the method that looks furthest; the others find theirs among them."""
        both = [method for method in self.scorers if method in WALK_BOTH_PATHS]
        return self.scorers[both[0]].encode(images) if both else self.encoder.encode(images)


class References:
    """The good pictures of one draw; read, and encoded for the baselines, when first asked for."""

    def __init__(self, panel: Panel, paths: Sequence[Path]) -> None:
        self._panel = panel
        self._paths = tuple(paths)

    @cached_property
    def images(self) -> list[Image]:
        """Each (H, W, 3) uint8 RGB. Raises DatasetError."""
        return [read_image(path) for path in self._paths]

    @cached_property
    def samples(self) -> list[Sample]:
        """For enrolment, which takes one size: where a data set has several, the encoder's own."""
        images = self.images
        if len({image.shape for image in images}) > 1:
            size = self._panel.encoder.image_size
            images = [_squashed(image, size) for image in images]
        return [Sample.from_array(str(path), image) for path, image in zip(self._paths, images, strict=True)]

    @cached_property
    def seen(self) -> Seen:
        """All of them, encoded a few at a time."""
        parts = [self._panel.look(self.images[at : at + BATCH]) for at in range(0, len(self.images), BATCH)]
        features = [part.features for part in parts if part.features is not None]
        windows = [part.windows for part in parts if part.windows is not None]
        return Seen(
            features=joined(features) if features else None,
            windows=joined_windows(windows) if windows else None,
        )


def _squashed(image: Image, size: int) -> Image:
    pixels = squash(image, size=size, device=torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)


def _remembering(embed: Embed) -> Embed:
    """The same, each list of sentences read once: every seed of a class asks for the same ones."""
    known: dict[tuple[str, ...], torch.Tensor] = {}

    def remembering(texts: Sequence[str]) -> torch.Tensor:
        key = tuple(texts)
        if key not in known:
            known[key] = embed(texts)
        return known[key]

    return remembering


def load_panel(
    preset: str,
    options: EvaluationOptions,
    *,
    weights: Path | None = None,
    adapter: Path | None = None,
    activation: Activation | None = None,
    stages: tuple[int, ...] | None = None,
    image_size: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Panel:
    """An encoder, its linear layers where a file is named, and its text tower where a method has words.

    Raises what `load_encoder`, `load_adapter`, `load_text_encoder` and `Panel` raise.
    """
    encoder = load_encoder(
        preset,
        weights=weights,
        activation=activation,
        stages=stages,
        image_size=image_size,
        device=device,
        precision=precision,
        words=options.methods != ("bank",),
    )
    layers = None
    if adapter is not None:
        layers = load_adapter(adapter, activation=activation, stages=encoder.stages)
    embed = None
    if set(options.methods) & set(ZERO_SHOT) and encoder.has_image_embedding:
        embed = load_text_encoder(preset, weights=weights, activation=activation).embed
    return Panel(encoder, options, adapter=layers, embed=embed)
