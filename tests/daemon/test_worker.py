"""Life: the real worker process with the tiny encoder, spoken to as ingress speaks to it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

import core
from daemon.bank_cache import BankCache
from daemon.bank_store import publish
from daemon.exit_codes import ExitCode
from daemon.records import Records
from tests.daemon.redis_rig import running_redis, short_folder
from tests.daemon.worker_rig import WorkerRig, png
from tests.pictures import samples, weave

MODULE = Path(__file__).resolve().parents[2]


class Plant:
    """A state folder, and an operator who enrols."""

    def __init__(self, folder: Path, scorer: core.Scorer) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._scorer = scorer
        self.records = Records(f"sqlite:///{self.state}/records.db")
        self.records.prepare()

    def enrol(self, *, line: int = 4, first: int = 0, cache: BankCache | None = None) -> str:
        """Enrol a line; the new bank's sha256."""
        bank = core.enrol(self._scorer, samples(6, first=first), product="cloth").bank
        done = publish(self.records, cache, self.state, bank, line=line, who="test", why=None, action="enroll")
        return done.bank_sha256


@pytest.fixture
def plant(tiny_scorer: core.Scorer) -> Iterator[Plant]:
    with short_folder() as folder:
        plant = Plant(folder, tiny_scorer)
        yield plant
        plant.records.close()


def test_every_frame_that_goes_in_comes_out_with_its_verdict(plant: Plant, tiny_model: Any) -> None:
    plant.enrol()
    rig = WorkerRig(plant.folder, state=plant.state, tiny=tiny_model, lines=(4, 5))
    try:
        rig.until_ready()
        assert rig.status is not None
        assert rig.status.selftest == "passed"
        assert rig.status.lines["4"]["product"] == "cloth"
        assert rig.status.lines["5"]["error"] == "never enrolled"

        # a reference itself lies at distance zero from the bank
        whole, holed = weave(0), weave(0, hole=True)
        rig.send("good", png(whole))
        rig.send("bad", holed.tobytes(), encoding="raw", shape=holed.shape)
        rig.send("torn", png(whole)[:200])
        rig.send("unenrolled", png(whole), line=5)
        rig.send("late", png(whole), deadline_s=-1.0)
        good, bad, torn, unenrolled, late = rig.until_answered("good", "bad", "torn", "unenrolled", "late")

        assert (good.decision, bad.decision) == ("accept", "reject")
        assert good.score is not None
        assert good.threshold is not None
        assert bad.score is not None
        assert good.score <= good.threshold < bad.score
        assert (torn.decision, torn.reason) == ("uninspected", "decode")
        assert (unenrolled.decision, unenrolled.reason) == ("uninspected", "no_bank")
        assert (late.decision, late.reason) == ("uninspected", "deadline")
        assert (good.heatmap, good.no_heatmap) == (None, "not_kept")
        assert bad.heatmap is not None
        assert cv2.imread(str(plant.state / bad.heatmap)).shape == holed.shape

        rig.send("last", png(whole))
        rig.until_answered("last")
        assert rig.process.stop(timeout_s=30) == ExitCode.OK
    finally:
        rig.close()


def test_a_line_enrolled_while_the_worker_runs_scores_with_its_new_bank_at_once(
    plant: Plant, tiny_model: Any
) -> None:
    with running_redis() as server:
        cache = BankCache(server.url)
        first = plant.enrol(cache=cache)
        rig = WorkerRig(plant.folder, state=plant.state, tiny=tiny_model, redis_url=server.url)
        try:
            rig.until_ready()
            rig.send("before", png(weave(99)))
            assert rig.until_answered("before")[0].bank_sha256 == first
            second = plant.enrol(first=30, cache=cache)
            rig.until(lambda: rig.status and rig.status.lines["4"]["bank"] == second, "the new bank")
            rig.send("after", png(weave(99)))
            assert rig.until_answered("after")[0].bank_sha256 == second
            assert rig.status is not None
            assert rig.status.bank_loads == {"redis/ok": 2}
            assert rig.status.redis_up
        finally:
            rig.close()
            cache.close()


def test_a_worker_ends_with_the_process_that_started_it(plant: Plant, tiny_model: Any) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.daemon.worker_rig import WorkerRig; from tests.tiny import TinyModel\n"
        "folder, config, weights = map(Path, sys.argv[1:])\n"
        "rig = WorkerRig(folder, state=folder / 'state', tiny=TinyModel(config=config, weights=weights))\n"
        "rig.until_ready(); print(rig.process.pid, flush=True); time.sleep(60)"
    )
    arguments = [str(plant.folder), str(tiny_model.config), str(tiny_model.weights)]
    parent = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=MODULE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        worker = os.pidfd_open(int(parent.stdout.readline()))
    try:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert _ended(worker, timeout_s=10)
    finally:
        os.close(worker)


def _ended(pidfd: int, timeout_s: float = 0.0) -> bool:
    """Whether the process has ended, waiting at most `timeout_s`: a pidfd is readable from then on."""
    return bool(select.select([pidfd], [], [], timeout_s)[0])
