"""A stand-in for systemctl, for tests without systemd: it really starts the unit's ExecStart, and really waits.

It knows `start`, `stop`, `is-active`, `disable --now`, `daemon-reload` of one Type=notify unit below $FAKE_ROOT:
paths of the unit are taken below that folder. It changes no user, hardens nothing and restarts nothing. What it
was asked is appended to $FAKE_ROOT/systemctl.log.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNIT = "aprilgan-daemon.service"
ROOT = Path(os.environ["FAKE_ROOT"])
PID = ROOT / "daemon.pid"
START_S, STOP_S = 120.0, 30.0


def main(command: str, *arguments: str) -> int:
    with (ROOT / "systemctl.log").open("a") as log:
        log.write(" ".join([command, *arguments]) + "\n")
    if command == "is-active":
        print("active" if running() else "inactive")
        return 0 if running() else 3
    if command == "start":
        return 0 if running() else start()
    if command == "stop" or (command == "disable" and "--now" in arguments):
        stop()
    return 0


def exec_start() -> list[str]:
    lines = (ROOT / "etc/systemd/system" / UNIT).read_text().splitlines()
    command = next(line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    return [f"{ROOT}{word}" if word.startswith("/") else word for word in command.split()]


def start() -> int:
    """Start it and wait for READY=1, as systemd does for Type=notify; 1 where it ends or takes too long."""
    address = ROOT / "notify.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, (ROOT / "daemon.log").open("ab") as log:
        notices.bind(str(address))
        notices.settimeout(0.1)
        process = subprocess.Popen(
            exec_start(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
            start_new_session=True,
        )
        PID.write_text(str(process.pid))
        deadline = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if b"READY=1" in notices.recv(4096):
                    return 0
            except TimeoutError:
                continue
    stop()
    return 1


def stop() -> None:
    if running():
        pid = int(PID.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while running() and time.monotonic() < deadline:
            time.sleep(0.02)
        if running():
            os.kill(pid, signal.SIGKILL)
    PID.unlink(missing_ok=True)


def running() -> bool:
    try:
        state = Path(f"/proc/{int(PID.read_text())}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return False
    return state != "Z"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
