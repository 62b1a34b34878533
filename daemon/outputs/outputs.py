"""All sinks of the settings: started, watched and stopped together."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from daemon.clock import Clock
from daemon.durable import sweep_drafts
from daemon.observer import Observer
from daemon.outputs.cursor import FOLDER, CursorFile
from daemon.outputs.dead_letters import DeadLetters
from daemon.outputs.delivery import Delivery, DeliveryOptions
from daemon.outputs.feed import Feed
from daemon.outputs.sections import MqttSettings, OutputSettings, WebhookSettings
from daemon.outputs.sink import Selection, Sink
from daemon.settings import ConfigurationError, Settings


class Outputs:
    """`start`, `stop`; everything else only looks, from any thread."""

    def __init__(self, deliveries: Sequence[Delivery] = ()) -> None:
        self._deliveries = deliveries

    @property
    def kept(self) -> int | None:
        """How far the slowest sink's cursor is on disk: the outbox keeps what lies behind. None without sinks."""
        return min((each.kept for each in self._deliveries), default=None)

    @property
    def threads(self) -> Mapping[str, Callable[[], bool]]:
        """Name -> whether it lives, for the caretaker."""
        return {each.name: each.is_alive for each in self._deliveries}

    @property
    def down(self) -> list[str]:
        """Sinks that do not take verdicts now: a reason to be degraded, never to be not ready."""
        return [each.name for each in self._deliveries if not each.up]

    def status(self) -> dict[str, Any]:
        """For /statusz, by name."""
        return {each.sink_name: each.status() for each in self._deliveries}

    def start(self) -> None:
        """Start every thread. The outbox file must exist."""
        for each in self._deliveries:
            each.start()

    def stop(self, timeout_s: float) -> None:
        """Let all deliver what they can within `timeout_s`; one that hangs is left behind with its cursor."""
        end = time.monotonic() + timeout_s
        for each in self._deliveries:
            each.finish()
        for each in self._deliveries:
            each.join(max(0.0, end - time.monotonic()))


def outputs_of(settings: Settings, *, state: Path, observer: Observer, clock: Clock) -> Outputs:
    """The sinks of `[mqtt.*]` and `[webhooks.*]`, not started. Raises ConfigurationError for a bad CA file."""
    sweep_drafts(state / FOLDER)  # of cursors that a kill interrupted
    deliveries = []
    for name, section in {**settings.mqtt, **settings.webhooks}.items():
        feed = Feed(
            outbox=state / "outbox.db",
            cursor=CursorFile(state, name),
            sink=name,
            lost=partial(observer.sink_lost, name),
        )
        deliveries.append(
            Delivery(
                _sink(name, section),
                feed,
                name=name,
                dead_letters=DeadLetters(state, name),
                observer=observer,
                clock=clock,
                options=DeliveryOptions(attempts=section.attempts),
            )
        )
    return Outputs(deliveries)


def _sink(name: str, section: OutputSettings) -> Sink:
    """The clients' libraries are for those who use them."""
    selection = Selection(lines=frozenset(section.lines), decisions=section.wanted)
    try:
        if isinstance(section, MqttSettings):
            from daemon.outputs.mqtt import MqttSink

            return MqttSink(section, selection, client_id=f"aprilgan-{socket.gethostname()}-{name}"[:64])
        if isinstance(section, WebhookSettings):
            from daemon.outputs.webhook import WebhookSink

            return WebhookSink(section, selection)
    except OSError as error:
        raise ConfigurationError(f"{name}.ca_file: {section.ca_file} cannot be used: {error}") from error
    raise TypeError(f"no sink for {type(section).__name__}")
