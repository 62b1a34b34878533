"""`make bench`: every benchmark, one JSON line a result; exit code 1 where a target is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.result import save

ALL = (
    "accuracy",
    "daemon_speed",
    "precision",
    "match_speed",
    "vit_l_plain_form",
    "latency_throughput",
    "report_speed",
    "enrol_speed",
)
SAVED = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run some or all of them. What a machine cannot measure misses no target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(ALL)}, gpu (default: all)")
    parser.add_argument(
        "--save", action="store_true", help=f"keep the results in benchmarks/{SAVED.name}/NAME.json"
    )
    options = parser.parse_args(argv)
    missed = 0
    for name in options.names or ALL:
        results, benchmark = [], import_module(f"benchmarks.{name}")
        for result in benchmark.results():
            print(result.line(), flush=True)
            results.append(result)
        if options.save and any(result.value is not None for result in results):
            save(name, results, SAVED)
            if hasattr(benchmark, "draw"):
                benchmark.draw(results)
        missed += sum(result.ok is False for result in results)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
