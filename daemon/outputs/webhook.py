"""A webhook: every verdict as one POST of JSON, the next only after the last was answered 2xx.

`Idempotency-Key` is the verdict's key: a receiver that has seen it may answer 2xx and do nothing.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from daemon import __version__
from daemon.flow import Verdict
from daemon.outputs.sections import WebhookSettings
from daemon.outputs.sink import MessageRefused, Selection, SinkUnavailable
from daemon.wire_json import compact

MESSAGE_FAULTS = frozenset({400, 413, 415, 422})
"""Answers that say the message is wrong. Every other answer but 2xx says that the receiver, or our access, is."""
MAX_ANSWER_BYTES = 64 * 1024
KEEPALIVE_S = 5.0


class WebhookSink:
    """One connection at a time, kept open between messages. Raises OSError for a CA file that is none."""

    window = 1

    def __init__(self, settings: WebhookSettings, selection: Selection) -> None:
        self._url = settings.url.get_secret_value()
        parts = urlsplit(self._url)
        self._where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        self._token = settings.token
        self._selection = selection
        self._timeout_s = settings.timeout_s
        self._deadline = _Deadline()
        context = ssl.create_default_context(cafile=settings.ca_file) if parts.scheme == "https" else None
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=_PunctualBackend(self._deadline),
        )

    def takes(self, verdict: Verdict) -> bool:
        """Of its lines and decisions."""
        return self._selection.has(verdict)

    def deliver(self, verdicts: Sequence[Verdict]) -> None:
        """One POST each. Raises SinkUnavailable or MessageRefused."""
        for verdict in verdicts:
            self._judge(self._post(verdict))

    def attend(self, wait_s: float) -> None:
        """Nothing to keep up: a connection that the receiver closed is opened again when there is news."""
        time.sleep(wait_s)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _post(self, verdict: Verdict) -> int:
        """The status. The answer's body is read, so that the connection can be used again, and ignored."""
        self._deadline.set(self._timeout_s)
        try:
            with self._pool.stream(
                "POST", self._url, headers=self._headers(verdict), content=compact(verdict.public())
            ) as answer:
                size = 0
                for chunk in answer.iter_stream():
                    size += len(chunk)
                    if size > MAX_ANSWER_BYTES:
                        break
                return answer.status
        except httpcore2.TimeoutException as error:
            raise SinkUnavailable(f"{self._where} did not answer within {self._timeout_s:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            raise SinkUnavailable(f"{self._where}: {error or type(error).__name__}") from error

    def _headers(self, verdict: Verdict) -> Mapping[bytes | str, bytes | str]:
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/json",
            "User-Agent": f"aprilgan/{__version__}",
            # quoted: the header is a structured string (draft-ietf-httpapi-idempotency-key-header)
            "Idempotency-Key": f'"{verdict.key}"',
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return headers

    def _judge(self, status: int) -> None:
        if 200 <= status < 300:
            return
        if status in MESSAGE_FAULTS:
            raise MessageRefused(f"{self._where} answered {status}")
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        raise SinkUnavailable(f"{self._where} answered {status}{hint}")


class _Deadline:
    """When a whole exchange must be over: a receiver that drips bytes resets every other timeout."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = 0.0

    def set(self, seconds: float) -> None:
        self._at = self._monotonic() + seconds

    def left(self, too_late: type[Exception]) -> float:
        left = self._at - self._monotonic()
        if left <= 0:
            raise too_late("the deadline is over")
        return left


class _PunctualBackend(httpcore2.NetworkBackend):
    """The library's own sockets, each wait cut to what the deadline leaves."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(httpcore2.ConnectTimeout)
        stream = self._sockets.connect_tcp(host, port, left, local_address, socket_options)
        return _PunctualStream(stream, self._deadline)


class _PunctualStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(httpcore2.ConnectTimeout)
        return _PunctualStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
