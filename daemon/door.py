"""Which cameras a message may speak for: without security any configured one, with CURVE its key's own."""

from __future__ import annotations

from typing import Protocol

from daemon.authorized_keys import Role
from daemon.camera_socket import Message
from daemon.cameras import CameraDirectory
from daemon.curve import Guard


class Door(Protocol):
    """Asked once a message, so that a right that was taken away ends with the message before."""

    def cameras_for(self, message: Message) -> CameraDirectory: ...


class OpenDoor:
    """No security: the socket is on loopback, or the network is trusted."""

    def __init__(self, cameras: CameraDirectory) -> None:
        self._cameras = cameras

    def cameras_for(self, message: Message) -> CameraDirectory:
        """All of them."""
        return self._cameras


class KeyedDoor:
    """The connection's key says which camera it is, whatever the message claims."""

    def __init__(self, cameras: CameraDirectory, guard: Guard) -> None:
        self._cameras = cameras
        self._ring = guard.ring

    def cameras_for(self, message: Message) -> CameraDirectory:
        """The key's camera alone; none for a key that is not authorized, or not any more."""
        return self._cameras.only(self._ring.holder(message.key, Role.CAMERA))


def door_of(cameras: CameraDirectory, guard: Guard | None) -> Door:
    """The door that goes with the sockets' security."""
    return OpenDoor(cameras) if guard is None else KeyedDoor(cameras, guard)
