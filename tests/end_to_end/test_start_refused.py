"""A daemon that cannot start says why and by which exit code, and leaves nothing behind. No worker is needed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import __version__
from daemon.exit_codes import ExitCode
from tests.end_to_end.harness import daemon_home
from tests.ports import free_ports

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def home() -> Iterator[Path]:
    with daemon_home() as home:
        yield home


def start(home: Path, toml: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the daemon on this configuration until it ends by itself."""
    config = home / "aprilgan.toml"
    config.write_text(toml)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("APRILGAN_")}
    return subprocess.run(
        [sys.executable, "-m", "daemon", "--config", str(config), *options],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def minimal(home: Path, *, state: Path | None = None, http: str | None = None) -> str:
    cameras, publish, pages = free_ports(3)
    return (
        f'[state]\ndir = "{state or home / "s"}"\n'
        f'[ingest]\nbind = "tcp://127.0.0.1:{cameras}"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{publish}"\n'
        f'[http]\nbind = "{http or f"127.0.0.1:{pages}"}"\n'
        '[log]\nformat = "text"\n'
    )


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"aprilgan-daemon {__version__}"


def test_settings_can_be_checked_before_a_start_or_a_reload_and_nothing_is_started(home: Path) -> None:
    lines = '[[lines]]\nid = 4\n[[cameras]]\nname = "top"\nline = 4\n'
    good = start(home, minimal(home) + lines, "--check-config")
    assert (good.returncode, good.stdout) == (ExitCode.OK, "usable: 1 lines, 1 cameras\n")
    bad = start(home, minimal(home) + lines.replace("line = 4", "line = 5"), "--check-config")
    assert bad.returncode == ExitCode.CONFIG
    assert "'top' looks at line 5; configured are [4]" in bad.stderr
    assert not (home / "s").exists()


def test_an_unknown_setting_is_named(home: Path) -> None:
    done = start(home, minimal(home) + "[ingestion]\nbind = 3\n")
    assert done.returncode == ExitCode.CONFIG
    assert "ingestion" in done.stderr


def test_a_state_folder_that_cannot_be_made_is_a_configuration_error(home: Path) -> None:
    (home / "file").write_text("in the way")
    done = start(home, minimal(home, state=home / "file" / "state"))
    assert done.returncode == ExitCode.CONFIG
    assert "state.dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_path_too_long_for_sockets_is_a_configuration_error(home: Path) -> None:
    done = start(home, minimal(home, state=home / ("long" * 25)))
    assert done.returncode == ExitCode.CONFIG
    assert "107 bytes" in done.stderr


def test_a_page_address_beyond_loopback_is_refused(home: Path) -> None:
    done = start(home, minimal(home, http="0.0.0.0:0"))
    assert done.returncode == ExitCode.CONFIG
    assert "loopback" in done.stderr


def test_a_taken_port_is_unavailable_and_the_half_start_is_undone(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(home, minimal(home, http=f"127.0.0.1:{port}"))
    assert done.returncode == ExitCode.UNAVAILABLE
    assert str(port) in done.stderr
    assert "in use" in done.stderr
    assert list((home / "s" / "run").iterdir()) == []


def test_a_model_that_cannot_be_loaded_stops_the_daemon_with_the_configuration_code(home: Path) -> None:
    done = start(home, minimal(home) + f'[model]\npreset = "april-gan"\nweights = "{home / "none.safetensors"}"\n')
    assert done.returncode == ExitCode.CONFIG
    assert "none.safetensors" in done.stderr


def test_secrets_are_in_no_message(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = start(
            home,
            minimal(home, http=f"127.0.0.1:{taken.getsockname()[1]}"),
            APRILGAN_RECORDS__URL="postgresql://user:hunter2@127.0.0.1:1/x",
            APRILGAN_REDIS__URL="redis://:hunter2@127.0.0.1:1/0",
            APRILGAN_LOG__LEVEL="DEBUG",
        )
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "SQL does not answer" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
