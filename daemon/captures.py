"""Live capture: `aprilgan-admin` asks for the next frames of a line, the worker leaves them as files.

A request is a folder `STATE/captures/<line>/<id>` with a `request.json`. The worker writes `NNN.png|jpg`, then
`NNN.json` beside it (so a picture that has its JSON is whole), after the frame's answer has left: capturing is
never in the way of a verdict. A request ends when it is full, when it expires, or when its folder is gone; a
worker that takes the place of another goes on where that one was.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from daemon.clock import Clock
from daemon.durable import write_durably
from daemon.kept_frames import picture_bytes, picture_suffix
from daemon.link import ScoredFrame
from daemon.work import QueuedFrame

log = logging.getLogger(__name__)

FOLDER = "captures"
REQUEST = "request.json"
DRAFT = ".tmp-"
LOOK_NS = 500_000_000
"""How often the worker looks for requests, where frames flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedFrame:
    """One captured picture, and what the line said of it. decision, score: as in the verdict; path: the file."""

    path: Path
    key: str
    camera: str
    decision: str
    reason: str | None
    score: float | None
    threshold: float | None
    width: int
    height: int


class CaptureRequest:
    """The asking side. A context manager: leaving it withdraws the request and deletes its pictures.

    Raises OSError when the state folder cannot be written.
    """

    def __init__(self, state: Path, line: int, count: int, *, expires_at: datetime) -> None:
        parent = state / FOLDER / str(line)
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=parent))
        wanted = {"count": count, "expires_at": expires_at.isoformat()}
        (draft / REQUEST).write_text(json.dumps(wanted), encoding="utf-8")
        self.folder = draft.rename(parent / draft.name.removeprefix(DRAFT))  # appears whole

    def __enter__(self) -> CaptureRequest:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def arrived(self) -> list[CapturedFrame]:
        """The frames that are there, in the order they were scored."""
        return [_read(path) for path in sorted(_numbered(self.folder, ".json"), key=_number)]

    def close(self) -> None:
        """Withdraw the request."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class _Open:
    folder: Path
    left: int
    expires_at: datetime
    next_number: int


class Captures:
    """The worker's side: one thread (the finisher) offers every frame that was answered."""

    def __init__(self, state: Path, clock: Clock) -> None:
        self._root = state / FOLDER
        self._clock = clock
        self._looked_ns: int | None = None
        self._open: dict[Path, _Open] = {}

    def offer(self, frame: QueuedFrame, scored: ScoredFrame) -> None:
        """Keep the frame for each request of its line that wants more. A disk that refuses ends the request."""
        self._look()
        for request in [each for each in self._open.values() if each.folder.parent.name == str(frame.line)]:
            if request.left <= 0 or self._clock.now() >= request.expires_at:
                continue
            try:
                self._keep(request, frame, scored)
            except OSError as error:
                request.left = 0
                log.warning("the capture %s ends: %s", request.folder.name, error)

    def _keep(self, request: _Open, frame: QueuedFrame, scored: ScoredFrame) -> None:
        if not request.folder.is_dir():  # withdrawn since the last look
            request.left = 0
            return
        name = f"{request.next_number:03d}"
        picture = request.folder / f"{name}{picture_suffix(frame.header.encoding)}"
        write_durably(picture, picture_bytes(frame))
        height, width = frame.image.shape[:2]
        captured = CapturedFrame(
            path=Path(picture.name),
            key=frame.header.key,
            camera=frame.header.camera,
            decision=scored.decision,
            reason=scored.reason,
            score=scored.score,
            threshold=scored.threshold,
            width=width,
            height=height,
        )
        write_durably(request.folder / f"{name}.json", json.dumps(asdict(captured), default=str).encode())
        request.next_number += 1
        request.left -= 1

    def _look(self) -> None:
        """Find new requests and forget those that are gone, at most every half second."""
        now_ns = self._clock.monotonic_ns()
        if self._looked_ns is not None and now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        self._open = {found.folder: self._open.get(found.folder, found) for found in self._requests()}

    def _requests(self) -> Iterator[_Open]:
        for path in self._root.glob(f"*/*/{REQUEST}"):
            if path.parent.name.startswith(DRAFT):
                continue
            try:
                wanted = json.loads(path.read_text(encoding="utf-8"))
                expires_at = datetime.fromisoformat(wanted["expires_at"])
                request = _resumed(path.parent, int(wanted["count"]), expires_at)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("the capture request %s cannot be read: %s", path, error)
                continue
            if self._clock.now() < expires_at:
                yield request
            else:  # its asker was killed
                shutil.rmtree(path.parent, ignore_errors=True)


def _resumed(folder: Path, count: int, expires_at: datetime) -> _Open:
    """A request with what is in its folder already: of a worker before this one, which may have died at it."""
    numbers = [_number(path) for path in _numbered(folder)]
    return _Open(
        folder=folder,
        left=count - len(_numbered(folder, ".json")),
        expires_at=expires_at,
        next_number=max(numbers, default=-1) + 1,  # past a picture without its JSON as well: nobody may read it
    )


def _numbered(folder: Path, suffix: str = ".*") -> list[Path]:
    return list(folder.glob(f"[0-9]*{suffix}"))


def _number(path: Path) -> int:
    return int(path.stem)


def _read(path: Path) -> CapturedFrame:
    fields = json.loads(path.read_text(encoding="utf-8"))
    return CapturedFrame(**{**fields, "path": path.parent / fields["path"]})
