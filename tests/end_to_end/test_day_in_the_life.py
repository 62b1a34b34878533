"""`docs/day-in-the-life.md` holds: its commands run in order against the real daemon and say what it quotes.

The boxes marked `sh` go to one shell, as a person would type them. Lines below a command that begin with `# ->`
are fragments of what it prints, `# -> exit 1: …` names the exit code as well. Only ports are not the document's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_group

from benchmarks import textile
from daemon.admin.__main__ import app
from tests.deploy.test_runbook import commands, fault
from tests.end_to_end.harness import RunningDaemon, clean_environment, daemon_home, until

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "day-in-the-life.md").read_text(encoding="utf-8")
RUN_OR_SHOWN = re.sub(r"^(?=aprilgan-admin )", "    ", DOCUMENT, flags=re.MULTILINE)
"""With the commands of boxes indented, as the runbook's reader of commands expects them."""
QUOTE = re.compile(r"# -> (?:exit (\d+): )?(.+)")
GOOD_BUT_STOPPED, DEFECTIVE_BUT_PASSED = "textile_0583", "textile_0278"
SYSTEMCTL = """#!{python}
import os, signal, sys, time
from urllib.request import urlopen

def reloads():
    lines = urlopen("http://127.0.0.1:{port}/metrics").read().decode().splitlines()
    return [line for line in lines if line.startswith("aprilgan_config_reloads_total")]

if sys.argv[1:] != ["reload", "aprilgan-daemon"]:
    sys.exit(f"this stand-in only reloads the daemon, got {{sys.argv[1:]}}")
before = reloads()
os.kill({pid}, signal.SIGHUP)
while reloads() == before:
    time.sleep(0.02)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Commands up to the next quotes, the exit code they end with, and fragments of what they print, in order."""

    commands: str
    exit_code: int
    quotes: tuple[str, ...]


def boxes(language: str, document: str = DOCUMENT) -> list[str]:
    """What stands in the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document, flags=re.DOTALL | re.MULTILINE)


def steps(box: str) -> list[Step]:
    """The commands of a box, cut behind each run of quotes."""
    runs = re.findall(r"((?:^(?!# -> ).*\n)+)((?:^# -> .*\n)*)", box, flags=re.MULTILINE)
    found = []
    for typed, below in runs:
        quotes = [match.groups() for match in QUOTE.finditer(below)]
        exit_code = next((int(code) for code, _ in quotes if code), 0)
        found.append(Step(commands=typed, exit_code=exit_code, quotes=tuple(text for _, text in quotes)))
    return found


class Shell:
    """One bash that lives through the document, so that variables and background jobs do too."""

    END = "the-step-ended-with"

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._type("set -eo pipefail")

    def run(self, step: Step) -> tuple[int, str]:
        """Exit code and output. A step that is to succeed ends at its first failure, and the shell with it."""
        group = f"{{\n{step.commands}\n}} </dev/null"
        self._type(f"code=0; {group} || code=$?" if step.exit_code else f"code=0; {group}")
        self._type(f'printf "\\n{self.END} %s\\n" "$code"')
        assert self._bash.stdout is not None
        printed: list[str] = []
        for row in self._bash.stdout:
            if row.startswith(self.END):
                return int(row.split()[-1]), "".join(printed)
            printed.append(row)
        code = self._bash.wait()
        assert code, f"the shell ended:\n{step.commands}"
        return code, "".join(printed)

    def close(self) -> None:
        """End the shell and whatever it left running."""
        with suppress(ProcessLookupError):  # it ended, and nothing is left
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _type(self, text: str) -> None:
        assert self._bash.stdin is not None
        with suppress(BrokenPipeError):  # it ended at a failure, which `run` reports
            self._bash.stdin.write(text + "\n")
            self._bash.stdin.flush()


def lay_out(folder: Path) -> None:
    """The pictures that the document speaks of."""
    references = textile.references(8, seed=1)
    rest = [each for each in textile.development("nominal") if each not in references]
    nominal, tears = textile.report("nominal"), textile.report("global")
    local = {each.path.stem: each for each in textile.report("local")}
    stopped = next(each for each in nominal if each.path.stem == GOOD_BUT_STOPPED)
    shift = {f"A{101 + number}": each for number, each in enumerate(nominal[:14])}
    shift |= {"A103": tears[0], "A107": local[DEFECTIVE_BUT_PASSED], "A112": stopped}
    folders = {
        "good": {f"{number:02}": each for number, each in enumerate(references)},
        "more-good": {f"{number:02}": each for number, each in enumerate(rest[:24])},
        "late-good": {"evening": rest[41]},
        "shift": shift,
    }
    for name, pictures in folders.items():
        (folder / name).mkdir()
        for stem, picture in pictures.items():
            shutil.copy(picture.path, folder / name / f"{stem}.jpg")


@contextmanager
def the_plant(settings: str) -> Iterator[tuple[RunningDaemon, Shell]]:
    """The document's lines on a running daemon, and a shell in a folder with its pictures and settings."""
    with daemon_home() as home:
        daemon = RunningDaemon(home=home, model=None, cameras={}, lines={}, extra=settings)
        try:
            daemon.start()
            lay_out(home)
            shell = Shell(home, surroundings(daemon))
            try:
                yield daemon, shell
            finally:
                shell.close()
        finally:
            daemon.close()


