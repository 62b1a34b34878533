"""How the threads of a process take turns in Python."""

from __future__ import annotations

import sys

GIL_SWITCH_S = 0.0005
"""After so long a busy thread hands the GIL over to one that waits for it. torch lets go of it at every
operation, the ingress loop at every poll, send and fsync; beside a busy thread each of these would wait for
Python's 5 ms. A pass of the tiny encoder took 47-154 ms with 5 ms, 2-21 ms with this (2 shared cores)."""


def take_turns_often() -> None:
    """For a process whose threads are waited for by cameras."""
    sys.setswitchinterval(GIL_SWITCH_S)
