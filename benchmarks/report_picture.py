"""The report of a real run, and a picture of it as Chromium shows it: `docs/images/report.png`.

The demo's line and pictures, with what happens on a line in between: a calibration, a moved threshold, frames that
arrive damaged, a lamp that grows dark until somebody changes it. Needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks import textile
from benchmarks.service import Service, ServiceFailed
from daemon.native_sender import NativeSender, Shot

SEED = 0
RATE_HZ = 5.0
DEADLINE_MS = 3000
WIDTH, HEIGHT = 1000, 3050
SHRINK = 0.7
BEFORE, BETWEEN, AFTER, DARK, MENDED = (100, 7, 1), (100, 7, 1), (60, 4, 1), (70, 3, 0), (60, 3, 1)
"""Good pictures, local and global defects of each stretch."""
LAMP = 0.87
"""How much light is left of the old lamp's."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the line, write the report, take its picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_picture", description=__doc__)
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--folder", type=Path, default=Path("var/report"), help="where everything else is written")
    parser.add_argument("--dark", action="store_true", help="as a person with a dark screen sees it")
    options = parser.parse_args(argv)
    try:
        report = run(options.folder)
        photograph(report, options.out, dark=options.dark)
    except ServiceFailed as error:
        print(f"report_picture: {error}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path) -> Path:
    """The line's story, step by step; where its report lies. Raises ServiceFailed."""
    lines = {4: {"name": "Loom 4", "product": "linen", "deadline_ms": DEADLINE_MS}}
    with Service(folder, lines=lines, cameras={"loom-4": 4}, extra='\n[log]\nformat = "text"\n') as service:
        service.wait_for("worker")
        good = [str(picture.path) for picture in textile.references(68, seed=SEED)]
        change = ("--line", "4", "--wait", "60", "--json")
        service.admin("enroll", *change, "--why", "first linen of the season", *good[:8])
        service.wait_until_ready()
        started = time.monotonic()
        pictures = iter(
            textile.stream(
                *(sum(each) for each in zip(BEFORE, BETWEEN, AFTER, DARK, MENDED, strict=True)), seed=SEED
            )
        )
        sender = NativeSender(service.ingest, "loom-4", window=8)
        send(sender, [next(pictures) for _ in range(sum(BEFORE))])
        service.admin("calibrate", *change, "--why", "60 parts of the first roll", *good[8:])
        send(sender, [next(pictures) for _ in range(sum(BETWEEN))], damaged=3)
        service.admin("threshold", *change, "--max-false-rejects", "0.04", "--max-reviews", "0.08",
                      "--why", "a person looks at what is close")  # fmt: skip
        send(sender, [next(pictures) for _ in range(sum(AFTER))])
        send(sender, [next(pictures) for _ in range(sum(DARK))], light=LAMP)
        service.admin("drift", "--line", "4", "--reset", "--wait", "60", "--json", "--why", "a new lamp")
        send(sender, list(pictures))
        sender.close()
        report = folder / "report.html"
        seconds = time.monotonic() - started
        service.admin("report", "--line", "4", "--since", f"{seconds:.0f}s", "--out", str(report))
        service.stop()
    return report


def send(
    sender: NativeSender, pictures: Sequence[textile.Picture], *, damaged: int = 0, light: float = 1.0
) -> None:
    """Send at a steady rate and wait for every verdict. Raises ServiceFailed.

    damaged: how many arrive cut off. light: of the pictures' own.
    """
    for index, picture in enumerate(pictures):
        due = time.monotonic() + 1 / RATE_HZ
        data = picture.path.read_bytes() if light == 1.0 else darker(picture.path, light)
        cut = len(data) // 2 if index < damaged else len(data)
        sender.send(Shot(payload=data[:cut], enc="jpeg", part=picture.path.stem))
        while (wait_s := due - time.monotonic()) > 0 or not sender.has_room:
            sender.receive(max(wait_s, 0.01))
    while sender.unanswered:
        if sender.receive(30.0) is None:
            raise ServiceFailed(f"{sender.unanswered} frames were never answered")


def darker(path: Path, light: float) -> bytes:
    """The picture as a JPEG under so much of its light."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise ServiceFailed(f"expected a picture, got {path}")
    _, data = cv2.imencode(".jpg", (picture * light).astype(np.uint8), (cv2.IMWRITE_JPEG_QUALITY, 97))
    return data.tobytes()


def photograph(page: Path, out: Path, *, dark: bool = False) -> None:
    """The upper part of the page as a PNG that is small enough for a repository. Raises ServiceFailed."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ServiceFailed("expected Chromium on the path, found none")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "page.png"
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={raw}"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            page.resolve().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = cv2.imread(str(raw))
    small = cv2.resize(picture, None, fx=SHRINK, fy=SHRINK, interpolation=cv2.INTER_AREA)
    # the last bits of photographs cost half of the file, and nobody sees them at this size
    fewer = np.where(small >= 0xF8, 0xFF, small & 0xF8).astype(np.uint8)
    cv2.imwrite(str(out), fewer, (cv2.IMWRITE_PNG_COMPRESSION, 9))


if __name__ == "__main__":
    sys.exit(main())
