"""The thread behind a sink: in order, at least once, one bad message or bad day at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.outbox import Outbox
from daemon.outputs.cursor import CursorFile
from daemon.outputs.outputs import Outputs
from daemon.outputs.sink import MessageRefused, SinkUnavailable
from tests.daemon.outputs.rig import Counts, Listed, delivering, key, verdict
from tests.daemon.patience import until


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db")
    CursorFile(tmp_path, "plant").write(0)  # as an output that ran before
    yield journal
    journal.close()


def test_what_comes_is_delivered_in_order_and_other_lines_are_passed_over(outbox: Outbox, tmp_path: Path) -> None:
    sink, counts = Listed(), Counts()
    with delivering(sink, tmp_path, counts) as delivery:
        for number in range(20):
            outbox.commit(verdicts=[verdict(number), verdict(number, line=5)])
        until(lambda: len(sink.keys) == 20 and counts.lag == 0)
        assert delivery.up
    assert sink.keys == [key(number) for number in range(20)]
    assert counts.results == {"delivered": 20}
    assert CursorFile(tmp_path, "plant").read() == 40


def test_an_end_that_is_down_is_retried_and_misses_nothing(outbox: Outbox, tmp_path: Path) -> None:
    sink, counts = Listed(), Counts()
    sink.fail = SinkUnavailable("no route")
    with delivering(sink, tmp_path, counts) as delivery:
        outbox.commit(verdicts=[verdict(number) for number in range(7)])
        until(lambda: counts.results["failed"] >= 3)
        assert (delivery.up, counts.up, counts.lag) == (False, False, 7)
        assert delivery.status() == {"up": False, "lag_rows": 7, "fault": "no route"}
        sink.fail = None
        until(lambda: len(sink.keys) == 7)
        until(lambda: delivery.up)
        assert delivery.status()["fault"] is None
    assert sink.keys == [key(number) for number in range(7)]


def test_a_message_that_is_always_refused_is_put_aside_and_the_others_pass(
    outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Fussy(Listed):
        offers = 0

        def deliver(self, verdicts):
            if verdicts[0].key == key(1):
                self.offers += 1
                raise MessageRefused("answered 422")
            super().deliver(verdicts)

    sink, counts = Fussy(window=1), Counts()
    with delivering(sink, tmp_path, counts):
        outbox.commit(verdicts=[verdict(number) for number in range(3)])
        until(lambda: len(sink.keys) == 2)
    assert sink.offers == 3
    assert sink.keys == [key(0), key(2)]
    assert counts.results == {"delivered": 2, "failed": 2, "refused": 1}
    (line,) = (tmp_path / "outputs" / "plant.refused.jsonl").read_text().splitlines()
    assert (json.loads(line)["verdict"]["key"], json.loads(line)["why"]) == (key(1), "answered 422")
    assert f"{key(1)} is given up after 3 attempts" in caplog.text


def test_an_error_nobody_foresaw_is_retried_like_any_other_and_ends_no_thread(
    outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Listed()
    sink.fail = ZeroDivisionError("a bug")
    with delivering(sink, tmp_path) as delivery:
        outbox.commit(verdicts=[verdict(1)])
        until(lambda: delivery.fault is not None)
        assert delivery.is_alive()
        sink.fail = None
        until(lambda: sink.keys == [key(1)])
    assert "ZeroDivisionError" in caplog.text


def test_an_outbox_that_cannot_be_read_is_waited_for(tmp_path: Path) -> None:
    sink = Listed()
    with delivering(sink, tmp_path) as delivery:
        until(lambda: delivery.fault is not None)
        CursorFile(tmp_path, "plant").write(0)
        outbox = Outbox(tmp_path / "outbox.db")
        until(lambda: delivery.up)
        outbox.commit(verdicts=[verdict(1)])
        until(lambda: sink.keys == [key(1)])
    outbox.close()


def test_a_stop_delivers_what_is_there_and_an_end_that_is_down_does_not_hold_it_up(
    outbox: Outbox, tmp_path: Path
) -> None:
    sink = Listed()
    with delivering(sink, tmp_path) as delivery:
        outbox.commit(verdicts=[verdict(number) for number in range(500)])
        delivery.finish()
        delivery.join(20)
    assert len(sink.keys) == 500
    sink.fail = SinkUnavailable("no route")
    with delivering(sink, tmp_path) as delivery:
        outbox.commit(verdicts=[verdict(1000)])
        until(lambda: not delivery.up and delivery.fault is not None)
        Outputs([delivery]).stop(20)
        assert not delivery.is_alive()
    assert CursorFile(tmp_path, "plant").read() == 500


def test_a_sink_that_hangs_is_left_behind_and_a_life_later_sends_again(outbox: Outbox, tmp_path: Path) -> None:
    class Hanging(Listed):
        released = threading.Event()

        def deliver(self, verdicts):
            self.released.wait()
            raise SinkUnavailable("it never answered")

    with delivering(Hanging(), tmp_path) as delivery:
        outputs = Outputs([delivery])
        outbox.commit(verdicts=[verdict(1)])
        until(lambda: "output plant" in outputs.threads)
        outputs.stop(0.05)
        assert outputs.threads["output plant"]()
        Hanging.released.set()
    second = Listed()
    with delivering(second, tmp_path):
        until(lambda: second.keys == [key(1)])


def test_the_outputs_name_who_is_down_and_how_far_the_slowest_is(outbox: Outbox, tmp_path: Path) -> None:
    CursorFile(tmp_path, "mes").write(0)
    good, bad = Listed(), Listed()
    bad.fail = SinkUnavailable("no route")
    with delivering(good, tmp_path) as first, delivering(bad, tmp_path, name="mes") as second:
        outputs = Outputs([first, second])
        outbox.commit(verdicts=[verdict(1)])
        until(lambda: outputs.down == ["output mes"])
        until(lambda: first.kept == 1)
        assert outputs.kept == 0
        assert set(outputs.status()) == {"plant", "mes"}
    assert Outputs().kept is None
