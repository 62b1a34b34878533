"""The pages over real HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Gauge

from daemon.health import BindError, HealthServer, Pages, parse_bind
from daemon.readiness import CHECKS, Check, Facts, readiness
from daemon.settings import ConfigurationError

GOOD = Facts(
    serving=True,
    schema=None,
    worker=None,
    selftest="skipped",
    missing_banks={},
    outbox_rows=0,
    outbox_max_rows=100,
)


class Stage:
    """A running server whose readiness a test can change."""

    def __init__(self) -> None:
        self.facts = GOOD
        registry = CollectorRegistry()
        Gauge("aprilgan_thing", "A thing.", registry=registry).set(3)
        pages = Pages(
            registry=registry,
            live=lambda: {"loop": Check(ok=True, detail="turning")},
            ready=lambda: readiness(self.facts),
            status=lambda: {"lines": {"4": {"bank": "ab"}}},
        )
        self.server = HealthServer("127.0.0.1:0", pages)
        self.server.start()

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.server.stop()


def test_ready_is_200_with_every_check_named(stage: Stage) -> None:
    status, _, body = stage.ask("/readyz")
    answer = json.loads(body)
    assert status == 200
    assert answer["ok"] is True
    assert tuple(answer["checks"]) == CHECKS


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"serving": False}, "serving"),
        ({"schema": "is at 0001, expected 0002"}, "schema"),
        ({"worker": "loading"}, "worker"),
        ({"selftest": "failed"}, "selftest"),
        ({"missing_banks": {4: "not enrolled"}}, "banks"),
        ({"outbox_rows": 100}, "outbox"),
    ],
)
def test_one_failing_check_makes_it_503_and_says_which(
    stage: Stage, change: dict[str, object], check: str
) -> None:
    stage.facts = replace(GOOD, **change)  # type: ignore[arg-type]
    status, _, body = stage.ask("/readyz")
    checks = json.loads(body)["checks"]
    assert status == 503
    assert [name for name, state in checks.items() if not state["ok"]] == [check]


def test_live_status_and_metrics_answer(stage: Stage) -> None:
    assert stage.ask("/livez")[0] == 200
    assert json.loads(stage.ask("/statusz")[2])["lines"]["4"]["bank"] == "ab"
    status, headers, body = stage.ask("/metrics")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert b"aprilgan_thing 3.0" in body


def test_openmetrics_is_spoken_when_asked_for(stage: Stage) -> None:
    _, headers, body = stage.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_get_is_answered(stage: Stage, method: str) -> None:
    assert stage.ask("/metrics", method)[0] == 501


def test_an_unknown_page_is_404_and_names_the_others(stage: Stage) -> None:
    status, _, body = stage.ask("/etc/passwd")
    assert status == 404
    assert "/readyz" in json.loads(body)["pages"]


def test_a_client_that_says_nothing_does_not_hold_up_the_next(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.server.port)):
        assert stage.ask("/livez")[0] == 200


@pytest.mark.parametrize("bind", ["0.0.0.0:9108", "192.168.1.4:9108", "[::]:9108", "9108", "host:x", "::1"])
def test_an_address_that_is_not_loopback_is_refused(bind: str) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        parse_bind(bind)


def test_a_taken_port_is_an_error_at_construction(stage: Stage) -> None:
    with pytest.raises(BindError, match="in use"):
        HealthServer(
            f"127.0.0.1:{stage.server.port}",
            Pages(registry=CollectorRegistry(), live=dict, ready=dict, status=dict),
        )
