"""The bank keeper over a real SQLite file, a real Redis-compatible server and real bank files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import core
from daemon.bank_cache import BankCache
from daemon.bank_store import publish, tell
from daemon.banks import BankKeeper
from daemon.clock import SystemClock
from daemon.database import RecordsUnavailable
from daemon.embedded_redis import EmbeddedRedis
from daemon.records import LineAssignment, Records
from daemon.selftest import SelfTest
from tests.daemon.patience import until
from tests.daemon.redis_rig import running_redis
from tests.pictures import samples

NO_CHECK: Any = lambda prepared: None  # noqa: E731


class Plant:
    """A state folder with records, and what an operator does to it."""

    def __init__(self, state: Path, scorer: core.Scorer) -> None:
        self.state = state
        self.scorer = scorer
        self.records = Records(f"sqlite:///{state}/records.db")
        self.records.prepare()

    def enrol(self, *, first: int = 0, product: str = "cloth", cache: BankCache | None = None) -> LineAssignment:
        bank = core.enrol(self.scorer, samples(4, first=first), product=product).bank
        return self.publish(bank, cache=cache)

    def publish(self, bank: core.ReferenceBank, *, cache: BankCache | None = None) -> LineAssignment:
        return publish(self.records, cache, self.state, bank, line=4, who="test", why=None, action="enroll")

    def keeper(self, cache: BankCache | None = None, records: Any = None, **options: Any) -> BankKeeper:
        return BankKeeper(
            records=records or self.records,
            cache=cache,
            state=self.state,
            lines=[4],
            read_bank=lambda data, sha256: core.bank_from_bytes(data, sha256=sha256),
            clock=SystemClock(),
            **options,
        )

    def turn(self, keeper: BankKeeper) -> bool:
        keeper.look()
        return keeper.swap_in(self.scorer.prepare, NO_CHECK)


class DeadRecords:
    def lines(self) -> list[LineAssignment]:
        raise RecordsUnavailable("nobody answers")


@pytest.fixture
def plant(tmp_path: Path, tiny_scorer: core.Scorer) -> Iterator[Plant]:
    plant = Plant(tmp_path, tiny_scorer)
    yield plant
    plant.records.close()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with running_redis() as server:
        yield server


@pytest.fixture
def cache(server: EmbeddedRedis) -> Iterator[BankCache]:
    cache = BankCache(server.url)
    yield cache
    cache.close()


def test_a_line_that_was_never_enrolled_has_no_bank_and_says_so(plant: Plant):
    keeper = plant.keeper()
    assert not plant.turn(keeper)
    assert keeper.current() == {}
    assert keeper.status().lines["4"]["error"] == "never enrolled"


def test_a_new_enrolment_takes_charge_between_batches_and_the_old_mapping_stays_whole(plant: Plant):
    keeper, first = plant.keeper(), plant.enrol()
    assert plant.turn(keeper)
    before = keeper.current()
    second = plant.enrol(first=20)
    keeper.look()
    assert keeper.current() is before
    assert keeper.swap_in(plant.scorer.prepare, NO_CHECK)
    assert before[4].bank_sha256 == first.bank_sha256
    assert keeper.current()[4].bank_sha256 == second.bank_sha256
    assert keeper.current()[4].revision == 2


def test_what_has_not_changed_is_not_loaded_again(plant: Plant):
    plant.enrol()
    keeper = plant.keeper()
    assert plant.turn(keeper)
    assert not plant.turn(keeper)
    assert keeper.status().loads == {"file/ok": 1}


def test_a_bank_comes_from_redis_when_redis_holds_the_right_bytes(plant: Plant, cache: BankCache):
    plant.enrol(cache=cache)
    keeper = plant.keeper(cache)
    assert plant.turn(keeper)
    assert keeper.status().loads == {"redis/ok": 1}


def test_wrong_bytes_in_redis_are_refused_and_the_file_is_used_instead(plant: Plant, cache: BankCache):
    assignment = plant.enrol(cache=cache)
    cache.put("cloth", assignment.bank_sha256, b"not what SQL names")
    keeper = plant.keeper(cache)
    assert plant.turn(keeper)
    assert keeper.status().loads == {"redis/bad_sha": 1, "file/ok": 1}
    stored = cache.get("cloth", assignment.bank_sha256)
    assert stored == (plant.state / assignment.bank_path).read_bytes()


def test_a_dead_redis_costs_nothing_but_its_speed(plant: Plant):
    with running_redis() as server:
        cache = BankCache(server.url)
        plant.enrol(cache=cache)
        server.stop()
        keeper = plant.keeper(cache)
        assert plant.turn(keeper)
        assert keeper.status().loads == {"redis/unavailable": 1, "file/ok": 1}
        assert not keeper.status().redis_up
        cache.close()


def test_a_damaged_file_leaves_the_old_bank_in_charge_and_is_tried_again(plant: Plant):
    first = plant.enrol()
    keeper = plant.keeper()
    assert plant.turn(keeper)
    second = plant.enrol(first=20)
    path = plant.state / second.bank_path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not plant.turn(keeper)
    assert keeper.current()[4].bank_sha256 == first.bank_sha256
    assert "damaged" in keeper.status().lines["4"]["error"]
    path.write_bytes(whole)
    assert plant.turn(keeper)
    assert keeper.status().lines["4"]["error"] is None


def test_a_bank_of_another_encoder_is_refused_with_the_reason_while_the_old_one_goes_on(plant: Plant):
    first = plant.enrol()
    keeper = plant.keeper()
    assert plant.turn(keeper)
    bank = core.enrol(plant.scorer, samples(4, first=20), product="cloth").bank
    plant.publish(replace(bank, header=replace(bank.header, encoder_id="another/encoder")))
    assert not plant.turn(keeper)
    assert keeper.current()[4].bank_sha256 == first.bank_sha256
    assert "another/encoder" in keeper.status().lines["4"]["error"]
    loads = keeper.status().loads
    assert not plant.turn(keeper)
    assert keeper.status().loads == loads


def test_a_bank_that_fails_its_golden_self_test_never_takes_charge(plant: Plant):
    bank = core.enrol(plant.scorer, samples(4), product="cloth").bank
    assert bank.golden_score is not None
    plant.publish(replace(bank, header=replace(bank.header, golden_score=bank.golden_score + 0.5)))
    keeper = plant.keeper()
    keeper.look()
    encoder = plant.scorer.encoder
    selftest = SelfTest(scorer=plant.scorer, device=encoder.device, precision=encoder.precision)
    assert not keeper.swap_in(plant.scorer.prepare, selftest.error)
    assert keeper.current() == {}
    assert "self-test failed" in keeper.status().lines["4"]["error"]
    plant.publish(bank)
    keeper.look()
    assert keeper.swap_in(plant.scorer.prepare, selftest.error)


def test_a_new_threshold_needs_no_bank_to_be_loaded(plant: Plant):
    bank = core.enrol(plant.scorer, samples(4), product="cloth").bank
    plant.publish(bank)
    keeper = plant.keeper()
    assert plant.turn(keeper)
    prepared = keeper.current()[4].prepared
    plant.publish(bank)  # the same file at a new revision
    assert plant.turn(keeper)
    assert keeper.current()[4].prepared is prepared
    assert keeper.current()[4].revision == 2
    assert keeper.status().loads == {"file/ok": 1}


@pytest.mark.parametrize(("options", "fetched"), [({}, 2), ({"budget_bytes": 1}, 3)])
def test_a_rollback_takes_the_previous_bank_from_memory_or_where_there_was_no_room_for_it_from_its_file(
    plant: Plant, caplog: pytest.LogCaptureFixture, options: dict[str, int], fetched: int
):
    keeper = plant.keeper(**options)
    old, new = (core.enrol(plant.scorer, samples(4, first=first), product="cloth").bank for first in (0, 20))
    first = plant.publish(old)
    assert plant.turn(keeper)
    plant.publish(new)
    assert plant.turn(keeper)
    assert (keeper.status().bytes_held == keeper.current()[4].prepared.size_bytes) is bool(options)
    assert plant.publish(old).bank_sha256 == first.bank_sha256
    assert plant.turn(keeper)
    assert keeper.current()[4].bank_sha256 == first.bank_sha256
    assert keeper.status().loads == {"file/ok": fetched}
    assert caplog.text.count("more than the budget") == bool(options)


def test_a_worker_that_starts_while_sql_is_down_takes_the_assignment_it_knew_last(plant: Plant):
    known = plant.enrol()
    plant.turn(plant.keeper())
    keeper = plant.keeper(records=DeadRecords())
    assert plant.turn(keeper)
    assert keeper.current()[4].bank_sha256 == known.bank_sha256
    assert keeper.current()[4].thresholds == known.thresholds
    assert not keeper.status().db_up


def test_sql_that_goes_down_changes_nothing(plant: Plant):
    plant.enrol()
    keeper = plant.keeper()
    assert plant.turn(keeper)
    keeper._records = DeadRecords()
    assert not plant.turn(keeper)
    assert 4 in keeper.current()


def test_a_running_keeper_hears_an_announcement_long_before_its_next_poll(plant: Plant, cache: BankCache):
    keeper = plant.keeper(cache)
    keeper.start()
    try:
        assert keeper.wait_for_first_look(10)
        until(lambda: keeper.status().redis_up)
        assignment = plant.enrol(cache=cache)
        tell(cache, assignment)
        until(lambda: keeper.swap_in(plant.scorer.prepare, NO_CHECK))
    finally:
        keeper.stop()
    assert keeper.current()[4].bank_sha256 == assignment.bank_sha256


def test_a_lie_in_redis_puts_nothing_in_charge(plant: Plant, cache: BankCache):
    """Whoever can write to Redis may plant a whole bank, its pointer and an announcement: SQL knows better."""
    true = plant.enrol(cache=cache)
    keeper = plant.keeper(cache)
    assert plant.turn(keeper)
    data, sha256 = core.bank_to_bytes(core.enrol(plant.scorer, samples(4, first=40), product="cloth").bank)
    lie = replace(true, bank_sha256=sha256, revision=true.revision + 7)
    assert tell(cache, lie, data) is None
    assert not plant.turn(keeper)
    assert keeper.current()[4].bank_sha256 == true.bank_sha256


def test_a_line_that_is_configured_while_the_keeper_runs_gets_its_bank_at_once(plant: Plant):
    plant.enrol()
    keeper = plant.keeper()
    keeper.watch([6])
    keeper.start()
    assert keeper.wait_for_first_look(20)
    assert list(keeper.status().lines) == ["6"]
    keeper.watch([4, 6])
    until(lambda: keeper.swap_in(plant.scorer.prepare, NO_CHECK))
    assert keeper.status().lines["4"]["bank"]
    keeper.watch([6])
    assert list(keeper.current()) == [4], "for its frames under way"
    keeper.stop()
