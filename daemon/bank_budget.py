"""Which banks stay on the scorer's device when room is short. Pure: it decides, `daemon.banks` drops.

What a line scores with stays, whatever it takes. What it scored with before stays for a quick rollback while there
is room; the one that has been out of charge longest goes first, and comes back from Redis or its file if wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from daemon.work import LineBank

MIB = 1 << 20


def held_bytes(banks: Collection[LineBank]) -> int:
    """Bytes on the device; lines that share a bank hold it once."""
    return sum({bank.bank_sha256: bank.prepared.size_bytes for bank in banks}.values())


def lines_to_forget(
    current: Mapping[int, LineBank], previous: Mapping[int, LineBank], *, budget_bytes: int
) -> list[int]:
    """The lines whose previous bank must go for the rest to fit.

    current, previous: line -> bank; `previous` in the order in which they went out of charge.
    """
    kept = dict(previous)
    forgotten: list[int] = []
    for line in previous:
        if held_bytes([*current.values(), *kept.values()]) <= budget_bytes:
            break
        del kept[line]
        forgotten.append(line)
    return forgotten


def too_large(current: Mapping[int, LineBank], *, budget_bytes: int) -> str | None:
    """What to say where the lines' own banks exceed the budget, None where they do not."""
    size = held_bytes(current.values())
    if size <= budget_bytes:
        return None
    return (
        f"the banks of {len(current)} lines take {size / MIB:.0f} MiB, more than the budget of "
        f"{budget_bytes / MIB:.0f} MiB (worker.bank_budget_mb); they stay, and a rollback fetches its bank again"
    )
