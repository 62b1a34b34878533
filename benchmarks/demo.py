"""`make demo`: the whole product on real pictures, from enrolment to report, as its real processes.

An embedded Redis-compatible server, SQLite, the daemon; `aprilgan-admin enroll --line 4` from 8 good textile
pictures; then held-out frames, good and defective, over a socket at a steady rate. The report and the last
line's figures are computed from the verdicts that came back and the rows in SQL.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks import textile
from benchmarks.demo_report import write_report
from benchmarks.service import Service, ServiceFailed
from daemon.native_sender import NativeSender, Shot

SEED = 0
SHOTS = 8
FRAMES = {"nominal": 120, "local": 60, "global": 60}
RATE_HZ = 6.0
DECISIONS = ("accept", "review", "reject", "uninspected")


@dataclass(frozen=True, slots=True)
class Answered:
    """One frame and the verdict it got."""

    picture: textile.Picture
    verdict: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; exit code 0 when every frame was answered and recorded."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/demo"), help="where everything is written")
    parser.add_argument("--rate", type=float, default=RATE_HZ, help="frames a second (default %(default)s)")
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        summary = run(options.folder, options.rate, console)
    except ServiceFailed as error:
        console.print(f"[red]The demo failed:[/red] {error}")
        return 1
    print(json.dumps(summary))
    return 0


def run(folder: Path, rate_hz: float, console: Console) -> dict[str, Any]:
    """The demo's story, step by step. Raises ServiceFailed."""
    lines = {4: {"name": "Loom 4", "product": "linen"}}
    extra = '\n[heatmaps]\nkeep = "all"\n\n[log]\nformat = "text"\n'
    with Service(folder, lines=lines, cameras={"loom-4": 4}, extra=extra) as service:
        console.print("[bold]1. The service starts[/bold] (embedded Redis-compatible server, SQLite, worker)")
        service.wait_for("worker")
        console.print(f"[bold]2. Enrolment[/bold] from {SHOTS} good pictures: aprilgan-admin enroll --line 4")
        good = [str(picture.path) for picture in textile.references(SHOTS, seed=SEED)]
        enrolment = json.loads(service.admin("enroll", "--line", "4", "--wait", "30", "--json", *good))
        console.print(
            f"   bank {enrolment['bank'][:12]}, reject above {enrolment['reject_above']:.2f} "
            f"({enrolment['threshold_state']})"
        )
        service.wait_until_ready()
        pictures = textile.stream(*FRAMES.values(), seed=SEED)
        console.print(f"[bold]3. {len(pictures)} held-out frames[/bold] over ZeroMQ at {rate_hz:g} a second")
        answered, seconds = send(service.ingest, pictures, rate_hz, console)
        metrics = service.text("metrics") or ""
        service.stop()
        rows = read_rows(service.state / "records.db")
        check(answered, rows)
        summary = summarise(answered, seconds, folder / "report.html")
        write_report(
            folder / "report.html",
            answered=answered,
            state=service.state,
            enrolment=enrolment,
            references=good,
            summary=summary,
        )
        (folder / "metrics.txt").write_text(metrics, encoding="utf-8")
    console.print(table(answered))
    console.print(f"Report: {folder / 'report.html'}")
    return summary


def send(
    connect: str, pictures: Sequence[textile.Picture], rate_hz: float, console: Console
) -> tuple[list[Answered], float]:
    """Send every picture at its time and collect every reply; the verdicts in order and the seconds it took."""
    sender = NativeSender(connect, "loom-4", window=8)
    verdicts: dict[int, dict[str, Any]] = {}
    columns = (TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("answered", total=len(pictures))
        for index, picture in enumerate(pictures):
            while (wait_s := started + index / rate_hz - time.monotonic()) > 0 or not sender.has_room:
                _collect(sender, verdicts, max(wait_s, 0.01))
            sender.send(Shot(payload=picture.path.read_bytes(), enc="jpeg", part=picture.path.stem))
            bar.update(task, completed=len(verdicts))
        while sender.unanswered:
            if not _collect(sender, verdicts, 30.0):
                raise ServiceFailed(f"{sender.unanswered} frames were never answered")
            bar.update(task, completed=len(verdicts))
    seconds = time.monotonic() - started
    sender.close()
    return [Answered(picture, verdicts[index + 1]) for index, picture in enumerate(pictures)], seconds


def _collect(sender: NativeSender, verdicts: dict[int, dict[str, Any]], wait_s: float) -> bool:
    reply = sender.receive(wait_s)
    if reply is None:
        return False
    if reply["status"] != "verdict":
        raise ServiceFailed(f"expected a verdict, got {reply}")
    verdicts[reply["seq"]] = reply
    return True


def read_rows(database: Path) -> dict[str, sqlite3.Row]:
    """The recorded verdicts by key."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["key"]: row for row in connection.execute("SELECT * FROM inspections")}


def check(answered: Sequence[Answered], rows: dict[str, sqlite3.Row]) -> None:
    """What the sender was told is what the database says, part by part. Raises ServiceFailed."""
    told = {frame.verdict["key"]: frame.verdict["decision"] for frame in answered}
    recorded = {key: row["decision"] for key, row in rows.items()}
    if told != recorded:
        raise ServiceFailed(f"{len(told)} verdicts were told and {len(recorded)} recorded, and they differ")


def summarise(answered: Sequence[Answered], seconds: float, report: Path) -> dict[str, Any]:
    """The figures of contract.md. image_auroc: nominal against all defects, over the frames that have a score."""
    decisions = [frame.verdict["decision"] for frame in answered]
    scored = [frame for frame in answered if frame.verdict["score"] is not None]
    total_ms = np.array([frame.verdict["total_ms"] for frame in answered])
    return {
        "frames": len(answered),
        **{decision: decisions.count(decision) for decision in ("accept", "reject", "review", "uninspected")},
        "image_auroc": round(auroc(scored), 4),
        "p50_ms": round(float(np.percentile(total_ms, 50)), 1),
        "p99_ms": round(float(np.percentile(total_ms, 99)), 1),
        "fps": round(len(answered) / seconds, 2),
        "report": str(report),
    }


def auroc(scored: Sequence[Answered], kind: str | None = None) -> float:
    """Image AUROC of nominal against one kind of defect, or against both."""
    chosen = [frame for frame in scored if kind is None or frame.picture.kind in ("nominal", kind)]
    truth = [frame.picture.defective for frame in chosen]
    return float(roc_auc_score(truth, [frame.verdict["score"] for frame in chosen]))


def table(answered: Sequence[Answered]) -> Table:
    """What was sent against what was decided."""
    shown = Table(title="What was sent, and what the line was told")
    for name in ("sent", *DECISIONS, "image AUROC"):
        shown.add_column(name, justify="left" if name == "sent" else "right")
    scored = [frame for frame in answered if frame.verdict["score"] is not None]
    for kind in textile.KINDS:
        decisions = [frame.verdict["decision"] for frame in answered if frame.picture.kind == kind]
        rate = "" if kind == "nominal" else f"{auroc(scored, kind):.3f}"
        shown.add_row(kind, *(str(decisions.count(decision)) for decision in DECISIONS), rate)
    return shown


if __name__ == "__main__":
    sys.exit(main())
