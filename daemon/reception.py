"""What becomes of a message: refused, a replay that is answered, or a frame that the ledger owns from now on."""

from __future__ import annotations

from daemon.admission import Admission, Overload, Replay
from daemon.camera_socket import Message
from daemon.cameras import CameraDirectory, SequenceWatch
from daemon.door import Door
from daemon.flow import RawFrame, Refusal
from daemon.freeing import Freeing
from daemon.in_flight import InFlight, Owned
from daemon.ledger import Ledger
from daemon.observer import Observer
from daemon.replies import Replies
from daemon.wire import Waiter, parse


class Reception:
    """Takes messages in, one after the other; each gets one reply, now or later."""

    def __init__(
        self,
        *,
        cameras: CameraDirectory,
        door: Door,
        admission: Admission,
        in_flight: InFlight,
        ledger: Ledger,
        replies: Replies,
        freeing: Freeing,
        observer: Observer,
    ) -> None:
        self._cameras = cameras
        self._door = door
        self._admission = admission
        self._in_flight = in_flight
        self._ledger = ledger
        self._replies = replies
        self._freeing = freeing
        self._observer = observer
        self._sequences = SequenceWatch()

    def take_in(self, message: Message) -> None:
        """One message."""
        if self._freeing.takes(message):
            return
        if self._freeing.heard(message):
            self._in_flight.forget_waiter(message.route)
            self._replies.forget(message.route)
        try:
            limits = self._admission.options.limits
            raw = parse(message.route, message.parts, self._door.cameras_for(message), limits)
        except Refusal as refusal:
            self._observer.message_unreadable()
            self._refuse(message.route, refusal)
            return
        self._observer.frame_received(raw)
        self._note_gap(raw)
        try:
            self._admit(raw)
        except Refusal as refusal:
            self._refuse(message.route, refusal)

    def _admit(self, raw: RawFrame) -> None:
        window = self._admission.options.window
        waiter = Waiter(route=raw.route, protocol=raw.protocol, seq=raw.identity.seq, window=window)
        judged = self._admission.judge(raw)
        if isinstance(judged, Replay):
            self._observer.duplicate(raw)
            self._answer_replay(judged, waiter)
        elif isinstance(judged, Overload):
            owned = self._ledger.own(judged.frame, raw)
            self._ledger.overload(owned)
            self._await(owned, waiter)
        else:
            self._await(self._ledger.own(judged, raw), waiter)

    def _answer_replay(self, replay: Replay, waiter: Waiter) -> None:
        if replay.verdict is not None:
            self._replies.verdict(waiter, replay.verdict)
        elif replay.owned is not None:
            self._await(replay.owned, waiter)

    def _await(self, owned: Owned, waiter: Waiter) -> None:
        """Promise one reply: at the next commit on a line that replies "queued", else with the verdict."""
        if self._cameras.named(owned.frame.identity.camera).reply == "queued":
            self._replies.promise(waiter, owned.frame.key)
        else:
            owned.waiters.append(waiter)

    def _refuse(self, route: bytes, refusal: Refusal) -> None:
        self._observer.frame_refused(refusal, line=self._cameras.line_of(refusal.camera))
        self._replies.refusal(route, refusal)

    def _note_gap(self, raw: RawFrame) -> None:
        missing = self._sequences.missing(raw.identity)
        if missing:
            self._observer.frame_gap(raw.identity.camera, raw.identity.line, missing)
