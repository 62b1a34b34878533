"""MQTT 3.1.1, QoS 1: events of every verdict, a retained status a line, a retained word on whether we are there.

    TOPIC/status               retained  {"v":1,"online":true}; the last will says false
    TOPIC/line/<id>/verdict              the verdict as on PUB; `key` tells a repetition
    TOPIC/line/<id>/status     retained  the line's latest verdict, of whatever decision

One thread drives the client (`Client.loop`): no thread of the library's, and nothing is sent behind our back.
3.1.1 knows no refusal of one message, and a broker reads no payload: if it hangs up it is unavailable, each time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from paho.mqtt.client import Client, ConnectFlags, MQTTMessageInfo, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from daemon.flow import Verdict
from daemon.outputs.sections import MqttSettings
from daemon.outputs.sink import Selection, SinkUnavailable
from daemon.wire_json import compact

LOOP_S = 0.1
GOODBYE_S = 0.5


class MqttSink:
    """Raises OSError for a CA file that is none."""

    window = 50

    def __init__(self, settings: MqttSettings, selection: Selection, *, client_id: str) -> None:
        self._settings = settings
        self._selection = selection
        self._client_id = settings.client_id or client_id
        host, port, secure = settings.address
        self._where = f"the broker {host}:{port}"
        self._tls = ssl.create_default_context(cafile=settings.ca_file) if secure else None
        self._client: Client | None = None
        self._denied: str | None = None
        self._latest: dict[int, Verdict] = {}

    def takes(self, verdict: Verdict) -> bool:
        """Every decision of its lines: the retained status follows all of them."""
        return self._selection.has_line(verdict)

    def deliver(self, verdicts: Sequence[Verdict]) -> None:
        """Publish and wait for every PUBACK. Raises SinkUnavailable."""
        client = self._connected()
        latest = {verdict.line: verdict for verdict in verdicts}
        self._latest |= latest
        events = [self._tell(client, each) for each in verdicts if self._selection.has(each)]
        statuses = [self._tell_status(client, each) for each in latest.values()]
        self._until(lambda: all(info.is_published() for info in [*events, *statuses]), "PUBACK")

    def attend(self, wait_s: float) -> None:
        """Answer the broker and send pings. Raises SinkUnavailable."""
        self._connected()
        self._loop(wait_s)

    def close(self) -> None:
        """Say that we are gone, and part: after DISCONNECT the broker forgets the will."""
        client = self._client
        if client is None:
            return
        with suppress(SinkUnavailable):
            gone = self._publish(client, self._topic("status"), _presence(False), retain=True)
            self._until(gone.is_published, "PUBACK", GOODBYE_S)
            client.disconnect()
            client.loop_write()
        self._drop()

    def _connected(self) -> Client:
        """The client, connected, and what is retained said (a broker may have forgotten it)."""
        if self._client is not None:
            return self._client
        client = self._client = self._new_client()
        host, port, _ = self._settings.address
        try:
            client.connect(host, port, keepalive=self._settings.keepalive_s)
        except (OSError, ValueError) as error:
            self._drop()
            raise SinkUnavailable(f"{self._where} cannot be reached: {error}") from error
        self._until(client.is_connected, "CONNACK")
        sent = [self._publish(client, self._topic("status"), _presence(True), retain=True)]
        sent += [self._tell_status(client, verdict) for verdict in self._latest.values()]
        self._until(lambda: all(info.is_published() for info in sent), "PUBACK")
        return client

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=True,  # we resend from the outbox; nothing is sent to us
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self._denied = None
        client.on_connect = self._on_connect
        client.connect_timeout = self._settings.timeout_s
        client.will_set(self._topic("status"), _presence(False), qos=1, retain=True)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.get_secret_value() if password else None)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client

    def _on_connect(
        self,
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._denied = str(code) if code.is_failure else None

    def _publish(self, client: Client, topic: str, body: bytes, *, retain: bool = False) -> MQTTMessageInfo:
        info = client.publish(topic, body, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._hang_up(error_string(info.rc))
        return info

    def _until(self, done: Callable[[], bool], awaited: str, timeout_s: float | None = None) -> None:
        patience_s = timeout_s or self._settings.timeout_s
        end = time.monotonic() + patience_s
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                self._drop()
                raise SinkUnavailable(f"{self._where} sent no {awaited} within {patience_s:g} s")
            self._loop(min(left, LOOP_S))

    def _loop(self, wait_s: float) -> None:
        if self._client is None:
            raise SinkUnavailable(f"{self._where} is not connected")
        code = self._client.loop(wait_s)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._hang_up(self._denied or error_string(code))

    def _hang_up(self, why: str) -> None:
        self._drop()
        raise SinkUnavailable(f"{self._where}: {why}")

    def _drop(self) -> None:
        """Close without DISCONNECT; the broker tells the will, unless we said goodbye before."""
        client, self._client = self._client, None
        connection = client.socket() if client is not None else None
        if connection is not None:
            connection.close()

    def _topic(self, rest: str) -> str:
        return f"{self._settings.topic}/{rest}"

    def _tell(self, client: Client, verdict: Verdict) -> MQTTMessageInfo:
        return self._publish(client, self._topic(f"line/{verdict.line}/verdict"), compact(verdict.public()))

    def _tell_status(self, client: Client, verdict: Verdict) -> MQTTMessageInfo:
        topic = self._topic(f"line/{verdict.line}/status")
        return self._publish(client, topic, compact(verdict.public()), retain=True)


def _presence(online: bool) -> bytes:
    return compact({"v": 1, "online": online})
