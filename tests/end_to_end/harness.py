"""The real daemon as a test sees it: its processes, its sockets, its pages, its database.

Each daemon gets a short folder under /tmp (Unix socket paths end at 107 bytes) and free loopback ports. Waiting
is polling with a deadline; nothing here sleeps for a guessed time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import cv2
import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_ports
from tests.tiny import TinyModel, write_tiny_clip

START_S = 150.0
STOP_S = 25.0
PATIENCE_S = 60.0
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
    """The first thing that `look` finds. Raises AssertionError when it finds none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {within_s:g} s in vain: {what}")


def picture(seed: int, *, size: int = 64, scratched: bool = False) -> np.ndarray:
    """A textile-like BGR picture, (size, size, 3) uint8: always the same for a seed."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size]
    weave = 110 + 40 * np.sin(rows * 0.9) * np.sin(columns * 0.9) + draw.normal(0, 6, (size, size))
    image = np.clip(np.stack([weave, weave * 0.9, weave * 0.8], axis=2), 0, 255).astype(np.uint8)
    if scratched:
        cv2.line(image, (8, 8), (size - 8, size - 12), (250, 250, 250), 5)
    return image


def write_pictures(folder: Path, seeds: Sequence[int]) -> Path:
    """Good pictures as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        cv2.imwrite(str(folder / f"good-{seed:04d}.png"), picture(seed))
    return folder


