"""The next frames of a running line, as pictures to enrol from: asked for, awaited, each shown as it comes.

The request stands for as long as the pictures are needed; leaving the context withdraws it and deletes them.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from core.decide import Decision
from core.picture_traits import picture_traits
from daemon.admin.output import remark
from daemon.admin.running import page
from daemon.admin.samples import Picture, read_frame
from daemon.admin.session import Refused, Session, Unavailable
from daemon.captures import CapturedFrame, CaptureRequest

POLL_S = 0.1
SILENCE_S = 60.0
"""A line that brings no frame for so long is silent, unless told otherwise."""


class Arriving(Protocol):
    """A request whose frames come one by one (daemon.captures.CaptureRequest)."""

    def arrived(self) -> Sequence[CapturedFrame]: ...


@contextmanager
def live_frames(session: Session, line: int, count: int, *, silence_s: float) -> Iterator[list[Picture]]:
    """The next `count` frames of a line, fewer where it falls silent; at least one.

    Raises Unavailable where no daemon runs or no frame comes, Refused where its files would not be ours to share.
    """
    _check_running(session, line)
    _check_same_user(session.state_dir)
    longest = timedelta(seconds=silence_s * (count + 1))
    with CaptureRequest(session.state_dir, line, count, expires_at=datetime.now(UTC) + longest) as request:
        remark(f"Waiting for the next {count} frames of line {line}; let good parts pass.")
        pictures: list[Picture] = []

        def take(frame: CapturedFrame) -> None:
            picture = replace(read_frame(frame.path, frame.key), doubt=doubt(frame))
            pictures.append(picture)
            remark(progress_line(len(pictures), count, frame, picture))

        await_frames(request, count, silence_s=silence_s, take=take)
        if not pictures:
            raise Unavailable(_silent(session, line, silence_s))
        if len(pictures) < count:
            remark(f"Line {line} fell silent for {silence_s:g} s: {len(pictures)} of {count} frames came.")
        yield pictures


def await_frames(
    request: Arriving,
    count: int,
    *,
    silence_s: float,
    take: Callable[[CapturedFrame], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Hand on each frame as it comes, until there are `count` or none came for `silence_s`."""
    taken, deadline = 0, clock() + silence_s
    while taken < count and clock() < deadline:
        fresh = request.arrived()[taken:count]
        for frame in fresh:
            take(frame)
        if fresh:
            taken, deadline = taken + len(fresh), clock() + silence_s
        else:
            sleep(POLL_S)


def progress_line(number: int, count: int, frame: CapturedFrame, picture: Picture) -> str:
    """One captured frame in a line: camera, key, size, sharpness, and its score where the line has a bank."""
    traits = picture_traits(picture.sample.image)
    scored = "no bank yet" if frame.score is None else f"score {frame.score:.2f} ({frame.decision})"
    return (
        f"{number:>3}/{count}  {frame.camera}  {frame.key}  {frame.width}x{frame.height}  "
        f"sharpness {traits.sharpness:.2f}  light {traits.brightness:.0f}  {scored}"
    )


def doubt(frame: CapturedFrame) -> str | None:
    """What to say of a frame that the line's present bank would stop. Pure."""
    if frame.decision not in (Decision.REJECT, Decision.REVIEW) or frame.score is None or frame.threshold is None:
        return None
    return (
        f"was not accepted by the present bank (score {frame.score:.2f}, reject above {frame.threshold:.2f}); "
        "if it is not a good part, leave it out"
    )


def _check_running(session: Session, line: int) -> None:
    ready = page(session, "readyz")
    if ready is None:
        raise Unavailable(
            f"no daemon answers at {session.settings.http.bind}, so there are no live frames of line {line}; "
            "start it (systemctl start aprilgan-daemon), or name picture files"
        )
    worker = ready.get("checks", {}).get("worker", {})
    if not worker.get("ok", False):
        raise Unavailable(f"the daemon has no worker yet ({worker.get('detail', 'unknown')}); try again")


def _check_same_user(state: Path) -> None:
    """The daemon writes into the folder that we make, so we must be its user. Raises Refused."""
    owner = state.stat().st_uid
    if owner != os.getuid():
        name = pwd.getpwuid(owner).pw_name
        raise Refused(
            f"the state folder {state} belongs to {name}, and only {name} can share files with the daemon: "
            f"sudo -u {name} aprilgan-admin …"
        )


def _silent(session: Session, line: int, silence_s: float) -> str:
    cameras = [camera.name for camera in session.settings.cameras if camera.line == line]
    looked_at = f"its cameras are {', '.join(cameras)}" if cameras else "no camera is configured for it"
    return (
        f"line {line} brought no frame in {silence_s:g} s ({looked_at}): is it running? `aprilgan-admin verdicts "
        f"--line {line}` shows the last parts; --timeout waits longer"
    )
