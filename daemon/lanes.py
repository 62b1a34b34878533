"""How a CPU is shared out to scoring: lanes, each with a batch of its own. Pure; daemon.warmup measures.

A small tower's pass is hundreds of short operations. Shared out to all cores, each of them ends in waiting for the
slowest core, and whoever else wants a core makes one late. Lanes do not wait for each other: a frame takes longer,
more of them are done (docs/notes/0009-engine.md). On a GPU a second lane prepares a batch while one is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.batching import DEADLINE_SHARE

GAIN = 1.05
"""More lanes must bring this many times the frames: they cost latency, and the memory of a batch each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """count: batches that are scored side by side. threads: that each of them computes with."""

    count: int = 1
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.count} lanes of {self.threads} threads"


def choices(cores: int) -> tuple[Lanes, ...]:
    """What may be measured on so many cores: 1, 2, 4, ... lanes that share them out evenly."""
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return tuple(shared_out(cores, count) for count in counts)


def shared_out(cores: int, count: int) -> Lanes:
    """So many lanes on so many cores; more lanes than cores have one thread each."""
    return Lanes(count=count, threads=max(1, cores // count))


def choose(batch_ns: Mapping[Lanes, int], *, shortest_deadline_ns: int) -> Lanes:
    """The most lanes that pay, each step against the one before.

    batch_ns: what a batch takes while all lanes are busy, by lanes, from one to many. None takes more than a
    quarter of the shortest deadline for the sake of others.
    """
    (chosen, before_ns), *more = batch_ns.items()
    for lanes, after_ns in more:
        gain = lanes.count * before_ns / (chosen.count * after_ns)
        if gain < GAIN or after_ns * DEADLINE_SHARE > shortest_deadline_ns:
            break
        chosen, before_ns = lanes, after_ns
    return chosen
