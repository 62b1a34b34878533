"""Outputs of the real daemon: verdicts on MQTT and at a webhook, through kills on both sides."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.daemon.outputs.broker import Broker
from tests.daemon.outputs.receiver import Receiver
from tests.end_to_end.harness import RunningDaemon, a_daemon, picture, until
from tests.end_to_end.senders import Camera

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

PRESENCE = "aprilgan/status"
ONLINE, OFFLINE = b'{"v":1,"online":true}', b'{"v":1,"online":false}'


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(broker: Broker, receiver: Receiver) -> Iterator[RunningDaemon]:
    """A daemon whose line has no bank: every part gets its verdict all the same."""
    outputs = (
        f'[mqtt.plant]\nurl = "mqtt://127.0.0.1:{broker.port}"\ntimeout_s = 1\n'
        f'[webhooks.mes]\nurl = "http://127.0.0.1:{receiver.port}/hook/s3cretpath"\ntimeout_s = 1\n'
    )
    with a_daemon(extra=outputs) as running:
        yield running.start()


def inspect(daemon: RunningDaemon, count: int) -> list[str]:
    """Frames that are inspected; their keys."""
    with Camera(daemon) as camera:
        return [camera.send(picture(number))["key"] for number in range(count)]


def on_mqtt(broker: Broker) -> list[str]:
    return [json.loads(payload)["key"] for payload in broker.payloads("aprilgan/line/4/verdict")]


def outputs(daemon: RunningDaemon) -> dict[str, dict[str, object]]:
    page = daemon.page("statusz")
    assert page is not None
    return dict(page["outputs"])


def test_both_get_every_verdict_and_the_pages_say_so(
    daemon: RunningDaemon, broker: Broker, receiver: Receiver
) -> None:
    keys = inspect(daemon, 5)
    until(lambda: on_mqtt(broker) == keys and receiver.keys == keys, "five verdicts at both")
    until(lambda: daemon.total("sink_deliveries_total", sink="mes", result="delivered") == 5, "the count")
    assert daemon.total("sink_up", sink="plant") == 1
    assert daemon.total("sink_lag_rows") == 0
    assert broker.retained[PRESENCE] == ONLINE
    assert json.loads(broker.retained["aprilgan/line/4/status"])["key"] == keys[-1]


def test_dead_ends_are_degraded_never_not_ready_and_catch_up(
    daemon: RunningDaemon, broker: Broker, receiver: Receiver
) -> None:
    before = set(on_mqtt(broker))
    broker.kill()
    receiver.answer = receiver.refuse(500)
    keys = inspect(daemon, 5)
    until(lambda: not any(each["up"] for each in outputs(daemon).values()), "both to be down")
    status, ready = daemon.page("statusz"), daemon.page("readyz")
    assert status is not None
    assert {"output plant", "output mes"} <= set(status["degraded"])
    assert ready is not None
    assert not [name for name in ready["checks"] if "output" in name]
    assert "s3cretpath" not in json.dumps(status) + daemon.log.read_text()
    broker.start()
    receiver.answer = receiver.take
    until(lambda: set(keys) <= set(receiver.keys), "the webhook to catch up")
    until(lambda: set(keys) <= set(on_mqtt(broker)) - before, "MQTT to catch up")
    until(lambda: all(each["up"] for each in outputs(daemon).values()), "both to be up")


def test_a_killed_daemon_leaves_its_will_and_the_next_life_delivers_what_was_missed(
    daemon: RunningDaemon, broker: Broker, receiver: Receiver
) -> None:
    receiver.answer = receiver.refuse(503)
    keys = inspect(daemon, 3)
    daemon.kill()
    until(lambda: broker.retained[PRESENCE] == OFFLINE, "the last will")
    assert not set(keys) & set(receiver.keys)
    receiver.answer = receiver.take
    daemon.start()
    until(lambda: set(keys) <= set(receiver.keys), "what was missed")
    until(lambda: broker.retained[PRESENCE] == ONLINE, "presence")
    first = list(dict.fromkeys(receiver.keys))
    assert [key for key in first if key in keys] == keys


def test_a_stop_says_goodbye_and_a_webhook_that_hangs_does_not_hold_it_up(
    daemon: RunningDaemon, broker: Broker, receiver: Receiver
) -> None:
    receiver.answer = receiver.hang
    inspect(daemon, 1)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert broker.retained[PRESENCE] == OFFLINE


def test_a_cursor_lies_in_the_state_folder_and_holds_no_secret(daemon: RunningDaemon) -> None:
    files = sorted(path.name for path in (daemon.state / "outputs").glob("[!.]*"))
    assert files == ["mes.cursor", "plant.cursor"]
