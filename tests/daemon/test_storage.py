"""How the disk is judged: worse at once, better with room to spare, and the pictures that give way in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.decide import Decision
from daemon.families import DISK_STATES, PICTURE_CLASSES
from daemon.live_settings import needs_restart, worker_orders
from daemon.setting_sections import StorageSettings
from daemon.settings import Settings
from daemon.storage import CLASSES, WORSENING, DiskLimits, DiskState, giving_way, kept, narrowed, next_state

LIMITS = DiskLimits(low=1000, critical=500, full=100, recovery=1.2)
STATES = st.sampled_from(DiskState)
BYTES = st.integers(0, 3000)


@pytest.mark.parametrize(
    ("now", "free", "then"),
    [
        ("ok", 1000, "ok"),
        ("ok", 999, "low"),
        ("ok", 499, "critical"),
        ("ok", 99, "full"),
        ("low", 1199, "low"),
        ("low", 1200, "ok"),
        ("full", 119, "full"),
        ("full", 120, "critical"),
        ("full", 599, "critical"),
        ("full", 600, "low"),
        ("full", 1200, "ok"),
        ("low", 510, "low"),
        ("critical", 510, "critical"),
    ],
)
def test_a_state_begins_at_its_limit_and_ends_with_room_to_spare(now: str, free: int, then: str) -> None:
    assert next_state(DiskState(now), free, LIMITS) == then


@given(now=STATES, free=BYTES)
def test_a_second_look_at_the_same_disk_changes_nothing(now: DiskState, free: int) -> None:
    once = next_state(now, free, LIMITS)
    assert next_state(once, free, LIMITS) is once


@given(now=STATES, less=BYTES, more=BYTES)
def test_less_space_is_never_better(now: DiskState, less: int, more: int) -> None:
    less, more = sorted((less, more))
    worse, better = next_state(now, less, LIMITS), next_state(now, more, LIMITS)
    assert WORSENING.index(worse) >= WORSENING.index(better)


def test_accepted_pictures_give_way_first_rejected_ones_last_and_what_is_deleted_is_not_written() -> None:
    assert [[each.value for each in giving_way(state)] for state in DiskState] == [
        [],
        ["accept"],
        ["accept", "review"],
        ["accept", "review", "reject"],
    ]
    for state in DiskState:
        assert kept(state) == set(CLASSES) - set(giving_way(state))


def test_the_workers_orders_keep_what_the_settings_and_the_disk_both_allow() -> None:
    orders = worker_orders(Settings(heatmaps={"keep": "all"}, frames={"keep": "reject,review", "accept_every": 7}))
    assert narrowed(orders, DiskState.OK) == orders
    low = narrowed(orders, DiskState.LOW)
    assert (low.keep_heatmaps, low.keep_frames, low.keep_accepted_every) == (
        ("reject", "review"),
        ("reject", "review"),
        0,
    )
    assert narrowed(orders, DiskState.CRITICAL).keep_frames == ("reject",)
    assert narrowed(orders, DiskState.FULL).keep_heatmaps == ()


def test_a_small_file_system_is_judged_by_its_own_size() -> None:
    limits = DiskLimits.of(StorageSettings(), total_bytes=1000)
    assert (limits.low, limits.critical, limits.full) == (100, 50, 20)


def test_limits_that_do_not_fall_are_refused() -> None:
    with pytest.raises(ValidationError, match="low_mb > critical_mb > full_mb"):
        StorageSettings(low_mb=10, critical_mb=20)


def test_both_sections_may_change_while_the_daemon_runs() -> None:
    assert needs_restart(["storage.low_mb", "retention.accept_days"]) == []


def test_the_metrics_have_a_series_for_every_state_and_class() -> None:
    assert tuple(DiskState) == DISK_STATES
    assert tuple(Decision(name) for name in PICTURE_CLASSES) == CLASSES
