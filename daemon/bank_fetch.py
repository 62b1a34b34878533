"""Where a bank's bytes come from: Redis, then the file. Neither is believed before its sha256 is SQL's."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import BankError
from daemon.bank_cache import BankCache, CacheUnavailable
from daemon.record_rows import LineAssignment

log = logging.getLogger(__name__)


class BankFetch:
    """Fetches banks for the keeper's thread.

    cache: None does without Redis. read_bank: (bytes, sha256) -> core.ReferenceBank, raising BankError.
    """

    def __init__(self, *, cache: BankCache | None, state: Path, read_bank: Callable[[bytes, str], Any]) -> None:
        self._cache = cache
        self._state = state
        self._read_bank = read_bank
        self.loads: Counter[str] = Counter()
        """"source/result" -> count, as in WorkerStatus."""

    def fetch(self, assignment: LineAssignment) -> Any:
        """The bank of an assignment. Raises BankError, naming every place that was looked in vain."""
        data = self._from_redis(assignment.product, assignment.bank_sha256)
        if data is None:
            data = self._from_file(assignment)
            self._refill(assignment, data)
        bank = self._read_bank(data, assignment.bank_sha256)
        if bank.header.product != assignment.product:
            raise BankError(
                f"line {assignment.line} makes {assignment.product!r}, "
                f"its bank {assignment.bank_sha256[:12]} was made for {bank.header.product!r}"
            )
        return bank

    def _from_redis(self, product: str, sha256: str) -> bytes | None:
        if self._cache is None:
            return None
        try:
            data = self._cache.get(product, sha256)
        except CacheUnavailable:
            self.loads["redis/unavailable"] += 1
            return None
        if data is None:
            self.loads["redis/miss"] += 1
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            self.loads["redis/bad_sha"] += 1
            log.error("Redis holds other bytes under the bank %s of %s; reading the file", sha256[:12], product)
            return None
        self.loads["redis/ok"] += 1
        return data

    def _from_file(self, assignment: LineAssignment) -> bytes:
        try:
            data = (self._state / assignment.bank_path).read_bytes()
        except OSError as error:
            self.loads["file/missing"] += 1
            raise BankError(f"cannot read the bank {assignment.bank_path}: {error.strerror}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != assignment.bank_sha256:
            self.loads["file/bad_sha"] += 1
            raise BankError(
                f"the bank {assignment.bank_path} is damaged: "
                f"expected sha256 {assignment.bank_sha256}, got {found}"
            )
        self.loads["file/ok"] += 1
        return data

    def _refill(self, assignment: LineAssignment, data: bytes) -> None:
        """Give Redis what it lost, for the next life of a worker."""
        if self._cache is not None:
            try:
                self._cache.put(assignment.product, assignment.bank_sha256, data)
            except CacheUnavailable as error:
                log.info("Redis was not refilled: %s", error)
