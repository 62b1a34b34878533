"""Ready, degraded or live: decided from facts, apart from where the facts come from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

CHECKS = ("serving", "keys", "schema", "worker", "selftest", "banks", "outbox")
"""The readiness checks, by the name they have on /readyz and in the metric aprilgan_ready{reason}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: whether it passes, and what a person should know either way."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What readiness is decided from.

    serving: the cameras' socket is bound and read; false before start and from SIGTERM on.
    keys: None when the authorized keys can be read or none are needed, else why nobody new comes in.
    schema: None when SQL holds the revision this program knows, else what is wrong.
    worker: None when the worker is ready and beats, else what is wrong.
    selftest: "passed" | "failed" | "skipped".
    missing_banks: configured line -> why it has no bank.
    """

    serving: bool
    keys: str | None = None
    schema: str | None
    worker: str | None
    selftest: str
    missing_banks: dict[int, str]
    outbox_rows: int
    outbox_max_rows: int


def readiness(facts: Facts) -> dict[str, Check]:
    """Every check of CHECKS; the service is ready when all pass.

    Redis or SQL down is no check: the service is degraded then, and inspects on.
    """
    missing = "; ".join(f"line {line}: {why}" for line, why in sorted(facts.missing_banks.items()))
    return {
        "serving": Check(ok=facts.serving, detail="reading cameras" if facts.serving else "not reading cameras"),
        "keys": Check(ok=facts.keys is None, detail=facts.keys or "readable, or not needed"),
        "schema": Check(ok=facts.schema is None, detail=facts.schema or "at head"),
        "worker": Check(ok=facts.worker is None, detail=facts.worker or "ready"),
        "selftest": Check(ok=facts.selftest != "failed", detail=facts.selftest),
        "banks": Check(ok=not missing, detail=missing or "every line has a bank"),
        "outbox": Check(
            ok=facts.outbox_rows < facts.outbox_max_rows,
            detail=f"{facts.outbox_rows} of {facts.outbox_max_rows} rows wait for SQL",
        ),
    }
