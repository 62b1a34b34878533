"""MQTT against a broker that speaks the protocol on a real socket, and is killed."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.decide import Decision
from daemon.outbox import Outbox
from daemon.outputs.cursor import CursorFile
from daemon.outputs.mqtt import MqttSink
from daemon.outputs.sections import MqttSettings
from daemon.outputs.sink import Selection, SinkUnavailable
from tests.daemon.outputs.broker import Broker
from tests.daemon.outputs.rig import ALL, certificate, delivering, key, verdict
from tests.daemon.patience import until

ONLINE, OFFLINE = b'{"v":1,"online":true}', b'{"v":1,"online":false}'


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db")
    CursorFile(tmp_path, "plant").write(0)
    yield journal
    journal.close()


def sink(broker: Broker, *, selection: Selection = ALL, **more: Any) -> MqttSink:
    url = f"{more.pop('scheme', 'mqtt')}://127.0.0.1:{broker.port}"
    return MqttSink(MqttSettings(url=url, topic="plant/pc7", **more), selection, client_id="test")


def keys(broker: Broker, line: int = 4) -> list[str]:
    return [json.loads(payload)["key"] for payload in broker.payloads(f"plant/pc7/line/{line}/verdict")]


def test_events_status_and_presence_stand_where_the_note_says(broker: Broker) -> None:
    plant = sink(broker)
    plant.deliver([verdict(1, decision=Decision.ACCEPT), verdict(1, line=5)])
    assert keys(broker) == [key(1)]
    assert json.loads(broker.retained["plant/pc7/line/4/status"]) == verdict(1, decision=Decision.ACCEPT).public()
    assert broker.retained["plant/pc7/status"] == ONLINE
    plant.deliver([verdict(2)])
    assert json.loads(broker.retained["plant/pc7/line/4/status"])["decision"] == "reject"
    assert not [each for each in broker.received if each.topic.endswith("verdict") and each.retain]
    plant.close()
    assert broker.retained["plant/pc7/status"] == OFFLINE
    assert [each.payload for each in broker.received].count(OFFLINE) == 1  # said once: no will after a goodbye


def test_the_status_follows_decisions_that_are_no_events(broker: Broker) -> None:
    plant = sink(broker, selection=Selection(lines=frozenset({4}), decisions=frozenset({"reject"})))
    plant.deliver([verdict(1), verdict(2, decision=Decision.ACCEPT)])
    assert keys(broker) == [key(1)]
    assert json.loads(broker.retained["plant/pc7/line/4/status"])["key"] == key(2)
    assert not plant.takes(verdict(3, line=5))
    plant.close()


def test_a_client_that_vanishes_leaves_its_will(broker: Broker) -> None:
    plant = sink(broker)
    plant.attend(0)
    assert broker.retained["plant/pc7/status"] == ONLINE
    plant._drop()
    until(lambda: broker.retained["plant/pc7/status"] == OFFLINE)


def test_a_broker_that_forgot_everything_is_told_again(broker: Broker) -> None:
    plant = sink(broker)
    plant.deliver([verdict(1)])
    broker.kill()
    with pytest.raises(SinkUnavailable):
        plant.attend(20)
    broker.start()
    plant.attend(0)
    assert broker.retained["plant/pc7/status"] == ONLINE
    assert json.loads(broker.retained["plant/pc7/line/4/status"])["key"] == key(1)
    plant.close()


def test_a_broker_killed_again_and_again_gets_each_key_in_order_line_by_line(
    broker: Broker, outbox: Outbox, tmp_path: Path
) -> None:
    count, stop = 300, threading.Event()

    def restart() -> None:
        while not stop.wait(0.03):
            broker.kill()
            stop.wait(0.01)
            broker.start()

    killer = threading.Thread(target=restart)
    with delivering(sink(broker), tmp_path):
        killer.start()
        for number in range(count):
            outbox.commit(verdicts=[verdict(number), verdict(number, line=5)])
        until(lambda: broker.connects >= 4)
        stop.set()
        killer.join()
        until(lambda: key(count - 1, 5) in keys(broker, 5) and key(count - 1) in keys(broker))
    for line in (4, 5):
        firsts = list(dict.fromkeys(keys(broker, line)))
        assert firsts == [key(number, line) for number in range(count)]


def test_no_puback_means_not_delivered(broker: Broker) -> None:
    plant = sink(broker, timeout_s=0.2)
    plant.attend(0)
    broker.acknowledge = False
    with pytest.raises(SinkUnavailable, match=r"no PUBACK within 0\.2 s"):
        plant.deliver([verdict(1)])
    broker.acknowledge = True
    plant.deliver([verdict(1)])
    assert keys(broker) == [key(1)]
    plant.close()


def test_a_wrong_password_is_said_and_the_right_one_works() -> None:
    with Broker(password="s3cret") as broker:
        wrong = sink(broker, username="pc7", password="guess")
        with pytest.raises(SinkUnavailable, match=r"(?i)bad user name or password|not authori") as caught:
            wrong.attend(0)
        assert "guess" not in str(caught.value)
        right = sink(broker, username="pc7", password="s3cret")
        right.deliver([verdict(1)])
        assert keys(broker) == [key(1)]
        right.close()


def test_a_broker_that_is_not_there_is_named(broker: Broker) -> None:
    broker.kill()
    with pytest.raises(SinkUnavailable, match=f"127.0.0.1:{broker.port} cannot be reached"):
        sink(broker).attend(0)


# paho leaves a socket whose handshake failed to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mqtts_trusts_the_plants_own_ca_and_no_other(tmp_path: Path) -> None:
    crt, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, private)
    with Broker(tls=context) as broker:
        known = sink(broker, scheme="mqtts", ca_file=crt)
        known.deliver([verdict(1)])
        assert keys(broker) == [key(1)]
        known.close()
        with pytest.raises(SinkUnavailable, match=r"(?i)certificate"):
            sink(broker, scheme="mqtts").attend(0)
