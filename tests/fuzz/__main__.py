"""The long form of the fuzz suite.

    python -m tests.fuzz --cases 1000000 [--seed N] [TARGET]...

Every case runs under a time limit and with the address space held to what the process had plus 512 MiB, so that
neither a hang nor a bomb goes unseen. Prints a line a target and the first case of each kind of finding; exit code
1 if there is one. A found case becomes a test in tests/fuzz/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import math
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NoReturn

from tests.fuzz.targets import TARGETS, Target, bank, images, messages

HEADROOM_BYTES = 512 * 1024 * 1024
CASE_LIMIT_S = 5.0
MAX_KINDS = 20
"""Different findings of one target after which it is given up."""


class Hang(BaseException):
    """A case that takes longer than CASE_LIMIT_S; no reader may swallow it."""


@dataclass(slots=True)
class Tally:
    """What became of one target. findings: the first case of each kind."""

    cases: int = 0
    seconds: float = 0.0
    grown_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets one after another."""
    options = _parser().parse_args(arguments)
    chosen = [target for target in TARGETS if not options.targets or target.name in options.targets]
    if not chosen:
        raise SystemExit(f"expected targets among {', '.join(target.name for target in TARGETS)}")
    bank(), images(), messages()  # the seeds need torch's own threads and memory: before the limits
    limit_memory()
    signal.signal(signal.SIGALRM, _hang)
    whole = sum(target.share for target in chosen)
    found = 0
    for target in chosen:
        tally = run(
            target, math.ceil(options.cases * target.share / whole), Random(f"{options.seed}/{target.name}")
        )
        report(target, tally)
        found += len(tally.findings)
    return 1 if found else 0


def run(target: Target, cases: int, random: Random) -> Tally:
    """So many cases of one target."""
    tally, started, before = Tally(), time.monotonic(), resident_bytes()
    while tally.cases < cases and len(tally.findings) < MAX_KINDS:
        case = target.make(random)
        tally.cases += 1
        signal.setitimer(signal.ITIMER_REAL, CASE_LIMIT_S)
        try:
            target.check(case)
        except (Exception, Hang) as error:  # noqa: BLE001 - whatever it is, it is a finding
            kind = _kind(error)
            tally.counts[kind] += 1
            tally.findings.setdefault(kind, case)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    tally.seconds = time.monotonic() - started
    tally.grown_bytes = resident_bytes() - before
    return tally


def report(target: Target, tally: Tally) -> None:
    """One line, and each finding."""
    print(
        f"{target.name}: {tally.cases} cases in {tally.seconds:.0f} s, "
        f"resident memory {tally.grown_bytes / 1e6:+.1f} MB, {len(tally.findings)} kinds of findings",
        flush=True,
    )
    for kind, case in tally.findings.items():
        print(f"  {tally.counts[kind]} x {kind}\n    {repr(case)[:400]}", flush=True)


def limit_memory() -> None:
    """No more address space than now plus the headroom: whatever wants more gets MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _kind(error: BaseException) -> str:
    """Findings at one place with one exception are one."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {where}: {str(error)[:100]!r}"


def _hang(number: int, frame: FrameType | None) -> NoReturn:
    raise Hang(f"more than {CASE_LIMIT_S} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(target.name for target in TARGETS))
    parser.add_argument("--cases", type=int, default=1_000_000, metavar="N", help="over all targets (1,000,000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other cases")
    return parser


if __name__ == "__main__":
    sys.exit(main())