def surroundings(daemon: RunningDaemon) -> dict[str, str]:
    """The environment of an installed PC: commands on the path, settings that are found, a `systemctl`."""
    assert daemon.process is not None
    stand_in = daemon.home / "bin" / "systemctl"
    stand_in.parent.mkdir()
    stand_in.write_text(
        SYSTEMCTL.format(python=sys.executable, port=daemon.ports[2], pid=daemon.process.pid), encoding="utf-8"
    )
    stand_in.chmod(0o755)
    path = os.pathsep.join([str(stand_in.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**clean_environment(), "PATH": path, "APRILGAN_CONFIG": str(daemon.config)}


def missing(step: Step, printed: str) -> str | None:
    """The first quote that does not follow the one before it; widths of columns do not count."""
    rest = " ".join(printed.split())
    for quote in step.quotes:
        _, found, rest = rest.partition(" ".join(quote.split()))
        if not found:
            return quote
    return None


def follow(shell: Shell, box: str) -> None:
    """Run a box of the document. Raises AssertionError at the first step that is not as it says."""
    for step in steps(box):
        code, printed = shell.run(step)
        said = f"\n{step.commands}{printed}"
        assert code == step.exit_code, f"exit code {code}, the document says {step.exit_code}:{said}"
        absent = missing(step, printed)
        assert absent is None, f"the document says {absent!r}, which is not there (or not in its place):{said}"


def test_the_day_goes_as_the_document_says() -> None:
    (settings,) = boxes("toml")
    with the_plant(settings) as (daemon, shell):
        for box in boxes("sh"):
            follow(shell, box.replace("127.0.0.1:5555", f"127.0.0.1:{daemon.ports[0]}"))
        until(daemon.conserves, "every frame to be accounted for")


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ("echo linen\n# -> cotton\n", "'cotton'"),
        ("echo second first\n# -> first\n# -> second\n", "'second'"),
        ("ls /no-such-folder\necho on\n", "exit code 2, the document says 0"),
        ("false | cat\n", "exit code 1, the document says 0"),
        ("echo refused\n# -> exit 1: refused\n", "exit code 0, the document says 1"),
        ("exit 0\n", "the shell ended"),
    ],
)
def test_a_document_that_is_wrong_is_found_out(box: str, complaint: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, clean_environment())
    try:
        with pytest.raises(AssertionError, match=re.escape(complaint)):
            follow(shell, box)
    finally:
        shell.close()


def test_a_document_that_is_right_is_followed(tmp_path: Path) -> None:
    shell = Shell(tmp_path, clean_environment())
    try:
        follow(shell, "WHO=anna\n(echo no; exit 3)\n# -> exit 3: no\necho $WHO  is here\n# -> anna is here\n")
    finally:
        shell.close()


def test_every_command_has_its_place_in_the_day() -> None:
    named = {words[0] for words in commands(RUN_OR_SHOWN)}
    assert named == set(get_group(app).commands)


def test_what_is_named_in_passing_exists_with_its_options() -> None:
    assert [(" ".join(words), fault(words)) for words in commands(RUN_OR_SHOWN) if fault(words)] == []
