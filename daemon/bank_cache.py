"""Redis as what it is here: an untrusted cache of bank bytes, and a bell that rings when a line changed.

Nothing is verified in this file; whoever reads a bank compares its sha256 with SQL's. Everything can be
lost at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.retry import Retry

CHANNEL = "aprilgan:changed"
MAX_LINE_DIGITS = 6
TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 0.5
NEVER = Retry(NoBackoff(), 0)
"""No second try: whoever asks goes on without Redis, and asks again later."""


class CacheUnavailable(Exception):
    """Redis does not answer. The caller goes on without it."""


class BankCache:
    """Banks by product and digest, the pointer of each line, and the announcements of changes.

    url: redis://, rediss:// or unix://; it may hold a password, so it is in no message. Every method
    raises CacheUnavailable where Redis is down or slow (2 s).
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, retry=NEVER
        )

    def get(self, product: str, sha256: str) -> bytes | None:
        """The bytes cached under this name, whatever they are, or None."""
        with _unavailable("get"):
            return _bytes_or_none(self._redis.get(_bank_key(product, sha256)))

    def put(self, product: str, sha256: str, data: bytes) -> None:
        """Cache a bank's bytes."""
        with _unavailable("put"):
            self._redis.set(_bank_key(product, sha256), data)

    def point(self, line: int, assignment: Mapping[str, Any]) -> bool:
        """Set what a line runs, unless Redis knows a newer revision; whether it was set.

        assignment: JSON values with an integer "revision". A pointer that cannot be read is replaced.
        """
        key, revision = _line_key(line), int(assignment["revision"])

        def swap(pipe: Pipeline) -> bool:
            newer = _revision(_bytes_or_none(pipe.get(key))) > revision
            pipe.multi()
            if not newer:
                pipe.set(key, json.dumps(dict(assignment), sort_keys=True))
            return not newer

        with _unavailable("point"):
            done: Any = self._redis.transaction(cast(Any, swap), key, value_from_callable=True)
            return bool(done)

    def pointer(self, line: int) -> dict[str, Any] | None:
        """What Redis says a line runs, or None where it says nothing that can be read."""
        with _unavailable("pointer"):
            return _decode(_bytes_or_none(self._redis.get(_line_key(line))))

    def announce(self, line: int) -> None:
        """Ring the bell: this line's assignment changed in SQL."""
        with _unavailable("announce"):
            self._redis.publish(CHANNEL, str(line))

    def subscribe(self) -> ChangeFeed:
        """Listen to the announcements from now on."""
        with _unavailable("subscribe"):
            feed: Any = cast(Any, self._redis).pubsub(ignore_subscribe_messages=True)
            feed.subscribe(CHANNEL)
            feed.get_message(timeout=TIMEOUT_S)  # the confirmation: from here on nothing is missed
            return ChangeFeed(feed)

    def ping(self) -> bool:
        """True; anything else is CacheUnavailable."""
        with _unavailable("ping"):
            return bool(self._redis.ping())

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()


class ChangeFeed:
    """The announcements since `subscribe`. Belongs to one thread."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def poll(self, timeout_s: float) -> frozenset[int]:
        """The lines announced within `timeout_s`, at once when there is one. Raises CacheUnavailable."""
        lines: set[int] = set()
        with _unavailable("poll"):
            message = self._feed.get_message(timeout=timeout_s)
            while message is not None:
                lines |= _announced(message["data"])
                message = self._feed.get_message(timeout=0)
        return frozenset(lines)

    def close(self) -> None:
        """Stop listening."""
        self._feed.close()


def _announced(data: Any) -> set[int]:
    """The line id in an announcement; none in what is no announcement of ours."""
    ours = isinstance(data, bytes) and data.isdigit() and len(data) <= MAX_LINE_DIGITS
    return {int(data)} if ours else set()


def _bank_key(product: str, sha256: str) -> str:
    return f"aprilgan:bank:{product}:{sha256}"


def _line_key(line: int) -> str:
    return f"aprilgan:line:{line}:current"


def _bytes_or_none(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _decode(data: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(data or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _revision(data: bytes | None) -> int:
    """The revision a stored pointer names; below every real one where it cannot be read."""
    revision = (_decode(data) or {}).get("revision")
    return revision if isinstance(revision, int) else -1


@contextmanager
def _unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise CacheUnavailable(f"Redis did not answer a {doing}: {type(error).__name__}") from error
