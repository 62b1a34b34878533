"""Key files and the list of authorized keys: whole, private, and closed when in doubt."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import zmq
from zmq.auth import load_certificate

from daemon.authorized_keys import (
    AuthorizedKey,
    KeyRing,
    KeysUnreadable,
    Role,
    authorize,
    change_authorized,
    new_entry,
    read_authorized,
    revoke,
)
from daemon.key_files import KeyFileError, checked_public, new_pair, pair_of, read_pair, read_public, write_pair

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def entry(name: str, *, role: Role = Role.CAMERA, public_key: str | None = None) -> AuthorizedKey:
    return new_entry(name, role, public_key or new_pair().public, at=NOON, by="tester")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "authorized.json"


def let_in(path: Path, *entries: AuthorizedKey) -> None:
    for one in entries:
        change_authorized(path, partial(authorize, entry=one))


def let_in_some(path: Path, number: int) -> None:
    """For a process of its own: long enough that two of them meet."""
    let_in(path, *(entry(f"cam{number}-{each}") for each in range(40)))


def test_a_pair_comes_back_from_its_files_and_is_its_owners_alone(tmp_path: Path) -> None:
    pair = new_pair()
    public, secret = write_pair(tmp_path, "cam1", pair)
    assert (read_public(public), read_public(secret), read_pair(secret)) == (pair.public, pair.public, pair)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert pair.secret not in public.read_text()
    assert pair_of(pair.secret) == pair
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cam1.key", "cam1.key_secret"]


def test_any_sender_with_pyzmq_can_read_our_files(tmp_path: Path) -> None:
    pair = new_pair()
    _, secret = write_pair(tmp_path, "cam1", pair)
    assert load_certificate(secret) == (pair.public.encode(), pair.secret.encode())


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    _, secret = write_pair(tmp_path, "cam1", new_pair())
    before = secret.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_pair(tmp_path, "cam1", new_pair())
    assert secret.read_bytes() == before


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, secret = write_pair(tmp_path, "cam1", new_pair())
    secret.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"0640.*chmod 600"):
        read_pair(secret)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'public-key = "short"\n', b"public-key\nsecret-key"])
def test_a_damaged_key_file_is_named_and_not_repeated(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "cam1.key_secret"
    file.write_bytes(damage)
    for read in (read_public, read_pair):
        with pytest.raises(KeyFileError, match=r"cam1\.key_secret") as caught:
            read(file)
        assert "short" not in str(caught.value)


def test_a_secret_is_in_no_repr_and_in_no_error() -> None:
    pair = new_pair()
    assert pair.secret not in repr(pair)
    with pytest.raises(ValueError, match="39 characters") as caught:
        pair_of(pair.secret[:-1])
    assert pair.secret[:8] not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "a" * 39, "a" * 41, "a" * 39 + " ", "a" * 39 + "~", "é" * 40, "a" * 39 + "\n"]
)
def test_only_a_key_is_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="40 Z85"):
        checked_public(text)


def test_every_key_that_libzmq_makes_is_a_key() -> None:
    for _ in range(200):
        public, secret = zmq.curve_keypair()
        assert pair_of(secret.decode()).public == checked_public(public.decode())


def test_no_file_authorizes_nobody(path: Path) -> None:
    ring = KeyRing(path)
    assert (ring.admits(new_pair().public, Role.CAMERA), ring.fault) == (False, None)
    assert ring.holder(None, Role.CAMERA) is None


def test_a_key_comes_in_and_goes_without_a_new_ring(path: Path) -> None:
    ring, one = KeyRing(path), entry("cam1")
    let_in(path, one)
    assert ring.admits(one.public_key, Role.CAMERA)
    assert ring.holder(one.public_key, Role.CAMERA) == "cam1"
    change_authorized(path, lambda keys: revoke(keys, "cam1", Role.CAMERA))
    assert not ring.admits(one.public_key, Role.CAMERA)
    assert ring.holder(one.public_key, Role.CAMERA) is None


def test_a_key_opens_the_door_of_its_role_alone(path: Path) -> None:
    ring, hears = KeyRing(path), entry("scada", role=Role.SUBSCRIBER)
    let_in(path, hears)
    assert ring.admits(hears.public_key, Role.SUBSCRIBER)
    assert not ring.admits(hears.public_key, Role.CAMERA)
    assert ring.holder(hears.public_key, Role.CAMERA) is None


def test_only_a_key_that_goes_counts_as_dropped(path: Path) -> None:
    ring = KeyRing(path)
    let_in(path, entry("scada", role=Role.SUBSCRIBER), entry("cam1"))
    assert ring.dropped(Role.SUBSCRIBER) == 0
    change_authorized(path, lambda keys: revoke(keys, "cam1", Role.CAMERA))
    assert (ring.dropped(Role.SUBSCRIBER), ring.dropped(Role.CAMERA)) == (0, 1)
    change_authorized(path, lambda keys: revoke(keys, "scada", Role.SUBSCRIBER))
    assert ring.dropped(Role.SUBSCRIBER) == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"v": 2, "keys": []}',
        b'{"v": 1, "keys": [{}]}',
        b'{"v": 1, "keys": [], "everyone": true}',
        b'{"v": 1, "keys": "*"}',
        b"\x00" * 100,
        b"[" * 100_000,
    ],
)
def test_a_damaged_list_lets_nobody_new_in_and_takes_no_standing_right(path: Path, damage: bytes) -> None:
    ring, one = KeyRing(path), entry("cam1")
    let_in(path, one)
    assert ring.admits(one.public_key, Role.CAMERA)
    path.write_bytes(damage)
    assert not ring.admits(one.public_key, Role.CAMERA)
    assert ring.holder(one.public_key, Role.CAMERA) == "cam1"
    assert "authorized.json is damaged" in str(ring.fault)
    with pytest.raises(KeysUnreadable):
        change_authorized(path, lambda keys: keys)
    assert path.read_bytes() == damage  # no command mends it by forgetting everyone
    fresh = KeyRing(path)
    assert fresh.holder(one.public_key, Role.CAMERA) is None


def test_a_list_that_cannot_be_opened_lets_nobody_new_in_until_it_can(path: Path) -> None:
    ring, one = KeyRing(path), entry("cam1")
    let_in(path, one)
    good = path.read_bytes()
    path.unlink()
    path.mkdir()  # root may read anything else
    assert not ring.admits(one.public_key, Role.CAMERA)
    assert "cannot be read" in str(ring.fault)
    path.rmdir()
    path.write_bytes(good)
    assert ring.admits(one.public_key, Role.CAMERA)
    assert ring.fault is None


def test_a_list_that_is_too_large_is_not_read(path: Path) -> None:
    ring = KeyRing(path)
    let_in(path, entry("cam1"))
    os.truncate(path, 5 * 1024 * 1024)
    assert "expected at most" in str(ring.fault)


def test_a_key_has_one_owner(path: Path) -> None:
    one = entry("cam1")
    let_in(path, one, one)
    assert len(read_authorized(path).keys) == 1
    for thief in (
        entry("cam2", public_key=one.public_key),
        entry("cam1", role=Role.SUBSCRIBER, public_key=one.public_key),
    ):
        with pytest.raises(ValueError, match="belongs to camera cam1"):
            let_in(path, thief)
    twice = json.loads(path.read_text())
    twice["keys"] *= 2
    path.write_text(json.dumps(twice))
    with pytest.raises(KeysUnreadable, match="given twice"):
        read_authorized(path)


def test_one_of_a_cameras_two_keys_can_go(path: Path) -> None:
    old, new = entry("cam1"), entry("cam1")
    let_in(path, old, new)
    change_authorized(path, lambda keys: revoke(keys, "cam1", Role.CAMERA, old.public_key))
    assert read_authorized(path).keys == (new,)
    with pytest.raises(ValueError, match="no such key"):
        change_authorized(path, lambda keys: revoke(keys, "cam1", Role.CAMERA, old.public_key))
    with pytest.raises(ValueError, match="camera cam2 has no key"):
        change_authorized(path, lambda keys: revoke(keys, "cam2", Role.CAMERA))


def test_the_list_is_its_owners_alone(path: Path) -> None:
    let_in(path, entry("cam1"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_commands_at_the_same_time_lose_nothing(path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
        list(processes.map(partial(let_in_some, path), range(3)))
    names = {key.name for key in read_authorized(path).keys}
    assert names == {f"cam{number}-{each}" for number in range(3) for each in range(40)}
