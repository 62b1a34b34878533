"""A PostgreSQL connection that ends its own waits: a server that stands still enforces no timeout.

`connect_timeout` bounds connecting, `tcp_user_timeout` a network that is gone, `statement_timeout` a slow
statement. None of them helps against a server whose kernel still takes every byte while its processes stand.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

ANSWER_TIMEOUT_S = 10.0
"""The longest wait for one answer; above the server's own statement_timeout, which says more when it fires."""

Result = TypeVar("Result")


class PatientConnection(psycopg.Connection[Any]):
    """Waits at most `patience_s` seconds for each answer, for ever where that is None, then closes itself.

    Every synchronous wait of a psycopg connection goes through `wait`: statements, commit, rollback and pings.
    """

    patience_s: float | None = ANSWER_TIMEOUT_S

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """As psycopg's. Raises psycopg.OperationalError when the answer does not come in time."""
        if self.patience_s is None:
            return super().wait(gen, *arguments, **options)
        try:
            return super().wait(_until(gen, self.patience_s), *arguments, **options)
        except _NoAnswer as error:
            self.close()  # what the server may still answer belongs to nobody now
            raise psycopg.OperationalError(str(error)) from error


class _NoAnswer(Exception):
    """The deadline of one wait is over."""


def _until(waiting: Generator[Any, Any, Result], patience_s: float) -> Generator[Any, Any, Result]:
    """The same waits as `waiting`; psycopg resumes them at least ten times a second, ready or not."""
    deadline = time.monotonic() + patience_s
    try:
        state = next(waiting)
        while True:
            ready = yield state
            if time.monotonic() >= deadline:
                raise _NoAnswer(f"the server did not answer within {patience_s:g} s")
            state = waiting.send(ready)
    except StopIteration as ended:
        result: Result = ended.value
        return result
