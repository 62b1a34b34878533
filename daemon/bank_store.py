"""Publishing a bank: file first, then SQL, then Redis. A writer that dies in between leaves the old one.

The file is durable before SQL names it; SQL commits before Redis hears of it; a Redis that is down costs
running daemons at most the 30 seconds until they poll SQL.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import core
from core.errors import BankError
from daemon.bank_cache import BankCache, CacheUnavailable
from daemon.durable import sweep_drafts, write_durably
from daemon.records import BankRecord, LineAssignment, LineChange, ProductRecord, Records
from daemon.setting_sections import ID_PATTERN

if TYPE_CHECKING:
    from core import ReferenceBank

log = logging.getLogger(__name__)

FOLDER = "banks"


def publish(
    records: Records,
    cache: BankCache | None,
    state_dir: Path,
    bank: ReferenceBank,
    *,
    line: int,
    who: str,
    why: str | None,
    action: str,
    expected_revision: int | None = None,
) -> LineAssignment:
    """Store a bank and put it and its thresholds in charge of a line.

    expected_revision: the line's revision that the caller saw (0: never enrolled); None takes the present one.

    Raises RevisionConflict, RecordsUnavailable or OSError; the line is then as it was.
    """
    data, sha256 = core.bank_to_bytes(bank)
    if expected_revision is None:
        present = records.line(line)
        expected_revision = present.revision if present else 0
    path = bank_path(bank.header.product, sha256)
    sweep_drafts(state_dir / FOLDER)
    write_durably(state_dir / path, data)
    now = datetime.now(UTC)
    assignment = records.assign(
        LineChange(
            line=line,
            product=bank.header.product,
            bank_sha256=sha256,
            thresholds=bank.thresholds,
            who=who,
            action=action,
            why=why,
            at=now,
        ),
        expected_revision=expected_revision or None,
        bank=_record(bank, line=line, path=path, sha256=sha256, size_bytes=len(data)),
        product=ProductRecord(name=bank.header.product, object_name=bank.header.object_name, created_at=now),
    )
    failure = tell(cache, assignment, data) if cache else None
    if failure:
        log.warning("Redis was not told of line %d, daemons will find it in SQL: %s", line, failure)
    return assignment


def tell(cache: BankCache, assignment: LineAssignment, data: bytes | None = None) -> str | None:
    """Let running daemons know at once, through Redis. Best effort: returns why it failed, None when told.

    data: the bank's bytes where they are new to Redis.
    """
    try:
        if data is not None:
            cache.put(assignment.product, assignment.bank_sha256, data)
        cache.point(assignment.line, assignment.public())
        cache.announce(assignment.line)
    except CacheUnavailable as error:
        return str(error)
    return None


def read_bank_file(state_dir: Path, path: str, sha256: str) -> bytes:
    """The bytes of a stored bank. Raises BankError when the file is missing or not the one that SQL means."""
    try:
        data = (state_dir / path).read_bytes()
    except OSError as error:
        raise BankError(f"cannot read the bank {path}: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BankError(f"the bank {path} is damaged: expected sha256 {sha256}, got {found}")
    return data


def bank_path(product: str, sha256: str) -> str:
    """Where a bank lies, relative to the state folder. Raises ValueError for a name that may not be a path."""
    return f"{bank_folder(product)}/{sha256}.safetensors"


def bank_folder(product: str) -> str:
    """Where a product's banks lie, relative to the state folder. Raises ValueError as `bank_path` does."""
    if not re.fullmatch(ID_PATTERN, product):
        raise ValueError(f"expected a product name like {ID_PATTERN}, got {product!r}")
    return f"{FOLDER}/{product}"


def _record(bank: ReferenceBank, *, line: int, path: str, sha256: str, size_bytes: int) -> BankRecord:
    header = bank.header
    return BankRecord(
        sha256=sha256,
        product=header.product,
        line=line,
        path=path,
        size_bytes=size_bytes,
        encoder_id=header.encoder_id,
        shots=header.shots,
        built_at=datetime.fromisoformat(header.built_at),
        thresholds=bank.thresholds,
        header=json.dumps(dataclasses.asdict(header), sort_keys=True),
    )
