"""Which changes a running daemon takes over: a decision over two settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.live_settings import LIVE, changed, ingress_options, needs_restart, worker_orders
from daemon.settings import Settings

LINES: list[dict[str, Any]] = [{"id": 4}]


def settings(**sections: Any) -> Settings:
    return Settings(**({"lines": LINES} | sections))


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({}, []),
        ({"lines": [{"id": 4, "deadline_ms": 90}]}, ["lines"]),
        ({"cameras": [{"name": "top", "line": 4}]}, ["cameras"]),
        ({"heatmaps": {"keep": "all"}, "frames": {"accept_every": 0}}, ["heatmaps.keep", "frames.accept_every"]),
        ({"ingest": {"window": 9, "retry_after_ms": 3}}, ["ingest.window", "ingest.retry_after_ms"]),
        ({"log": {"level": "DEBUG"}}, ["log.level"]),
    ],
)
def test_what_a_running_daemon_takes_over(sections: dict[str, Any], names: list[str]) -> None:
    found = changed(settings(), settings(**sections))
    assert sorted(found) == sorted(names)
    assert needs_restart(found) == []


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"ingest": {"bind": "tcp://127.0.0.1:1"}}, "ingest.bind"),
        ({"ingest": {"security": "curve"}}, "ingest.security"),
        ({"state": {"dir": Path("elsewhere")}}, "state.dir"),
        ({"model": {"preset": "sdp"}}, "model.preset"),
        ({"records": {"url": "postgresql://user:hush@host/db"}}, "records.url"),
        ({"redis": {"url": "redis://:hush@host"}}, "redis.url"),
        ({"worker": {"standby": True}}, "worker.standby"),
        ({"webhooks": {"mes": {"url": "http://127.0.0.1/"}}}, "webhooks"),
    ],
)
def test_what_needs_a_restart_is_named_and_its_value_is_not(sections: dict[str, Any], name: str) -> None:
    found = changed(settings(), settings(**sections))
    assert needs_restart(found) == [name]


def test_every_live_setting_exists() -> None:
    for name in LIVE:
        section, _, field = name.partition(".")
        assert section in Settings.model_fields
        assert not field or field in type(getattr(settings(), section)).model_fields


def test_every_live_setting_reaches_a_part_that_runs() -> None:
    """Each of them changes what one of the parts is told; lines, cameras and the rest of them are told apart."""
    one = settings()
    other = settings(
        ingest={"window": 9, "max_in_flight": 9, "max_in_flight_bytes": 2**21, "max_message_bytes": 2**21}
        | {"retry_after_ms": 9},
        heatmaps={"keep": "none"},
        frames={"keep": "none", "accept_every": 9},
        log={"level": "ERROR", "format": "text"},
        lines=[{"id": 5}],
    )
    told, also = (ingress_options(each, drain_s=1.0) for each in (one, other))
    bounds = ("window", "max_in_flight", "max_in_flight_bytes", "limits", "retry_after_ms")
    assert not [name for name in bounds if getattr(told, name) == getattr(also, name)]
    orders, others = worker_orders(one), worker_orders(other)
    assert not [
        name for name in type(orders).__dataclass_fields__ if getattr(orders, name) == getattr(others, name)
    ]
