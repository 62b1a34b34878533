"""Every wrong form of the method that would still run, and the named test that kills it.

    python -m tests.mutants [WORD]        only mutants whose name holds WORD

Each mutant is a change of the source, made in a copy of `core`; each named test must pass on the copy as it is and
fail once it is changed. Prints the table and exits with 1 if a mutant survives. Some 7 s a mutant.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
COPIED = ("core", "tests")
FAILED, PASSED = 1, 0
"""pytest's exit codes; any other one is a broken test run, not a killed mutant."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a named test said of a mutant."""

    mutant: Mutant
    killed: bool


def main(words: Sequence[str]) -> int:
    """Run the mutants whose names hold all the words."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    if not chosen:
        raise SystemExit(f"no mutant's name holds {' and '.join(words)}; there are {len(MUTANTS)}")
    with tempfile.TemporaryDirectory(prefix="ag-mutants-") as folder:
        copy = Path(folder)
        copy_sources(copy)
        check_the_copy_passes(copy, sorted({mutant.killer for mutant in chosen}))
        outcomes = [run(copy, mutant) for mutant in chosen]
    print_table(outcomes)
    survivors = [outcome for outcome in outcomes if not outcome.killed]
    print(f"\n{len(outcomes) - len(survivors)} of {len(outcomes)} mutants killed")
    return 1 if survivors else 0


def copy_sources(folder: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def check_the_copy_passes(folder: Path, tests: Sequence[str]) -> None:
    """The named tests pass before any change, and it is the copy that they test."""
    found = subprocess.run(
        [sys.executable, "-c", "import core; print(core.__file__)"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(found).resolve() != (folder / "core" / "__init__.py").resolve():
        raise SystemExit(f"expected to test the copy in {folder}, got {found}")
    result = pytest(folder, tests)
    if result.returncode != PASSED:
        raise SystemExit(f"the tests fail without any mutant:\n{result.stdout}{result.stderr}")


def run(folder: Path, mutant: Mutant) -> Outcome:
    """Change the copy, run the named test, change the copy back."""
    originals = {path: (folder / path).read_text(encoding="utf-8") for path in mutant.files}
    try:
        for change in mutant.changes:
            apply(folder / change.path, change.old, change.new, mutant.name)
        result = pytest(folder, [mutant.killer])
    finally:
        for path, text in originals.items():
            (folder / path).write_text(text, encoding="utf-8")
    if result.returncode not in (PASSED, FAILED) or (
        result.returncode == FAILED and not re.search(r"\b\d+ failed", result.stdout)
    ):
        raise SystemExit(
            f"mutant {mutant.name!r} breaks the run instead of a test:\n{result.stdout}{result.stderr}"
        )
    print(".", end="", flush=True, file=sys.stderr)
    return Outcome(mutant, killed=result.returncode == FAILED)


def apply(path: Path, old: str, new: str, name: str) -> None:
    """Replace text that must occur exactly once."""
    source = path.read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise SystemExit(f"mutant {name!r}: expected {old!r} once in {path.name}, got {source.count(old)} times")
    path.write_text(source.replace(old, new), encoding="utf-8")


def pytest(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=300
    )


def environment(folder: Path) -> dict[str, str]:
    # No byte code: a source changed twice within its clock's tick would be run from the stale one.
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def print_table(outcomes: Sequence[Outcome]) -> None:
    width = max(len(outcome.mutant.name) for outcome in outcomes)
    print(f"\n{'mutant':{width}}  killed  by")
    for outcome in outcomes:
        killed = "yes" if outcome.killed else "NO"
        print(f"{outcome.mutant.name:{width}}  {killed:6}  {outcome.mutant.killer.removeprefix('tests/core/')}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
