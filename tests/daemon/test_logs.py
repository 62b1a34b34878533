"""Log lines that machines can read, and floods that are thinned but counted."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from daemon import logs


@pytest.fixture(autouse=True)
def _restore_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_line_carries_the_extra_fields_and_the_exception() -> None:
    stream = io.StringIO()
    logs.configure(format="json", level="INFO", stream=stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("daemon.x").warning("bank of line %d", 4, extra={"line": 4}, exc_info=True)
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["message"], entry["line"]) == ("WARNING", "bank of line 4", 4)
    assert "ValueError: broken" in entry["exception"]
    assert entry["time"].endswith("+00:00")


def test_below_the_level_nothing_is_written() -> None:
    stream = io.StringIO()
    logs.configure(format="text", level="WARNING", stream=stream)
    logging.getLogger("daemon.x").info("a frame")
    assert stream.getvalue() == ""


def test_logs_go_to_standard_error_so_that_output_stays_data(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="text", level="INFO", stream=sys.stderr)
    logging.getLogger("daemon.x").info("hello")
    out, err = capsys.readouterr()
    assert out == ""
    assert "hello" in err


def test_a_flood_is_cut_and_the_next_window_says_by_how_much() -> None:
    now = [0.0]
    flood = logs.FloodFilter(burst=3, window_s=10.0, monotonic=lambda: now[0])

    def record(key: int) -> logging.LogRecord:
        return logging.LogRecord("x", logging.WARNING, "f", 1, "frame %s failed", (key,), None)

    passed = [flood.filter(record(key)) for key in range(10)]
    assert passed == [True] * 3 + [False] * 7
    now[0] = 10.0
    later = record(11)
    assert flood.filter(later)
    assert later.suppressed == 7  # type: ignore[attr-defined]
    assert "(7 more like this)" in logs.TextFormatter().format(later)
    assert json.loads(logs.JsonFormatter().format(later))["suppressed"] == 7


def test_a_flood_in_one_place_does_not_silence_another() -> None:
    flood = logs.FloodFilter(burst=1, monotonic=lambda: 0.0)
    same = logging.LogRecord("x", logging.WARNING, "f", 1, "a", (), None)
    other = logging.LogRecord("x", logging.WARNING, "f", 2, "b", (), None)
    assert [flood.filter(same), flood.filter(same), flood.filter(other)] == [True, False, True]
