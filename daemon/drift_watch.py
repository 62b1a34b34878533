"""Watches every line for drift: feeds the verdicts' p-values to the test, raises alarms, keeps what it knows.

It belongs to the ingress loop, costs a few multiplications a part and never raises. What it knows lies in a
small file, written once a minute and at every alarm, so that a restart forgets a minute and no alarm. It changes
nothing: what to do about a drift is a person's to decide.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.drift import DriftTest
from daemon.clock import Clock
from daemon.drift import LineDrift, begun, from_fields, public
from daemon.flow import Verdict

log = logging.getLogger(__name__)

FILE = "drift.json"
SAVE_EVERY_NS = 60_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftOptions:
    """As in the settings' section drift."""

    parts_per_false_alarm: float
    defect_rate: float

    def test(self, drift: LineDrift | None) -> DriftTest | None:
        """The line's test, None where it has nothing to compare with."""
        if drift is None or not drift.watched:
            return None
        return DriftTest(
            samples=drift.samples,
            parts_per_false_alarm=self.parts_per_false_alarm,
            defect_rate=self.defect_rate,
        )


class DriftWatch:
    """`take` and `follow` belong to one thread, `public` and `of` to any.

    lines: ids of the configured lines. state_dir: where the file lies.
    """

    def __init__(self, *, lines: Iterable[int], options: DriftOptions, state_dir: Path, clock: Clock) -> None:
        self._lines = frozenset(lines)
        self._options = options
        self._path = state_dir / FILE
        self._clock = clock
        self._drifts = {line: drift for line, drift in read_drifts(self._path).items() if line in self._lines}
        self._tests = {line: options.test(drift) for line, drift in self._drifts.items()}
        self._saved_ns = clock.monotonic_ns()
        self._fails = False

    def watch(self, lines: Iterable[int]) -> None:
        """Watch these lines from now on; what is known of former ones is forgotten."""
        self._lines = frozenset(lines)
        self._drifts = {line: drift for line, drift in self._drifts.items() if line in self._lines}

    def of(self, line: int) -> LineDrift | None:
        """What is known of a line, None while it has no bank."""
        return self._drifts.get(line)

    def level(self, line: int) -> float:
        """How near a line's alarm is: 0 nothing, 1 the alarm."""
        drift, test = self._drifts.get(line), self._tests.get(line)
        return test.level(drift.evidence) if drift and test else 0.0

    def public(self, line: int) -> dict[str, Any]:
        """For /statusz."""
        drift = self._drifts.get(line)
        return public(drift, self._options.test(drift))

    @property
    def alarmed(self) -> list[int]:
        """Lines whose alarm stands."""
        return sorted(line for line, drift in dict(self._drifts).items() if drift.alarm is not None)

    def follow(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """The lines as a heartbeat shows them (link.WorkerStatus.lines): a new revision begins anew."""
        for line in self._lines:
            state = states.get(str(line), {})
            drift = self._drifts.get(line)
            # without a bank the worker is only starting: what is known stays
            if state.get("bank") is None or (drift is not None and drift.follows(state)):
                continue
            self._drifts[line] = begun(line, state, drift, self._clock.now())
            self._tests[line] = self._options.test(self._drifts[line])
            self.save()
        if self._clock.monotonic_ns() - self._saved_ns >= SAVE_EVERY_NS:
            self.save()

    def take(self, verdict: Verdict) -> bool:
        """One durable verdict; whether it raised its line's alarm. A part without a p-value says nothing."""
        drift, test = self._drifts.get(verdict.line), self._tests.get(verdict.line)
        if drift is None or test is None or verdict.p_value is None:
            return False
        if verdict.bank_sha256 != drift.bank_sha256:  # decided just before or after a change
            return False
        after = drift.seen(test, verdict.p_value, self._clock.now())
        self._drifts[verdict.line] = after
        if drift.alarm is not None or after.alarm is None:
            return False
        log.warning(
            "line %d drifts: good parts of %s score %s than at their calibration (%d parts since %s). "
            "Look at lens, light and material, then calibrate, enrol or `aprilgan-admin drift --line %d --reset`",
            verdict.line,
            verdict.product,
            after.alarm.direction,
            after.alarm.parts,
            after.since,
            verdict.line,
        )
        self.save()
        return True

    def save(self) -> None:
        """Keep everything in the file. A disk that refuses is told of once."""
        self._saved_ns = self._clock.monotonic_ns()
        data = json.dumps({str(line): asdict(drift) for line, drift in sorted(self._drifts.items())})
        draft = self._path.with_name(f".tmp-{FILE}")
        try:
            # whole or not at all, but not synced: the loop must not wait, and an old file only costs evidence
            draft.write_text(data, encoding="utf-8")
            os.replace(draft, self._path)
        except OSError as error:
            if not self._fails:
                log.warning("%s cannot be written, a restart would forget the drift watch: %s", FILE, error)
            self._fails = True
        else:
            self._fails = False


def read_drifts(path: Path) -> dict[int, LineDrift]:
    """The watches that a file keeps; none where there is no file that can be read."""
    try:
        rows = json.loads(path.read_bytes())
        return {int(line): from_fields(fields) for line, fields in rows.items()}
    except FileNotFoundError:
        return {}
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        log.warning("%s cannot be read, the drift watch begins anew: %s", path.name, error)
        return {}
