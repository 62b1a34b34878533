"""The cache and its server, over a real Redis-compatible server on a Unix socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from daemon.bank_cache import CHANNEL, BankCache, CacheUnavailable
from daemon.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from tests.daemon.redis_rig import running_redis, short_folder


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with running_redis() as server:
        yield server


@pytest.fixture
def cache(server: EmbeddedRedis) -> Iterator[BankCache]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    cache = BankCache(server.url)
    yield cache
    cache.close()


def test_bytes_come_back_as_they_were_put(cache: BankCache):
    data = bytes(range(256)) * 1000
    cache.put("cloth", "ab", data)
    assert cache.get("cloth", "ab") == data
    assert cache.get("cloth", "cd") is None
    assert cache.get("other", "ab") is None


def test_a_pointer_never_goes_back_to_an_older_revision(cache: BankCache):
    assert cache.point(4, {"revision": 2, "bank": "b"})
    assert not cache.point(4, {"revision": 1, "bank": "a"})
    assert cache.pointer(4) == {"revision": 2, "bank": "b"}
    assert cache.point(4, {"revision": 3, "bank": "c"})
    assert cache.pointer(4) == {"revision": 3, "bank": "c"}
    assert cache.pointer(5) is None


def test_a_pointer_that_cannot_be_read_is_replaced(cache: BankCache, server: EmbeddedRedis):
    with redis.Redis.from_url(server.url) as client:
        client.set("aprilgan:line:4:current", b"\xff not json")
    assert cache.pointer(4) is None
    assert cache.point(4, {"revision": 1})
    assert cache.pointer(4) == {"revision": 1}


def test_an_announcement_reaches_who_subscribed_before_it_and_noise_does_not(
    cache: BankCache, server: EmbeddedRedis
):
    feed = cache.subscribe()
    with redis.Redis.from_url(server.url) as client:
        for noise in (b"", b"four", b"9" * 5000, b"\xff"):
            client.publish(CHANNEL, noise)
    cache.announce(4)
    assert feed.poll(5.0) == {4}
    assert feed.poll(0.0) == frozenset()
    feed.close()


def test_a_dead_server_is_one_named_error_for_every_call():
    with running_redis() as server:
        cache = BankCache(server.url)
        feed = cache.subscribe()
        server.stop()
        for call in (
            lambda: cache.get("cloth", "ab"),
            lambda: cache.put("cloth", "ab", b""),
            lambda: cache.point(4, {"revision": 1}),
            lambda: cache.announce(4),
            lambda: cache.ping(),
            lambda: cache.subscribe(),
            lambda: feed.poll(5.0),
        ):
            with pytest.raises(CacheUnavailable):
                call()
        feed.close()
        cache.close()


def test_the_server_ignores_the_signals_that_end_its_group(server: EmbeddedRedis, cache: BankCache):
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)
    os.kill(server.pid, signal.SIGINT)
    assert cache.ping()
    assert server.alive
    assert os.getpgid(server.pid) == os.getpgid(0)


def test_a_socket_left_by_a_killed_life_is_taken_over():
    with short_folder() as folder:
        path = folder / "redis.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        server = EmbeddedRedis(path, folder / "data")
        server.start()
        cache = BankCache(server.url)
        assert cache.ping()
        cache.close()
        server.stop()
        assert not path.exists()


def test_a_socket_path_that_the_kernel_would_refuse_is_refused_with_its_length(tmp_path: Path):
    with pytest.raises(EmbeddedRedisError, match="107 bytes, got 1"):
        EmbeddedRedis(tmp_path / ("x" * 120), tmp_path)


def test_a_server_that_cannot_start_says_why():
    with short_folder() as folder:
        server = EmbeddedRedis(folder / "no" / "redis.sock", folder / "data")
        (folder / "data").mkdir()
        (folder / "data" / "server.log").mkdir()
        with pytest.raises(OSError, match=r"server\.log"):
            server.start()
        assert not server.alive
