"""What the service tells whoever watches. Every hook does nothing here; daemon.metrics counts.

Observation cannot stop work: hooks take plain values, return nothing and must not raise.
All hooks are called from the ingress loop's thread, unless their docstring says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.flow import RawFrame, Refusal, Verdict
    from daemon.link import BatchReport, WorkerStatus


class Observer:
    """No-op hooks."""

    def frame_received(self, frame: RawFrame) -> None:
        """A valid message arrived; exactly one of refused, duplicate, or (later) verdict follows."""

    def message_unreadable(self) -> None:
        """A message arrived that never became a frame; `frame_refused` follows."""

    def frame_refused(self, refusal: Refusal, *, line: int | None) -> None:
        """The sender was told ERR or BUSY."""

    def duplicate(self, frame: RawFrame) -> None:
        """A replay was answered with its first verdict."""

    def frame_gap(self, camera: str, line: int, missing: int) -> None:
        """`missing` sequence numbers of a native sender's life never arrived."""

    def recovered(self, count: int) -> None:
        """Pending outbox rows of an earlier life were found at start."""

    def verdict(self, verdict: Verdict, *, slack_s: float) -> None:
        """A verdict became durable. slack_s: deadline minus decision time, negative when missed."""

    def verdict_conflict(self, line: int) -> None:
        """A second, different answer came for a frame that already had one; the first stands."""

    def in_flight(self, count_by_line: dict[int, int]) -> None:
        """Frames owned and not yet answered, per line."""

    def turn(self, *, pending: int, verdicts: int, seconds: float) -> None:
        """One group commit of the outbox."""

    def outbox(self, *, rows: int, bytes_used: int, oldest_age_s: float) -> None:
        """Verdicts that wait for SQL."""

    def rows_written(self, *, inserted: int, ignored: int) -> None:
        """Rows that SQL took, or had already. Called from the recorder's thread."""

    def reloaded(self, result: str) -> None:
        """The settings were read again: ok, invalid, or needs_restart."""

    def dependency(self, name: str, *, up: bool) -> None:
        """Redis or SQL became reachable or unreachable. May be called from any thread."""

    def dependency_error(self, name: str) -> None:
        """A call to a dependency failed. May be called from any thread."""

    def sink(self, name: str, *, up: bool, lag_rows: int) -> None:
        """An output took a turn: whether it works, and how many verdicts wait for it. From its own thread."""

    def sink_delivered(self, name: str, result: str, count: int) -> None:
        """An output's verdicts were delivered, refused for good, or an attempt failed. From its own thread."""

    def sink_lost(self, name: str, count: int) -> None:
        """Verdicts that an output missed: it was too far behind. From its own thread."""

    def line_changed(self, line: int, action: str, count: int) -> None:
        """SQL's audit grew: commands changed what the line scores with. From the dependencies' thread."""

    def storage(self, *, state: str) -> None:
        """The disk was looked at. From the storekeeper's thread."""

    def picture_bytes(self, by_class: dict[str, int]) -> None:
        """What pictures take, by decision. From the storekeeper's thread."""

    def retention_deleted(self, what: str, files: int) -> None:
        """Pictures were deleted: of a decision's parts, or "orphan" ones. From the storekeeper's thread."""

    def connection(self, event: str) -> None:
        """Of the camera socket: accepted, disconnected, handshake_failed, no_room, told_restart, unreachable; of
        both: key_refused.

        May be called from any thread.
        """

    def batch(self, report: BatchReport) -> None:
        """A worker finished a batch."""

    def worker_status(self, status: WorkerStatus) -> None:
        """A worker's heartbeat."""

    def worker_up(self, gpu: str, *, up: bool) -> None:
        """A worker became ready, or was lost."""

    def worker_restarted(self, gpu: str, reason: str) -> None:
        """A worker was replaced."""

    def ready(self, *, checks: dict[str, bool]) -> None:
        """The readiness checks, by name."""
