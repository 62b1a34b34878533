"""`enroll` and `calibrate`: what is stored, and everything that is refused before anything is."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

import core
from core.decide import ThresholdState
from daemon.bank_store import read_bank_file
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation, answering, write_pictures

Admin = Callable[..., Answer]


def nothing_is_stored(installation: Installation, records: Records) -> bool:
    return records.lines() == [] and records.banks() == [] and not (installation.state / "banks").exists()


def test_enrolling_puts_a_bank_in_charge_and_says_what_the_threshold_promises(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, installation.good, "--object", "woven cloth", "--why", "new loom")
    assert answer.code == 0, answer.err
    assert "11.11% of good parts (an expectation, no promise)" in answer.out
    assignment = records.line(4)
    assert assignment is not None
    assert (assignment.product, assignment.revision) == ("line-4", 1)
    assert assignment.thresholds.state is ThresholdState.PROVISIONAL
    data = read_bank_file(installation.state, assignment.bank_path, assignment.bank_sha256)
    bank = core.bank_from_bytes(data, sha256=assignment.bank_sha256)
    assert bank.header.shots == 8
    assert bank.header.object_name == "woven cloth"
    change = records.changes(4)[0]
    assert (change.action, change.who, change.why) == ("enroll", pwd.getpwuid(os.getuid()).pw_name, "new loom")


def test_the_json_of_an_enrolment_has_every_number_a_machine_needs(
    admin: Admin, installation: Installation
) -> None:
    answer = admin(
        "enroll",
        "--line",
        4,
        installation.good,
        "--calibrate",
        installation.more,
        "--max-false-rejects",
        0.1,
        "--json",
    )
    row = answer.json
    assert (row["product"], row["shots"], row["threshold_state"]) == ("line-4", 8, "calibrated")
    assert row["expected_false_rejects"] <= 0.1 < row["upper_false_rejects"]
    assert row["reference_scores"]["count"] == 8
    assert row["calibration_scores"]["count"] == 12
    assert row["published"]
    assert len(row["bank"]) == 64


def test_the_product_is_the_named_one_else_the_current_one_else_the_settings_else_the_lines(
    admin: Admin, installation: Installation
) -> None:
    def enrolled(line: int, *options: str) -> str:
        return str(admin("enroll", "--line", line, installation.good, "--json", *options).json["product"])

    assert enrolled(5) == "linen"
    assert enrolled(4) == "line-4"
    assert enrolled(4, "--product", "silk") == "silk"
    assert enrolled(4) == "silk"


def test_a_dry_run_says_everything_and_stores_nothing(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, installation.good, "--dry-run", "--json")
    assert answer.code == 0
    assert not answer.json["published"]
    assert nothing_is_stored(installation, records)


def test_an_unreadable_image_is_refused_by_name(
    admin: Admin, installation: Installation, records: Records
) -> None:
    whole = (installation.good / "003.png").read_bytes()
    (installation.good / "003.png").write_bytes(whole[: len(whole) // 2])
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == 1
    assert "003.png" in answer.err
    assert nothing_is_stored(installation, records)


@pytest.mark.parametrize("name", ["000.bmp", "notes.jpg"])
def test_a_folder_with_something_that_only_looks_like_a_picture_is_refused(
    admin: Admin, installation: Installation, records: Records, name: str
) -> None:
    (installation.good / name).write_bytes(b"BM not a picture that we take")
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == 1
    assert name in answer.err
    assert "JPEG or PNG" in answer.err
    assert nothing_is_stored(installation, records)


def test_a_sample_of_another_size_class_is_refused_by_name(
    admin: Admin, installation: Installation, records: Records
) -> None:
    write_pictures(installation.good, range(50, 51), size=(64, 64))
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == 1
    assert "050.png" in answer.err
    assert "64x64" in answer.err
    assert nothing_is_stored(installation, records)


def test_a_duplicate_is_refused_by_name(admin: Admin, installation: Installation, records: Records) -> None:
    shutil.copy(installation.good / "002.png", installation.good / "copy.png")
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == 1
    assert "copy.png" in answer.err
    assert "002.png" in answer.err
    assert nothing_is_stored(installation, records)


def test_a_promise_that_the_samples_cannot_carry_is_refused_with_the_number_it_takes(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin(
        "enroll", "--line", 4, installation.good, "--calibrate", installation.more, "--max-false-rejects", 0.01
    )
    assert answer.code == 1
    assert "takes 99 good samples" in answer.err
    assert "got 12" in answer.err
    assert nothing_is_stored(installation, records)


def test_a_line_that_is_not_in_the_settings_is_refused_and_those_that_are_named(
    admin: Admin, installation: Installation
) -> None:
    answer = admin("enroll", "--line", 7, installation.good)
    assert answer.code == 1
    assert "configured lines: 4, 5" in answer.err


@pytest.mark.parametrize("name", ["missing.png", "empty"])
def test_what_is_not_there_is_refused_by_name(admin: Admin, installation: Installation, name: str) -> None:
    (installation.good.parent / "empty").mkdir()
    answer = admin("enroll", "--line", 4, installation.good.parent / name)
    assert answer.code == 1
    assert name in answer.err


def test_taking_live_frames_where_nobody_can_be_asked_is_wrong_usage_before_anything_is_done(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4)
    assert answer.code == 2
    assert "--yes" in answer.err
    assert not (installation.state / "captures").exists()
    assert nothing_is_stored(installation, records)


@pytest.mark.parametrize("product", ["../etc", "a b", ""])
def test_a_product_name_that_could_be_a_path_is_wrong_usage(
    admin: Admin, installation: Installation, product: str
) -> None:
    answer = admin("enroll", "--line", 4, installation.good, "--product", product)
    assert answer.code == 2


def test_waiting_for_a_daemon_that_does_not_run_ends_as_unavailable_with_the_bank_stored(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, installation.good, "--wait", 0.01)
    assert answer.code == 69
    assert "stored, but the daemon" in answer.err
    assert records.line(4) is not None


def test_waiting_ends_when_the_daemons_status_names_the_bank_and_threshold(
    admin: Admin, installation: Installation, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def status() -> tuple[int, dict[str, Any]]:
        asked.append(records.line(4))
        late = asked[-1] if len(asked) > 2 else None  # the daemon takes its time
        line = {"bank": late.bank_sha256, "threshold": late.thresholds.reject} if late else {"bank": None}
        return 200, {"lines": {"4": line}}

    with answering(status) as address:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        answer = admin("enroll", "--line", 4, installation.good, "--wait", 30, "--json")
    assert answer.code == 0, answer.err
    assert len(asked) == 3
    row = answer.json
    assert datetime.fromisoformat(row["scores_since"]) >= datetime.fromisoformat(row["published_at"])


def test_calibrating_moves_a_provisional_threshold_and_leaves_the_bank_tokens(
    admin: Admin, installation: Installation, records: Records
) -> None:
    admin("enroll", "--line", 4, installation.good)
    before = records.line(4)
    answer = admin("calibrate", "--line", 4, installation.more, "--max-false-rejects", 0.1, "--json")
    assert answer.code == 0, answer.err
    after = records.line(4)
    assert before is not None
    assert after is not None
    assert after.revision == 2
    assert after.thresholds.state is ThresholdState.CALIBRATED
    old, new = (
        core.bank_from_bytes(read_bank_file(installation.state, a.bank_path, a.bank_sha256))
        for a in (before, after)
    )
    assert all(bool((one == other).all()) for one, other in zip(old.tokens, new.tokens, strict=True))
    assert new.header.calibration.reference_scores == old.header.calibration.reference_scores


def test_calibrating_on_the_references_themselves_is_refused(
    admin: Admin, installation: Installation, records: Records
) -> None:
    admin("enroll", "--line", 4, installation.good)
    answer = admin("calibrate", "--line", 4, installation.good)
    assert answer.code == 1
    assert "one of the bank's references" in answer.err
    assert len(records.changes(4)) == 1


def test_calibrating_a_line_without_a_bank_says_to_enrol_first(admin: Admin, installation: Installation) -> None:
    answer = admin("calibrate", "--line", 4, installation.more)
    assert answer.code == 1
    assert "aprilgan-admin enroll --line 4" in answer.err


def test_calibrating_on_nothing_or_on_files_and_live_parts_at_once_is_wrong_usage(
    admin: Admin, installation: Installation
) -> None:
    assert admin("calibrate", "--line", 4).code == 2
    assert admin("calibrate", "--line", 4, installation.more, "--accepted-since", "8h").code == 2
