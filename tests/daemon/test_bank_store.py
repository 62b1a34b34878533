"""Publishing over real files, SQLite and a real Redis-compatible server: each step durable before the next."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from core.errors import BankError
from daemon import bank_store
from daemon.bank_cache import BankCache
from daemon.bank_store import bank_path, publish, read_bank_file, tell
from daemon.durable import write_durably
from daemon.embedded_redis import EmbeddedRedis
from daemon.records import Records, RecordsUnavailable, RevisionConflict
from tests.pictures import samples


@pytest.fixture(scope="module")
def bank(tiny_scorer: core.Scorer) -> core.ReferenceBank:
    return core.enrol(tiny_scorer, samples(3), product="cloth", object_name="woven cloth").bank


@pytest.fixture
def records(state_dir: Path) -> Iterator[Records]:
    records = Records(f"sqlite:///{state_dir / 'records.db'}")
    records.prepare()
    yield records
    records.close()


@pytest.fixture
def cache() -> Iterator[BankCache]:
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    server = EmbeddedRedis(folder / "redis.sock", folder)
    server.start()
    cache = BankCache(server.url)
    yield cache
    cache.close()
    server.stop()
    shutil.rmtree(folder)


def test_a_published_bank_is_in_its_file_in_sql_and_in_redis(
    records: Records, cache: BankCache, state_dir: Path, bank: core.ReferenceBank
) -> None:
    feed = cache.subscribe()
    assignment = publish(
        records, cache, state_dir, bank, line=4, who="tester", why="first", action="enroll", expected_revision=0
    )
    data = read_bank_file(state_dir, assignment.bank_path, assignment.bank_sha256)
    assert core.bank_from_bytes(data, sha256=assignment.bank_sha256).header == bank.header
    assert records.line(4) == assignment
    recorded = records.bank(assignment.bank_sha256)
    assert recorded is not None
    assert (recorded.size_bytes, recorded.shots, recorded.product) == (len(data), 3, "cloth")
    assert [product.object_name for product in records.products()] == ["woven cloth"]
    assert [(change.action, change.who, change.why) for change in records.changes(4)] == [
        ("enroll", "tester", "first")
    ]
    assert cache.get("cloth", assignment.bank_sha256) == data
    assert cache.pointer(4) == assignment.public()
    assert feed.poll(5.0) == {4}
    feed.close()


def test_the_same_bank_published_again_is_one_bank_and_a_new_revision(
    records: Records, state_dir: Path, bank: core.ReferenceBank
) -> None:
    first = publish(records, None, state_dir, bank, line=4, who="t", why=None, action="enroll")
    again = publish(records, None, state_dir, bank, line=4, who="t", why=None, action="enroll")
    assert (first.bank_sha256, first.revision, again.revision) == (again.bank_sha256, 1, 2)
    assert len(records.banks()) == 1


def test_a_line_that_changed_meanwhile_keeps_what_it_has(
    records: Records, state_dir: Path, bank: core.ReferenceBank
) -> None:
    standing = publish(records, None, state_dir, bank, line=4, who="t", why=None, action="enroll")
    with pytest.raises(RevisionConflict):
        publish(records, None, state_dir, bank, line=4, who="late", why=None, action="enroll", expected_revision=0)
    assert records.line(4) == standing


def test_a_writer_that_dies_before_sql_commits_leaves_the_line_alone(
    records: Records, state_dir: Path, bank: core.ReferenceBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: Path, data: bytes) -> None:
        write_durably(path, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(bank_store, "write_durably", die)
    with pytest.raises(KeyboardInterrupt):
        publish(records, None, state_dir, bank, line=4, who="t", why=None, action="enroll")
    assert records.line(4) is None
    assert records.banks() == []


def test_a_dead_redis_is_a_warning_and_sql_has_it_all_the_same(
    records: Records, state_dir: Path, bank: core.ReferenceBank, caplog: pytest.LogCaptureFixture
) -> None:
    dead = BankCache(f"unix://{state_dir}/nobody.sock")
    assignment = publish(records, dead, state_dir, bank, line=4, who="t", why=None, action="enroll")
    assert records.line(4) == assignment
    assert "Redis was not told of line 4" in caplog.text
    assert tell(dead, assignment) is not None
    dead.close()


def test_without_sql_nothing_is_in_charge(state_dir: Path, bank: core.ReferenceBank) -> None:
    with pytest.raises(RecordsUnavailable):
        publish(
            Records(f"sqlite:///{state_dir / 'missing.db'}"),
            None,
            state_dir,
            bank,
            line=4,
            who="t",
            why=None,
            action="enroll",
        )


def test_a_bank_file_that_is_not_the_one_sql_means_is_refused(state_dir: Path) -> None:
    write_durably(state_dir / "banks/cloth/x.safetensors", b"something else")
    with pytest.raises(BankError, match=f"expected sha256 {'a' * 64}, got"):
        read_bank_file(state_dir, "banks/cloth/x.safetensors", "a" * 64)
    with pytest.raises(BankError, match="cannot read the bank banks/cloth/y"):
        read_bank_file(state_dir, "banks/cloth/y.safetensors", "a" * 64)


@pytest.mark.parametrize("product", ["", "..", "a/b", "-x", "x" * 65, "käse"])
def test_a_name_that_is_no_id_never_becomes_a_path(product: str) -> None:
    with pytest.raises(ValueError, match="expected a product name"):
        bank_path(product, "a" * 64)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_durably(tmp_path / "deep" / "er" / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("daemon.durable.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "deep" / "er" / "file", b"new")
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["file"]
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == b"old"
