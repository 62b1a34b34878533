"""What is deleted, what never is, and what a kill in between leaves, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.decide import Decision
from daemon import picture_rows, verdict_queries
from daemon.clock import SystemClock
from daemon.database import RecordsUnavailable
from daemon.observer import Observer
from daemon.orphan_sweep import OrphanSweep
from daemon.records import Records
from daemon.retention import END_OF_TIME, Retention, Rule, due_before
from daemon.setting_sections import RetentionSettings
from daemon.settings import Settings
from daemon.storage import DiskState
from daemon.storekeeper import Storekeeper
from tests.daemon.outputs.rig import verdict
from tests.daemon.patience import until

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FOREVER = RetentionSettings(accept_days=0, review_days=0, reject_days=0)
MIB = 1024 * 1024


class Deletions(Observer):
    def __init__(self) -> None:
        self.files: Counter[str] = Counter()

    def retention_deleted(self, what: str, files: int) -> None:
        self.files[what] += files


@dataclass
class Stage:
    state: Path
    records: Records
    observer: Deletions = field(default_factory=Deletions)

    def __post_init__(self) -> None:
        self.retention = Retention(state=self.state, database=self.records.database, observer=self.observer)

    def part(
        self, number: int, decision: Decision, *, days: float = 0, size: int = 10, recorded: bool = True
    ) -> Path:
        """A part of so many days ago with a heatmap and a picture of `size` bytes each; the heatmap."""
        day = (NOW - timedelta(days=days)).date().isoformat()
        paths = [f"{folder}/4/{day}/cam4:b1:{number}.png" for folder in ("heatmaps", "frames")]
        for path in paths:
            (self.state / path).parent.mkdir(parents=True, exist_ok=True)
            (self.state / path).write_bytes(bytes(size))
        if recorded:
            row = replace(
                verdict(number, decision=decision),
                decided_at=NOW - timedelta(days=days),
                heatmap=paths[0],
                frame=paths[1],
                no_heatmap=None,
            )
            self.records.insert_inspections([row])
        return self.state / paths[0]

    def run(self, settings: RetentionSettings, giving_way: tuple[Decision, ...] = ()) -> None:
        while self.retention.count():
            pass
        while self.retention.step(settings, now=NOW, giving_way=giving_way):
            pass

    def row(self, number: int) -> tuple[str | None, str | None, str | None]:
        found = verdict_queries.find(self.records.database, f"cam4:b1:{number}")
        assert found is not None
        return found.heatmap, found.frame, found.no_heatmap


@pytest.fixture
def stage(tmp_path: Path, records_url: str) -> Iterator[Stage]:
    records = Records(records_url)
    records.upgrade()
    yield Stage(tmp_path, records)
    records.close()


def test_each_class_is_kept_its_own_time_and_rows_for_ever(stage: Stage) -> None:
    accepted, unsure = (stage.part(0, Decision.ACCEPT, days=50), stage.part(1, Decision.REVIEW, days=50))
    fresh = stage.part(2, Decision.ACCEPT, days=5)
    stage.run(RetentionSettings(accept_days=14, review_days=90))
    assert not accepted.exists()
    assert unsure.exists()
    assert fresh.exists()
    assert stage.row(0) == (None, None, "retention")
    assert stage.row(2)[2] is None
    assert stage.observer.files == {"accept": 2}


def test_beyond_its_bytes_a_class_loses_its_oldest_and_no_more_than_it_must(stage: Stage) -> None:
    files = [stage.part(number, Decision.REJECT, days=10 - number, size=MIB // 4) for number in range(6)]
    stage.run(replace_mb(reject_mb=2))
    assert [file.exists() for file in files] == [False, False, True, True, True, True]
    assert stage.retention.held_bytes["reject"] == 2 * MIB


def test_a_short_disk_takes_accepted_pictures_and_leaves_the_others(stage: Stage) -> None:
    files = {
        decision: stage.part(number, decision)
        for number, decision in enumerate((Decision.ACCEPT, Decision.REVIEW, Decision.REJECT))
    }
    stage.run(FOREVER, giving_way=(Decision.ACCEPT,))
    assert [file.exists() for file in files.values()] == [False, True, True]
    stage.run(FOREVER, giving_way=(Decision.ACCEPT, Decision.REVIEW, Decision.REJECT))
    assert not any(file.exists() for file in files.values())
    assert [stage.row(number) for number in range(3)] == [(None, None, "retention")] * 3


def test_parts_that_are_decided_after_the_clock_was_set_back_give_way_too(stage: Stage) -> None:
    stage.part(1, Decision.ACCEPT)
    stage.run(FOREVER, giving_way=(Decision.ACCEPT,))
    later = stage.part(2, Decision.ACCEPT, days=2 / 24)
    stage.retention.step(FOREVER, now=NOW - timedelta(hours=2), giving_way=(Decision.ACCEPT,))
    assert not later.exists()


def test_a_held_part_keeps_its_pictures_until_it_is_released(stage: Stage) -> None:
    held, other = stage.part(1, Decision.ACCEPT, days=99), stage.part(2, Decision.ACCEPT, days=99)
    assert picture_rows.set_hold(stage.records.database, "cam4:b1:1", hold=True) is not None
    stage.run(RetentionSettings(), giving_way=(Decision.ACCEPT,))
    assert (held.exists(), other.exists()) == (True, False)
    assert [row["key"] for row in picture_rows.held(stage.records.database)] == ["cam4:b1:1"]
    picture_rows.set_hold(stage.records.database, "cam4:b1:1", hold=False)
    stage.retention.step(RetentionSettings(), now=NOW + timedelta(hours=2))
    assert not held.exists()


def test_a_hold_that_comes_while_a_step_runs_wins(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stage.part(1, Decision.ACCEPT, days=99)
    read = picture_rows.oldest

    def read_and_hold(*arguments, **options):
        rows = read(*arguments, **options)
        picture_rows.set_hold(stage.records.database, "cam4:b1:1", hold=True)
        return rows

    monkeypatch.setattr(picture_rows, "oldest", read_and_hold)
    stage.run(RetentionSettings())
    assert file.exists()
    assert stage.row(1)[0] is not None


def test_many_parts_go_in_steps_of_a_few(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.retention.STEP_ROWS", 4)
    monkeypatch.setattr("daemon.retention.STEP_PARTS", 2)
    files = [stage.part(number, Decision.ACCEPT, days=20 + number % 3) for number in range(11)]
    keep = stage.part(99, Decision.ACCEPT, days=1)
    stage.retention.step(RetentionSettings(), now=NOW)
    assert sum(file.exists() for file in files) == 9
    stage.run(RetentionSettings())
    assert not any(file.exists() for file in files)
    assert keep.exists()


def test_a_kill_between_row_and_file_leaves_a_file_that_the_sweep_finds(stage: Stage) -> None:
    file, named = stage.part(1, Decision.ACCEPT), stage.part(2, Decision.ACCEPT)
    stranger = stage.part(3, Decision.ACCEPT, recorded=False)
    feedback = stage.state / "feedback" / "weave" / "1.png"
    feedback.parent.mkdir(parents=True)
    feedback.write_bytes(b"x")
    row = picture_rows.oldest(stage.records.database, Decision.ACCEPT, None, limit=1)[0]
    picture_rows.empty(stage.records.database, [row.id])
    draft = file.with_name(".tmp-abc")
    draft.write_bytes(b"x")
    for path in (file, named, stranger, draft):
        os.utime(path, (1, 1))
    sweep = OrphanSweep(state=stage.state, database=stage.records.database)
    removed = []
    more = True
    while more:
        count, more = sweep.step()
        removed.append(count)
    assert not file.exists()
    assert not draft.exists()
    assert named.exists()
    assert stranger.exists()  # perhaps another database's
    assert feedback.exists()
    # its frame is younger than an hour
    assert sum(removed) == 2


def test_days_that_are_empty_go_with_their_last_picture(stage: Stage) -> None:
    day = stage.part(1, Decision.ACCEPT, days=99).parent
    stage.run(RetentionSettings())
    os.utime(day, (1, 1))
    OrphanSweep(state=stage.state, database=stage.records.database).step()
    assert not day.exists()


def test_a_row_that_leads_out_of_the_folders_deletes_nothing(stage: Stage) -> None:
    secret = stage.state / "records.key"
    secret.write_bytes(b"x")
    row = replace(
        verdict(1, decision=Decision.ACCEPT), decided_at=NOW - timedelta(days=99), heatmap="../records.key"
    )
    stage.records.insert_inspections([row])
    stage.records.insert_inspections([replace(row, key="k2", heatmap="records.key")])
    stage.run(RetentionSettings())
    assert secret.exists()


@pytest.mark.parametrize(
    ("rule", "held", "pressed", "expected"),
    [
        (Rule(age=timedelta(days=3), size=None), 0, False, NOW - timedelta(days=3)),
        (Rule(age=None, size=None), 0, False, None),
        (Rule(age=None, size=None), 0, True, END_OF_TIME),
        (Rule(age=timedelta(days=3), size=100), 101, False, END_OF_TIME),
        (Rule(age=None, size=100), 100, False, None),
    ],
)
def test_what_is_due(rule: Rule, held: int, pressed: bool, expected: datetime | None) -> None:
    assert due_before(rule, now=NOW, held_bytes=held, pressed=pressed) == expected


def test_without_sql_nothing_is_deleted_and_the_keeper_lives_on(tmp_path: Path) -> None:
    class Down(Retention):
        looks = 0

        def count(self) -> bool:
            self.looks += 1
            raise RecordsUnavailable("no connection")

    records = Records(f"sqlite:///{tmp_path / 'none.db'}")
    retention = Down(state=tmp_path, database=records.database, observer=Observer())
    keeper = Storekeeper(
        Settings(),
        state_dir=tmp_path,
        retention=retention,
        sweep=OrphanSweep(state=tmp_path, database=records.database),
        observer=Observer(),
        clock=SystemClock(),
        every_s=0.001,
    )
    keeper.start()
    until(lambda: retention.looks > 3)
    assert keeper.is_alive()
    assert keeper.status()["state"] in set(DiskState)
    keeper.stop(20)
    assert not keeper.is_alive()
    records.close()


def replace_mb(**sizes: int) -> RetentionSettings:
    return FOREVER.model_copy(update=sizes)
