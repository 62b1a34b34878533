"""The pictures that banks were built from and calibrated on, as they came: `STATE/banks/<product>/sources`.

A thinned bank cannot be taken apart again, so adding or removing a reference builds it anew, and for that the
pictures must still be there. They are named by what is in them: a picture in ten banks lies there once, and one
that was changed is noticed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import core
from core.errors import BankError
from daemon.bank_store import bank_folder
from daemon.durable import write_durably

FOLDER = "sources"
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png"}
"""By how the file begins: whoever looks into the folder should be able to open it."""


class SourcePictures:
    """One product's pictures. Raises ValueError for a product whose name may not be a path."""

    def __init__(self, state: Path, product: str) -> None:
        self.folder = state / bank_folder(product) / FOLDER

    def keep(self, data: bytes) -> str:
        """Store a JPEG or PNG file unless it is there; returns its sha256. Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self.find(sha256) is None:
            write_durably(self.folder / f"{sha256}{SUFFIXES.get(data[:2], '.bin')}", data)
        return sha256

    def read(self, name: str, sha256: str) -> core.Sample:
        """A picture as a sample called `name`. Raises BankError where it is missing or not what it was."""
        path = self.find(sha256)
        if path is None:
            raise BankError(f"the picture {name} ({sha256[:12]}) is not among {self.folder}")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BankError(f"cannot read {path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BankError(f"the picture {path} was changed since it was enrolled")
        return core.Sample.from_bytes(name, data)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of the sha256 whose picture is not there."""
        return [sha256 for sha256 in digests if self.find(sha256) is None]

    def find(self, sha256: str) -> Path | None:
        """Where the picture lies, None where it was not kept."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            return None
        return next((path for path in self.folder.glob(f"{sha256}.*") if path.is_file()), None)
