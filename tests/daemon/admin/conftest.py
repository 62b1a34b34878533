"""An installation in a folder of its own: settings, the tiny encoder, pictures; commands run in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest

from daemon.admin.__main__ import main
from daemon.records import Records
from tests.pictures import weave

SETTINGS = """
[state]
dir = "{folder}/state"
[ingest]
bind = "ipc://{folder}/ingest.sock"
[publish]
bind = "ipc://{folder}/publish.sock"
[http]
bind = "127.0.0.1:9"
[model]
preset = "{config}"
weights = "{weights}"
device = "cpu"
[[lines]]
id = 4
name = "looms"
[[lines]]
id = 5
product = "linen"
[[cameras]]
name = "cam4"
line = 4
"""


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Installation:
    """The settings file, the state folder, and pictures: 8 good ones, 12 for calibration, 2 with a hole."""

    config: Path
    state: Path
    good: Path
    more: Path
    bad: Path


def write_pictures(folder: Path, seeds: range, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        cv2.imwrite(str(folder / f"{seed:03}.png"), weave(seed, **options))
    return folder


@pytest.fixture
def installation(tmp_path: Path, tiny_model: Any) -> Installation:
    config = tmp_path / "aprilgan.toml"
    config.write_text(
        SETTINGS.format(folder=tmp_path, config=tiny_model.config, weights=tiny_model.weights), encoding="utf-8"
    )
    return Installation(
        config=config,
        state=tmp_path / "state",
        good=write_pictures(tmp_path / "good", range(8)),
        more=write_pictures(tmp_path / "more", range(100, 112)),
        bad=write_pictures(tmp_path / "bad", range(200, 202), hole=True),
    )


@pytest.fixture
def admin(installation: Installation, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run `aprilgan-admin --config FILE ARGUMENTS...`."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main(["--config", str(installation.config), *map(str, arguments)])
        captured = capsys.readouterr()
        return Answer(int(code), captured.out, captured.err)

    return run


@contextmanager
def answering(page: Callable[[], tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """A stand-in for the daemon's HTTP pages: every GET is answered (status, JSON). Yields HOST:PORT."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, value = page()
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def records(installation: Installation) -> Iterator[Records]:
    """The installation's SQL, as another process sees it."""
    records = Records(f"sqlite:///{installation.state / 'records.db'}")
    records.prepare()
    yield records
    records.close()
