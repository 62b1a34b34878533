"""The judgement over a worker (a law, with made-up time) and the life of a child (real processes)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from daemon import children
from daemon.exit_codes import ExitCode
from daemon.link import WorkerStatus
from daemon.supervisor import SECOND, SLOWER_THAN_WARM, Health, Standby, WatchOptions, WorkerProcess, WorkerWatch
from daemon.worker_config import WorkerConfig, WorkerConfigError
from tests.daemon.patience import until

OPTIONS = WatchOptions(start_timeout_s=60, beat_timeout_s=3, batch_timeout_s=30)


def status(**changes: Any) -> WorkerStatus:
    fields: dict[str, Any] = {
        "worker": 0, "life": 1, "pid": 1, "phase": "ready", "progress": 1, "busy_ms": 0.0, "queued": 0,
    }  # fmt: skip
    return WorkerStatus(**{**fields, **changes})


def watch(*seen: tuple[float, WorkerStatus]) -> WorkerWatch:
    watch = WorkerWatch(OPTIONS)
    watch.started(1, 0)
    for at_s, message in seen:
        watch.seen(message, int(at_s * SECOND))
    return watch


def health(watch: WorkerWatch, at_s: float, *, exited: bool = False) -> Health:
    return watch.health(int(at_s * SECOND), exited=exited)


def test_a_worker_may_take_its_time_to_load_but_not_for_ever():
    loading = watch((10, status(phase="loading")))
    assert health(loading, 59) is Health.OK
    assert not loading.ready
    assert health(loading, 61) is Health.START_TIMEOUT


def test_a_ready_worker_that_stops_beating_is_silent():
    ready = watch((10, status()))
    assert ready.ready
    assert health(ready, 12.9) is Health.OK
    assert health(ready, 13.1) is Health.SILENT


def test_a_worker_that_beats_while_its_batch_hangs_is_hung():
    beats = watch((10, status()), (50, status(progress=2, busy_ms=29_000)))
    assert health(beats, 51) is Health.OK
    beats.seen(status(progress=2, busy_ms=31_000), 52 * SECOND)
    assert health(beats, 52) is Health.HUNG


def test_a_worker_that_beats_while_its_loop_stands_still_is_hung():
    beats = watch(*[(10 + second, status(progress=7)) for second in range(31)])
    assert health(beats, 40) is Health.OK
    beats.seen(status(progress=7), 41 * SECOND)
    assert health(beats, 41) is Health.HUNG


def test_a_worker_whose_batches_are_slow_by_nature_has_more_time():
    slow = watch((10, status(slowest_batch_ms=5000)))
    for second in range(11, 10 + 5 * SLOWER_THAN_WARM):
        slow.seen(status(slowest_batch_ms=5000, busy_ms=(second - 10) * 1000), second * SECOND)
        assert health(slow, second) is Health.OK
    slow.seen(status(slowest_batch_ms=5000), (11 + 5 * SLOWER_THAN_WARM) * SECOND)
    assert health(slow, 11 + 5 * SLOWER_THAN_WARM) is Health.HUNG


def test_an_exit_is_seen_whatever_was_said_before():
    assert health(watch((1, status())), 1, exited=True) is Health.EXITED


def test_the_beats_of_an_earlier_life_do_not_count():
    second = watch((10, status()))
    second.started(2, 20 * SECOND)
    second.seen(status(life=1), 21 * SECOND)
    assert not second.ready


def test_restarts_in_a_row_come_ever_later_and_start_over_after_a_healthy_time():
    watched = WorkerWatch(OPTIONS)
    pauses = []
    for life in range(1, 9):
        watched.started(life, 0)
        pauses.append(watched.restart_at_ns(0) / SECOND)
    assert pauses == [0, 1, 2, 5, 10, 30, 30, 30]
    watched.started(9, 0)
    watched.seen(status(life=9), 0)
    assert watched.restart_at_ns(61 * SECOND) == 61 * SECOND


def test_a_worker_configuration_is_one_line_and_its_repr_keeps_its_secrets():
    config = _config(stages=(1, 2), records_url="postgresql://me:secret@host/db")
    line = config.to_line()
    assert line.count(b"\n") == 1
    assert WorkerConfig.from_line(line) == config
    assert "secret" not in repr(config)


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"worker": 0, "no_such": 1}', b"\xff"])
def test_a_line_that_is_no_configuration_is_refused(line: bytes):
    with pytest.raises(WorkerConfigError, match="one JSON line"):
        WorkerConfig.from_line(line)


def test_a_child_does_not_act_on_the_signals_of_its_group():
    child = children.spawn(children.bound_argv(["/bin/sleep", "60"]))
    os.kill(child.pid, signal.SIGTERM)
    os.kill(child.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    assert children.end(child, timeout_s=0) == -signal.SIGKILL


def test_a_child_dies_with_a_parent_that_is_killed():
    script = (
        "import sys, time; from daemon import children\n"
        "child = children.spawn(children.bound_argv(['/bin/sleep', '60'])); print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    until_runs(child, "sleep")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until_gone(child)


def test_a_child_whose_parent_died_before_it_could_bind_itself_ends_at_once():
    child = subprocess.run([sys.executable, "-m", "daemon.children", "1", "/bin/sleep", "60"], timeout=30)
    assert child.returncode == ExitCode.UNAVAILABLE


def test_a_worker_that_is_told_to_end_while_it_loads_ends_without_being_killed():
    worker = WorkerProcess(_config())
    assert worker.poll() is None
    assert worker.stop(timeout_s=60) == ExitCode.OK


def test_a_worker_whose_model_cannot_be_loaded_ends_with_the_code_for_configuration(tmp_path):
    worker = WorkerProcess(_config(preset=str(tmp_path / "missing.json"), state_dir=str(tmp_path)))
    until(lambda: worker.poll() is not None)
    assert worker.poll() == ExitCode.CONFIG
    worker.kill()


def test_a_standby_becomes_the_life_it_is_told(tmp_path):
    standby = Standby()
    standby.prepare()
    waiting = standby.pid
    standby.prepare()
    assert standby.pid == waiting
    worker = WorkerProcess(_config(preset=str(tmp_path / "missing.json"), state_dir=str(tmp_path)), standby.take())
    assert (worker.pid, standby.pid) == (waiting, None)
    until(lambda: worker.poll() is not None)
    assert worker.poll() == ExitCode.CONFIG
    worker.kill()


def test_a_standby_that_died_is_replaced_when_it_is_needed():
    standby = Standby()
    standby.prepare()
    dead = standby.pid
    assert dead is not None
    os.kill(dead, signal.SIGKILL)
    until_gone(dead)
    worker = WorkerProcess(_config(), standby.take())
    assert worker.pid != dead
    worker.kill()


def test_a_standby_ends_with_whoever_holds_its_input():
    script = (
        "import time; from daemon.supervisor import Standby\n"
        "standby = Standby(); standby.prepare(); print(standby.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        standby = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until_gone(standby)


def test_a_closed_standby_is_gone():
    standby = Standby()
    standby.prepare()
    pid = standby.pid
    assert pid is not None
    standby.close()
    assert standby.pid is None
    until_gone(pid)


def test_a_stopped_worker_can_be_killed():
    worker = WorkerProcess(_config())
    os.kill(worker.pid, signal.SIGSTOP)
    worker.kill()
    assert worker.poll() == -signal.SIGKILL


def _config(**changes: Any) -> WorkerConfig:
    fields: dict[str, Any] = {
        "worker": 0,
        "life": 1,
        "parent_pid": os.getpid(),
        "frames_endpoint": "ipc:///tmp/ag-none-frames",
        "upward_endpoint": "ipc:///tmp/ag-none-upward",
        "state_dir": "/tmp",
        "lines": (4,),
        "shortest_deadline_ms": 500,
        "records_url": "sqlite:////tmp/ag-none/records.db",
        "redis_url": None,
        "preset": "lite",
        "device": "cpu",
        "log_format": "text",
    }
    return WorkerConfig(**{**fields, **changes})


def until_runs(pid: int, name: str) -> None:
    def runs() -> bool:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == name

    until(runs)


def until_gone(pid: int) -> None:
    def gone() -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
            return True

    until(gone)
