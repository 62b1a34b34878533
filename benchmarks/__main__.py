"""`make bench`: every benchmark, one JSON line a result; exit code 1 where a target is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

ALL = ("accuracy", "daemon_speed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run some or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(ALL)} (default: all)")
    names = parser.parse_args(argv).names or ALL
    missed = 0
    for name in names:
        for result in import_module(f"benchmarks.{name}").results():
            print(result.line(), flush=True)
            missed += not result.ok
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
