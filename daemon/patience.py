"""How long a frame that is told BUSY goes on asking: to the end of its own time, then it is uninspected. Pure.

What would else become of it nobody would know: its sender may give up, and the part has passed by.
"""

from __future__ import annotations

from collections import OrderedDict

from daemon.flow import Frame

MOST = 4096
"""Frames that are remembered; of the oldest it is forgotten that they were here."""


class Patience:
    """Remembers when a frame that has a key of its own was told BUSY for the first time."""

    def __init__(self) -> None:
        self._first_ns: OrderedDict[str, int] = OrderedDict()

    def ends(self, frame: Frame) -> bool:
        """Whether this frame's time, its deadline after it first came, is over; else it may come again."""
        first_ns = self._first_ns.setdefault(frame.key, frame.received_ns)
        if len(self._first_ns) > MOST:
            self._first_ns.popitem(last=False)
        return frame.received_ns - first_ns >= frame.deadline_ns - frame.received_ns

    def forget(self, frame: Frame) -> None:
        """It came in."""
        self._first_ns.pop(frame.key, None)
