"""`enroll` with switches: each reaches the bank, and what means nothing is refused before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import core
from daemon.bank_store import read_bank_file
from daemon.exit_codes import ExitCode
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]

SIZE = (48, 64)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """The left half of a picture."""
    return write_mask(tmp_path / "mask.png", SIZE)


def write_mask(path: Path, size: tuple[int, int]) -> Path:
    left = np.zeros(size, dtype=np.uint8)
    left[:, : size[1] // 2] = 1
    cv2.imwrite(str(path), left)
    return path


def enrolled(admin: Admin, installation: Installation, records: Records, *options: object) -> core.ReferenceBank:
    answer = admin("enroll", "--line", 4, installation.good, *options)
    assert answer.code == 0, answer.err
    assignment = records.line(4)
    assert assignment is not None
    data = read_bank_file(installation.state, assignment.bank_path, assignment.bank_sha256)
    return core.bank_from_bytes(data, sha256=assignment.bank_sha256)


def test_every_switch_is_kept_with_the_product(
    admin: Admin, installation: Installation, records: Records, mask: Path
) -> None:
    options = ("--rotations", 2, "--budget", 99, "--neighbourhood", 3, "--smoothing", 2.5, "--roi", mask)
    bank = enrolled(admin, installation, records, *options)
    expected = core.MatchOptions(rotations=2, budget=99, neighbourhood=3, smoothing_px=2.5)
    assert bank.header.match == expected
    assert [len(stage) for stage in bank.tokens] == [99] * len(bank.header.stages)
    assert bank.roi is not None
    assert bank.roi[:, :16].all()
    assert not bank.roi[:, 16:].any()


def test_without_switches_a_product_has_the_presets_own(
    admin: Admin, installation: Installation, records: Records
) -> None:
    bank = enrolled(admin, installation, records)
    assert bank.header.match == core.MatchOptions()
    assert bank.roi is None


def test_a_budget_of_zero_keeps_every_token(admin: Admin, installation: Installation, records: Records) -> None:
    assert enrolled(admin, installation, records, "--budget", 0).header.match.budget is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--neighbourhood", 2), "odd number of tokens"),
        (("--tokens", "vv"), "sdp, sdp+"),
        (("--text-weight", 0.2), "has no words"),
        (("--roi", "{folder}/none.png"), "cannot read"),
        (("--roi", "{folder}/black.png"), "empty"),
        (("--roi", "{folder}/small.png"), "expected a region of 64x48 pixels"),
        (("--roi", "{folder}/mask.jpg"), "expected a PNG"),
    ],
)
def test_a_switch_that_means_nothing_here_is_refused(
    admin: Admin,
    installation: Installation,
    records: Records,
    tmp_path: Path,
    options: tuple[str, object],
    words: str,
) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros(SIZE, dtype=np.uint8))
    write_mask(tmp_path / "small.png", (24, 32))
    write_mask(tmp_path / "mask.jpg", SIZE)
    answer = admin("enroll", "--line", 4, installation.good, options[0], str(options[1]).format(folder=tmp_path))
    assert answer.code == ExitCode.REFUSED
    assert words in " ".join(answer.err.split())
    assert records.lines() == []
