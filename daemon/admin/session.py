"""What one command works with: settings, records, cache, scorer; each opened on first use, closed at the end."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import core
from core.errors import EncoderError, MismatchError, WeightsError
from daemon.allocator import keep_freed_memory
from daemon.bank_cache import BankCache
from daemon.records import LineAssignment, Records
from daemon.setting_sections import LineSettings, ModelSettings
from daemon.settings import ConfigurationError, Settings, load_settings

if TYPE_CHECKING:
    from core.text import Embed  # imports torch, which most commands do without


class Refused(Exception):
    """What was asked cannot be done with the data at hand; the message says what would do. Exit code 1."""


class Unavailable(Exception):
    """A service that the command needs does not answer. Exit code 69."""


class Session:
    """One command's view of the installation. Raises ConfigurationError where settings are wrong."""

    def __init__(self, config: Path | None) -> None:
        self._config = config

    @cached_property
    def settings(self) -> Settings:
        """The settings that the daemon finds as well."""
        return load_settings(self._config)

    @property
    def state_dir(self) -> Path:
        """The state folder."""
        return self.settings.state.dir

    @cached_property
    def records(self) -> Records:
        """SQL; a missing SQLite file is created, as the daemon would."""
        records = Records(self.settings.records_url)
        records.prepare()
        return records

    @cached_property
    def cache(self) -> BankCache:
        """Redis, which may be down."""
        try:
            return BankCache(self.settings.redis_url)
        except ValueError as error:  # its message would repeat the URL
            raise ConfigurationError(
                'redis.url: expected "embedded", redis://…, rediss://… or unix://…'
            ) from error

    def line(self, line_id: int) -> LineSettings:
        """A configured line. Raises Refused, saying which ones are."""
        line = self.settings.line(line_id)
        if line is None:
            configured = ", ".join(str(known.id) for known in self.settings.lines) or "none"
            raise Refused(f"line {line_id} is not in the settings; configured lines: {configured}")
        return line

    def sees_grey(self, line_id: int) -> bool:
        """Whether a grey camera looks at the line."""
        return any(camera.color == "gray" for camera in self.settings.cameras if camera.line == line_id)

    def assigned(self, line_id: int) -> LineAssignment:
        """What a configured line scores with. Raises Refused where it never was enrolled."""
        self.line(line_id)
        assignment = self.records.line(line_id)
        if assignment is None:
            raise Refused(
                f"line {line_id} has no bank yet: enrol it with `aprilgan-admin enroll --line {line_id}`"
            )
        return assignment

    def scorer(self) -> core.Scorer:
        """The scorer that the daemon's worker builds from the same settings. Slow: it loads the weights.

        Raises ConfigurationError for a model that cannot be loaded, DeviceError.
        """
        keep_freed_memory()
        with _as_configured():
            return build_scorer(self.settings.model)

    def embed_for(self, scorer: core.Scorer) -> Embed | None:
        """The text tower that belongs to `scorer`, None for a method without words. Raises as `scorer` does."""
        with _as_configured():
            return build_embed(self.settings.model, scorer)

    def close(self) -> None:
        """Close what was opened."""
        opened = vars(self)
        for name in ("records", "cache"):
            if name in opened:
                opened[name].close()


def build_scorer(model: ModelSettings) -> core.Scorer:
    """Load an encoder, and linear layers where they are named.

    Raises WeightsError, EncoderError, DeviceError, or MismatchError for layers of another encoder.
    """
    return core.load_scorer(
        model.preset,
        weights=model.weights,
        adapter=model.adapter,
        method=model.method,
        activation=model.activation,
        stages=model.stages,
        image_size=model.image_size,
        device=model.device,
        precision=model.precision,
    )


def build_embed(model: ModelSettings, scorer: core.Scorer) -> Embed | None:
    """The text tower that goes with `scorer`, None without words. Raises WeightsError or EncoderError."""
    if scorer.zero_shot is None:
        return None
    return core.load_text_encoder(model.preset, weights=model.weights, activation=model.activation).embed


@contextmanager
def _as_configured() -> Iterator[None]:
    """A model that the settings name and that cannot be loaded is a wrong setting."""
    try:
        yield
    except (WeightsError, EncoderError, MismatchError) as error:
        raise ConfigurationError(f"[model]: {error}") from error


def operator() -> str:
    """Who runs this command: the name the system knows, not what the environment claims."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
