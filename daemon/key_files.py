"""CURVE key pairs as files, in ZeroMQ's own certificate format, so that any sender with pyzmq can read them.

`NAME.key_secret` holds both halves and is for its owner alone (0600); `NAME.key` holds the public half. A key
in text is Z85, 40 characters. What is secret is in no repr and no message.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate

from daemon.durable import sync_folder

SERVER = "server"
PUBLIC_HALF = ".key"
BOTH_HALVES = ".key_secret"
_Z85_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(Exception):
    """A key file that is missing, damaged or open to others; the message names the file, never its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A Curve25519 pair, both halves in Z85."""

    public: str
    secret: str = field(repr=False)


def new_pair() -> KeyPair:
    """A pair from the system's randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public=public.decode("ascii"), secret=secret.decode("ascii"))


def pair_of(secret: str) -> KeyPair:
    """The pair of a secret key. Raises ValueError for what is no key, without repeating it."""
    if not _Z85_KEY.fullmatch(secret):
        raise ValueError(f"expected a secret key of 40 Z85 characters, got {len(secret)} characters")
    return KeyPair(public=zmq.curve_public(secret.encode("ascii")).decode("ascii"), secret=secret)


def checked_public(text: str) -> str:
    """A public key as it was given. Raises ValueError for what is no key."""
    if not _Z85_KEY.fullmatch(text):
        raise ValueError(f"expected a public key of 40 Z85 characters, got {text[:80]!r}")
    return text


def write_pair(folder: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    """Write `NAME.key` and `NAME.key_secret` (0600); their paths. Never replaces a file.

    Raises KeyFileError where one is there already, OSError.
    """
    public, secret = folder / f"{name}{PUBLIC_HALF}", folder / f"{name}{BOTH_HALVES}"
    taken = next((path for path in (secret, public) if path.exists()), None)
    if taken is not None:
        raise KeyFileError(f"{taken} is there already; a key is never overwritten")
    # the secret first: a public half without it is of no use
    _create(secret, _certificate(pair, with_secret=True), mode=0o600)
    _create(public, _certificate(pair, with_secret=False), mode=0o644)
    sync_folder(folder)
    return public, secret


def read_public(path: Path) -> str:
    """The public key of a certificate, either kind. Raises KeyFileError."""
    try:
        public, _ = load_certificate(path)
        return checked_public(public.decode("ascii"))
    except (OSError, ValueError, IndexError) as error:
        raise KeyFileError(f"{path}: expected a file with a public key ({_why(error)})") from error


def read_pair(path: Path) -> KeyPair:
    """Both halves of a `.key_secret`. Raises KeyFileError, also when others than its owner may open it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        _, secret = load_certificate(path)
        pair = pair_of((secret or b"").decode("ascii"))
    except (OSError, ValueError, IndexError) as error:
        raise KeyFileError(f"{path}: expected a file with a secret key ({_why(error)})") from error
    if mode & _GROUP_AND_OTHERS:
        raise KeyFileError(f"{path}: expected a file for its owner alone (0600), got {mode:04o}: chmod 600 it")
    return pair


def _why(error: Exception) -> str:
    """What is wrong, without any of the file's content."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "missing" if isinstance(error, OSError) else "damaged"


def _certificate(pair: KeyPair, *, with_secret: bool) -> bytes:
    what = "secret: give it to nobody" if with_secret else "public"
    lines = [f"#   ZeroMQ CURVE certificate, {what}", "metadata", "curve", f'    public-key = "{pair.public}"']
    if with_secret:
        lines.append(f'    secret-key = "{pair.secret}"')
    return "\n".join([*lines, ""]).encode("ascii")


def _create(path: Path, data: bytes, *, mode: int) -> None:
    """A new file, whole or not at all. Raises KeyFileError where one is there already, OSError."""
    descriptor, draft = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)  # 0600 from its first moment
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        os.link(draft, path)  # unlike rename, never takes another's place
    except FileExistsError as error:
        raise KeyFileError(f"{path} is there already; a key is never overwritten") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
