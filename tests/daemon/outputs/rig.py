"""An outbox, verdicts, and a delivery with short pauses, for the tests of outputs."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from core.decide import Decision
from daemon.clock import SystemClock
from daemon.flow import Frame, Identity, UninspectedReason, Verdict
from daemon.observer import Observer
from daemon.outputs.cursor import CursorFile
from daemon.outputs.dead_letters import DeadLetters
from daemon.outputs.delivery import Delivery, DeliveryOptions
from daemon.outputs.feed import Feed
from daemon.outputs.sink import Selection, Sink
from daemon.verdicts import Provenance, uninspected

AT = datetime(2026, 1, 2, tzinfo=UTC)
ALL = Selection(lines=frozenset(), decisions=frozenset(Decision))
QUICK = DeliveryOptions(
    batch_pause_s=0.001, idle_pause_s=0.005, first_retry_s=0.005, longest_retry_s=0.02, attempts=3
)


def verdict(number: int, *, line: int = 4, decision: Decision = Decision.REJECT) -> Verdict:
    frame = Frame(
        key=f"cam{line}:b1:{number}",
        identity=Identity(camera=f"cam{line}", line=line, seq=number),
        sha256="ab" * 32,
        received_at=AT,
        received_ns=0,
        deadline_ns=0,
    )
    by = Provenance(software_version="0", host="test")
    blank = uninspected(frame, UninspectedReason.DEADLINE, at=AT, total_ms=1, by=by)
    return replace(blank, decision=decision)


def key(number: int, line: int = 4) -> str:
    return f"cam{line}:b1:{number}"


class Counts(Observer):
    """What the delivery reports, from its thread."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.lost = 0
        self.up: bool | None = None
        self.lag = -1

    def sink(self, name: str, *, up: bool, lag_rows: int) -> None:
        self.up, self.lag = up, lag_rows

    def sink_delivered(self, name: str, result: str, count: int) -> None:
        self.results[result] += count

    def sink_lost(self, name: str, count: int) -> None:
        self.lost += count


@contextmanager
def delivering(
    sink: Sink, state: Path, counts: Counts | None = None, *, name: str = "plant", options: DeliveryOptions = QUICK
) -> Iterator[Delivery]:
    """A delivery that runs; it is finished at the end, and must have ended by then."""
    counts = counts or Counts()
    feed = Feed(
        outbox=state / "outbox.db", cursor=CursorFile(state, name), sink=name, lost=partial(counts.sink_lost, name)
    )
    delivery = Delivery(
        sink,
        feed,
        name=name,
        dead_letters=DeadLetters(state, name),
        observer=counts,
        clock=SystemClock(),
        options=options,
    )
    delivery.start()
    try:
        yield delivery
    finally:
        delivery.finish()
        delivery.join(20)
    assert not delivery.is_alive()


class Listed:
    """A sink that keeps what it is given; `fail` is raised as long as it is set."""

    def __init__(self, window: int = 3) -> None:
        self.window = window
        self.keys: list[str] = []
        self.fail: Exception | None = None
        self.attended = threading.Event()

    def takes(self, verdict: Verdict) -> bool:
        return verdict.line == 4

    def deliver(self, verdicts: list[Verdict]) -> None:
        if self.fail is not None:
            raise self.fail
        self.keys += [each.key for each in verdicts]

    def attend(self, wait_s: float) -> None:
        self.attended.set()
        threading.Event().wait(wait_s)

    def close(self) -> None:
        """Nothing."""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, PEM."""
    crt, private = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(private), "-out", str(crt), "-days", "2", "-subj", "/CN=plant",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return crt, private
