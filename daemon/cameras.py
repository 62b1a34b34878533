"""The configured cameras: which line each looks at and what was promised to it. The wire cannot change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.flow import Identity, Refusal, RefusalReason

if TYPE_CHECKING:
    from daemon.setting_sections import CameraSettings, LineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera. color: channel order of its raw frames, "bgr" | "rgb" | "gray".

    deadline_ms: receipt to verdict, its line's. reply: "verdict", or "queued" for lines that only want to
    know that the frame is safe.
    """

    name: str
    line: int
    color: str
    deadline_ms: int
    reply: str


class CameraDirectory:
    """Looks cameras up by the name that a message claims. It may become another between two messages."""

    def __init__(self, cameras: Iterable[Camera]) -> None:
        self._by_name = {camera.name: camera for camera in cameras}

    @classmethod
    def of(cls, lines: Iterable[LineSettings], cameras: Iterable[CameraSettings]) -> CameraDirectory:
        """The directory of these settings; each camera's line must be among `lines`."""
        by_id = {line.id: line for line in lines}
        return cls(
            Camera(
                name=camera.name,
                line=camera.line,
                color=camera.color,
                deadline_ms=by_id[camera.line].deadline_ms,
                reply=by_id[camera.line].reply,
            )
            for camera in cameras
        )

    def become(self, other: CameraDirectory) -> None:
        """Hold the other's cameras and no others."""
        self._by_name = other._by_name

    def named(self, claim: object) -> Camera:
        """The camera of that name. Raises Refusal(UNKNOWN_CAMERA): a name is never guessed."""
        camera = self._by_name.get(claim) if isinstance(claim, str) else None
        if camera is None:
            raise Refusal(RefusalReason.UNKNOWN_CAMERA, f"unknown camera {repr(claim)[:80]}")
        return camera

    def only(self, holder: str | None) -> CameraDirectory:
        """The directory as one camera's key sees it. holder: None for a key that nobody is bound to."""
        return _HeldDirectory(self._by_name, holder)

    def line_of(self, name: str) -> int | None:
        """The line of a configured camera, else None."""
        camera = self._by_name.get(name)
        return camera.line if camera else None


class _HeldDirectory(CameraDirectory):
    """Lets a sender name the camera that its key is bound to and no other."""

    def __init__(self, by_name: dict[str, Camera], holder: str | None) -> None:
        self._by_name = by_name
        self._holder = holder

    def named(self, claim: object) -> Camera:
        if self._holder is None:
            raise Refusal(RefusalReason.NOT_AUTHORIZED, "this connection's key is not authorized, or not any more")
        camera = super().named(claim)
        if camera.name != self._holder:
            raise Refusal(
                RefusalReason.NOT_AUTHORIZED,
                f"this connection's key is camera {self._holder}'s: it may not send as {camera.name}",
                camera=self._holder,  # whose key it is, not whom it plays
            )
        return camera


class SequenceWatch:
    """Notices numbers that a native sender's life skipped. Bounded: one entry a configured camera."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def missing(self, identity: Identity) -> int:
        """How many numbers were skipped since the last frame of this life; 0 for a replay or a new life."""
        if identity.boot is None or identity.seq is None:
            return 0
        boot, last = self._last.get(identity.camera, (identity.boot, identity.seq - 1))
        if boot != identity.boot:
            last = identity.seq - 1
        self._last[identity.camera] = (identity.boot, max(last, identity.seq))
        return max(0, identity.seq - last - 1)
