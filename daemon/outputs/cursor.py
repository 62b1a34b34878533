"""How far a sink has come, on disk: the position in the outbox up to which the other end has everything."""

from __future__ import annotations

import json
from pathlib import Path

from daemon.durable import write_durably

FOLDER = "outputs"


class CursorUnreadable(Exception):
    """The file is there and is no cursor. The message names it."""


class CursorFile:
    """`STATE/outputs/<sink>.cursor`, replaced as a whole."""

    def __init__(self, state: Path, sink: str) -> None:
        self._path = state / FOLDER / f"{sink}.cursor"

    def read(self) -> int | None:
        """The position; None for a sink that never ran. Raises CursorUnreadable."""
        try:
            position = json.loads(self._path.read_bytes())["position"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CursorUnreadable(
                f"{self._path}: expected a cursor such as {{'position': 7}}: {error}"
            ) from error
        if not isinstance(position, int) or position < 0:
            raise CursorUnreadable(f"{self._path}: expected a position of 0 or more, got {position!r}")
        return position

    def write(self, position: int) -> None:
        """Durably. Raises OSError."""
        write_durably(self._path, json.dumps({"position": position}).encode())
