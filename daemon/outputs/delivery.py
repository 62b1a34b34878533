"""The thread behind one sink: outbox -> other end, in order, at least once, at a bounded rate.

Nothing waits for it. An other end that is down is left alone for pauses that double, with jitter, so that many
daemons do not come back at once; meanwhile the outbox keeps what it missed (daemon.outbox).
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from daemon.clock import Clock
from daemon.flow import Verdict
from daemon.observer import Observer
from daemon.outbox import OutboxUnavailable, StoredVerdict
from daemon.outputs.dead_letters import DeadLetters
from daemon.outputs.feed import Feed
from daemon.outputs.sink import MessageRefused, Sink, SinkUnavailable
from daemon.recorder import Circuit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """Rows a turn and seconds between turns (together the bounded rate), idle wait, pauses, attempts.

    attempts: how often a message that the other end refuses is offered.
    """

    batch_rows: int = 100
    batch_pause_s: float = 0.05
    idle_pause_s: float = 0.05
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0
    attempts: int = 5


class Delivery(threading.Thread):
    """`start`, then `finish` and `join`. jitter: draws the share of a pause to wait, in [0.5, 1)."""

    def __init__(
        self,
        sink: Sink,
        feed: Feed,
        *,
        name: str,
        dead_letters: DeadLetters,
        observer: Observer,
        clock: Clock,
        options: DeliveryOptions = DeliveryOptions(),
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311
    ) -> None:
        super().__init__(name=f"output {name}", daemon=True)
        self.sink_name = name
        self._sink = sink
        self._feed = feed
        self._dead_letters = dead_letters
        self._observer = observer
        self._clock = clock
        self._options = options
        self._jitter = jitter
        self._circuit = Circuit(first_s=options.first_retry_s, longest_s=options.longest_retry_s)
        self._refusals = 0
        self._ending = threading.Event()
        self._tried = False
        self.fault: str | None = None

    @property
    def up(self) -> bool:
        """Whether the last attempt worked."""
        return self._tried and not self._circuit.is_open

    @property
    def kept(self) -> int:
        """The durable cursor: the outbox may forget what lies before it."""
        return self._feed.kept

    def status(self) -> dict[str, Any]:
        """For /statusz. fault: what went wrong last, None while up."""
        return {"up": self.up, "lag_rows": self._feed.lag, "fault": self.fault}

    def finish(self) -> None:
        """Deliver what is there while the other end takes it, then end."""
        self._ending.set()

    def run(self) -> None:
        """Until finished."""
        more, ending = True, False
        try:
            while more or not ending:
                ending = self._ending.is_set()  # looked at before the turn: what was there by then is delivered
                more = self._turn()
                self._ending.wait(self._pause_s(more))
            self._feed.save()
            self._sink.close()
        finally:
            self._feed.close()

    def _turn(self) -> bool:
        """One turn; whether there may be more to deliver."""
        try:
            return self._deliver()
        except (SinkUnavailable, OutboxUnavailable) as error:
            self._failed(str(error))
        except Exception as error:  # an output may cost no verdict, whatever is wrong with it
            log.exception("output %s: this was not foreseen", self.sink_name)
            self._failed(f"{type(error).__name__}: {error}")
        finally:
            self._observer.sink(self.sink_name, up=self.up, lag_rows=self._feed.lag)
        return False

    def _deliver(self) -> bool:
        rows = self._feed.read(self._options.batch_rows)
        if not rows:
            self._feed.save()
            self._sink.attend(self._options.idle_pause_s)
            self._worked()
            return False
        for verdicts, position in self._batches(rows):
            if verdicts and not self._offer(verdicts):
                return False
            self._feed.advance(position)
        return len(rows) == self._options.batch_rows

    def _offer(self, verdicts: Sequence[Verdict]) -> bool:
        """Whether the other end has them, or will never take them."""
        try:
            self._sink.deliver(verdicts)
        except MessageRefused as error:
            return self._refused(verdicts[0], str(error))
        self._observer.sink_delivered(self.sink_name, "delivered", len(verdicts))
        self._refusals = 0
        self._worked()
        return True

    def _batches(self, rows: Sequence[StoredVerdict]) -> Iterator[tuple[list[Verdict], int]]:
        """Verdicts for the sink, each batch with the position that is reached by it.

        While the circuit is open they go one by one, so that a message which cannot be delivered stands alone.
        """
        waiting = iter([row for row in rows if self._sink.takes(row.verdict)])
        while batch := list(islice(waiting, 1 if self._circuit.is_open else self._sink.window)):
            yield [row.verdict for row in batch], batch[-1].position
        yield [], rows[-1].position

    def _refused(self, verdict: Verdict, why: str) -> bool:
        self._refusals += 1
        if self._refusals < self._options.attempts:
            self._failed(why)
            return False
        self._put_aside(verdict, why)
        return True

    def _put_aside(self, verdict: Verdict, why: str) -> None:
        log.error(
            "output %s: %s is given up after %d attempts: %s", self.sink_name, verdict.key, self._refusals, why
        )
        try:
            self._dead_letters.add(verdict, why=why, at=self._clock.now())
        except OSError as error:
            log.error("output %s: %s cannot be written: %s", self.sink_name, self._dead_letters.path, error)
        self._observer.sink_delivered(self.sink_name, "refused", 1)
        self._refusals = 0
        self._worked()

    def _worked(self) -> None:
        if self._circuit.is_open:
            log.warning("output %s works again, %d rows behind", self.sink_name, self._feed.lag)
        self._tried, self.fault = True, None
        self._circuit.worked()

    def _failed(self, why: str) -> None:
        if not self._circuit.is_open:
            log.warning("output %s waits: %s", self.sink_name, why)
        self._tried, self.fault = True, why
        self._circuit.failed()
        self._observer.sink_delivered(self.sink_name, "failed", 1)

    def _pause_s(self, more: bool) -> float:
        if self._circuit.is_open:
            return self._circuit.pause_s * self._jitter()
        return self._options.batch_pause_s if more else 0.0  # `attend` has waited already