@dataclass
class RunningDaemon:
    """One state folder and the daemon that runs on it, through as many lives as a test asks for.

    model: None is the default one, `lite`. lines: TOML tables [[lines]]; cameras: name -> line. ingest_extra:
    further TOML of that section. extra: further sections. records_url: SQL, an SQLite file in the state folder if
    empty.
    """

    home: Path
    model: TinyModel | None
    cameras: dict[str, int]
    lines: dict[int, dict[str, Any]]
    extra: str = ""
    ingest_extra: str = ""
    records_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = free_ports(3)
        self.config = self.home / "aprilgan.toml"
        self.state = self.home / "s"
        self.records_url = self.records_url or f"sqlite:///{self.state / 'records.db'}"
        self.log = self.home / "daemon.log"
        self.write_config()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def ingest(self) -> str:
        """Where cameras send to."""
        return f"tcp://127.0.0.1:{self.ports[0]}"

    @property
    def publish(self) -> str:
        """Where verdicts are published."""
        return f"tcp://127.0.0.1:{self.ports[1]}"

    def write_config(self) -> None:
        """Write the settings file as lines, cameras and the rest are now."""
        self.config.write_text(self._toml(), encoding="utf-8")

    # Lives

    def launch(self) -> None:
        """Start a life and do not wait for anything."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**clean_environment(), **self.environment},
                start_new_session=True,  # signals of a terminal stay away from it
            )

    def start(self) -> RunningDaemon:
        """Start a life and wait until its worker is ready."""
        self.launch()
        self.wait_for_worker()
        return self

    def wait_for_worker(self, *, other_than: int | None = None) -> int:
        """Wait until a worker is ready; its pid."""

        def look() -> int | None:
            assert self.running, f"the daemon ended:\n{self.log.read_text()[-4000:]}"
            worker = (self.page("statusz") or {}).get("worker")
            ready = worker is not None and worker["phase"] == "ready" and worker["pid"] != other_than
            return int(worker["pid"]) if ready and self.passes("worker") else None

        return until(look, "a ready worker", within_s=START_S)

    @property
    def running(self) -> bool:
        """Whether the main process lives."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send the main process a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def reload(self) -> dict[str, str]:
        """SIGHUP, and what the daemon made of it."""
        before = self.total("config_reloads_total")
        self.signal(signal.SIGHUP)
        until(lambda: self.total("config_reloads_total") > before, "the settings to be read")
        return dict((self.page("statusz") or {})["config"]["last_reload"])

    def wait(self, timeout_s: float = STOP_S) -> int:
        """The exit code."""
        if self.process is None:
            raise RuntimeError("it was not started")
        return self.process.wait(timeout_s)

    def terminate(self) -> int:
        """SIGTERM to the whole process group, children included, as a terminal would; the exit code."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.wait()

    def redis_server(self, *, but: psutil.Process | None = None) -> psutil.Process | None:
        """The embedded server, unless it is that one or has ended."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        with suppress(psutil.NoSuchProcess):  # one that ends while we look: the next look finds its successor
            servers = [child for child in children if "valkey" in child.name()]
            return next((each for each in servers if each != but and each.status() != psutil.STATUS_ZOMBIE), None)
        return None

    def kill(self) -> None:
        """SIGKILL; the children must die with it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """Whatever is left of it goes."""
        if self.running:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    # Looking

    def page(self, name: str) -> dict[str, Any] | None:
        """A JSON page; None while nobody answers."""
        text = self._get(name)
        return None if text is None else json.loads(text)

    def passes(self, check: str) -> bool:
        """Whether a readiness check passes."""
        ready = self.page("readyz")
        return bool(ready and ready["checks"][check]["ok"])

    def total(self, name: str, **labels: str) -> float:
        """The sum over the children of a metric that carry these labels."""
        text = self._get("metrics")
        assert text is not None, "no /metrics"
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"aprilgan_{name}" and labels.items() <= sample.labels.items()
        )

    def series(self) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        """Every time series that /metrics shows: name and labels."""
        text = self._get("metrics")
        assert text is not None, "no /metrics"
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def conserves(self) -> bool:
        """Whether what came equals what became of it, by the metrics of this life (service.md rule 2)."""
        came = self.total("frames_received_total") + self.total("recovered_total")
        went = (
            self.total("verdicts_total")
            + self.total("frames_refused_total")
            + self.total("frames_duplicate_total")
            + self.total("in_flight")
        )
        return came == went

    def rows(self, where: str = "1") -> list[dict[str, Any]]:
        """Rows of `inspections`, in order of decision."""
        with closing(sqlite3.connect(f"file:{self.state / 'records.db'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            query = f"SELECT * FROM inspections WHERE {where} ORDER BY id"
            return [dict(row) for row in connection.execute(query)]

    def wait_for_rows(self, count: int, where: str = "1") -> list[dict[str, Any]]:
        """Wait until SQL holds so many such rows."""
        return until(lambda: rows if len(rows := self.rows(where)) >= count else None, f"{count} rows in SQL")

    # Acting

    def admin(self, *arguments: str, expect: int = 0) -> Any:
        """Run `aprilgan-admin ... --json` and parse what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon.admin", "--config", str(self.config), *arguments],
            env={**clean_environment(), **self.environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == expect, f"exit code {done.returncode}:\n{done.stderr}\n{done.stdout}"
        return json.loads(done.stdout) if "--json" in arguments and done.stdout.strip() else done.stdout

    def enroll(self, line: int, pictures: Path, *options: str, wait_s: float = PATIENCE_S) -> Any:
        """Enrol a line from a folder and wait until the daemon scores with it."""
        waiting = ["--wait", str(wait_s)] if wait_s else []
        return self.admin("enroll", "--line", str(line), str(pictures), *options, *waiting, "--json")

    def _get(self, name: str) -> str | None:
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[2]}/{name}", timeout=5) as reply:
                return str(reply.read().decode())
        except HTTPError as error:
            with error:
                return error.read().decode()
        except (URLError, OSError):
            return None

    def _toml(self) -> str:
        lines = "".join(
            f"[[lines]]\nid = {line}\n"
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
            for line, options in self.lines.items()
        )
        cameras = "".join(f'[[cameras]]\nname = "{name}"\nline = {line}\n' for name, line in self.cameras.items())
        sections = [
            f'[state]\ndir = "{self.state}"',
            f'[ingest]\nbind = "{self.ingest}"\n{self.ingest_extra}',
            f'[records]\nurl = "{self.records_url}"',
            f'[publish]\nbind = "{self.publish}"',
            f'[http]\nbind = "127.0.0.1:{self.ports[2]}"',
            '[log]\nformat = "text"',
        ]
        if self.model is not None:
            sections.append(f'[model]\npreset = "{self.model.config}"\nweights = "{self.model.weights}"')
        return "\n".join([*sections, self.extra, lines, cameras])


@contextmanager
def daemon_home() -> Iterator[Path]:
    """A short folder that goes at the end."""
    home = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def a_daemon(
    *,
    cameras: dict[str, int] | None = None,
    lines: dict[int, dict[str, Any]] | None = None,
    extra: str = "",
    ingest_extra: str = "",
    records_url: str = "",
    state: Path | None = None,
    tiny: bool = True,
) -> Iterator[RunningDaemon]:
    """A daemon that is built but not started: line 4 with camera "top", unless asked otherwise.

    state: a state folder to start from; a copy of it is used. tiny: with the fast test encoder, else the default.
    """
    with daemon_home() as home:
        daemon = RunningDaemon(
            home=home,
            model=write_tiny_clip(home / "model") if tiny else None,
            cameras=cameras or {"top": 4},
            lines=lines or {4: {"deadline_ms": 10_000}},
            extra=extra,
            ingest_extra=ingest_extra,
            records_url=records_url,
        )
        if state is not None:
            shutil.copytree(state, daemon.state)
        try:
            yield daemon
        finally:
            daemon.close()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def clean_environment() -> dict[str, str]:
    """This process's, without settings of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith("APRILGAN_")}
