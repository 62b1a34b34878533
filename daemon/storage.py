"""How full the disk is, and which pictures give way to what must be written: `ok | low | critical | full`. Pure.

Accepted parts' pictures go first, then those of parts for review, then the rejected ones; verdicts never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from core.decide import Decision
from daemon.link import WorkerOrders
from daemon.setting_sections import MIB, StorageSettings


class DiskState(StrEnum):
    """From good to bad. Also the values of the metrics label `state`."""

    OK = "ok"
    LOW = "low"
    CRITICAL = "critical"
    FULL = "full"


WORSENING = tuple(DiskState)
CLASSES = (Decision.ACCEPT, Decision.REVIEW, Decision.REJECT)
"""Decisions that have pictures, in the order in which these give way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLimits:
    """Free bytes below which a state begins; `recovery` times as many must be free before it ends."""

    low: int
    critical: int
    full: int
    recovery: float = 1.2

    @classmethod
    def of(cls, settings: StorageSettings, *, total_bytes: int) -> DiskLimits:
        """The settings' limits, and on a small file system no more than 10, 5 and 2 % of it."""
        return cls(
            low=min(settings.low_mb * MIB, total_bytes // 10),
            critical=min(settings.critical_mb * MIB, total_bytes // 20),
            full=min(settings.full_mb * MIB, total_bytes // 50),
            recovery=settings.recovery,
        )

    def below(self, state: DiskState) -> int:
        """Where this state begins; 0 for `ok`, which needs no limit of its own."""
        return {DiskState.LOW: self.low, DiskState.CRITICAL: self.critical, DiskState.FULL: self.full}.get(
            state, 0
        )


def next_state(now: DiskState, free_bytes: int, limits: DiskLimits) -> DiskState:
    """Worse at once, better only with room to spare: a disk at a limit does not flap."""
    worst = DiskState.OK
    for state in WORSENING[1:]:
        began = WORSENING.index(state) <= WORSENING.index(now)
        if free_bytes < limits.below(state) * (limits.recovery if began else 1.0):
            worst = state
    return worst


def kept(state: DiskState) -> frozenset[Decision]:
    """The decisions whose pictures are still written."""
    return frozenset(CLASSES[WORSENING.index(state) :])


def giving_way(state: DiskState) -> tuple[Decision, ...]:
    """The decisions whose pictures are deleted, oldest first, until the state is over."""
    return CLASSES[: WORSENING.index(state)]


def narrowed(orders: WorkerOrders, state: DiskState) -> WorkerOrders:
    """The same orders, without the pictures that this state does not keep."""
    still = kept(state)
    return replace(
        orders,
        keep_heatmaps=_among(orders.keep_heatmaps, still),
        keep_frames=_among(orders.keep_frames, still),
        keep_accepted_every=orders.keep_accepted_every if Decision.ACCEPT in still else 0,
    )


def _among(decisions: Iterable[str], still: frozenset[Decision]) -> tuple[str, ...]:
    return tuple(each for each in decisions if each in still)
