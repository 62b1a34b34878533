"""The rule that a second pool of OpenMP threads is the price of (docs/notes/0006-worker-speed.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.daemon.test_worker import Plant, plant  # noqa: F401  a fixture
from tests.daemon.worker_rig import WorkerRig, png
from tests.pictures import weave

WATCH = Path(__file__).parent / "torch_watch"
COMPUTE_NOTHING = {"aten.detach.default", "aten.view.default"}


def test_no_thread_of_the_worker_but_the_scorers_lanes_computes_with_torch(
    plant: Plant,  # noqa: F811
    tiny_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames of all encodings, a verdict with a heatmap, and a bank that the keeper reads."""
    seen = tmp_path / "seen.txt"
    monkeypatch.setenv("PYTHONPATH", str(WATCH))
    monkeypatch.setenv("AG_TORCH_SEEN", str(seen))
    plant.enrol()
    rig = WorkerRig(plant.folder, state=plant.state, tiny=tiny_model)
    try:
        rig.until_ready()
        good, jpeg = weave(3), cv2.imencode(".jpg", weave(4))[1].tobytes()
        rig.send("png", png(good))
        rig.send("jpeg", jpeg, encoding="jpeg")
        rig.send("raw", good.tobytes(), encoding="raw", shape=good.shape)
        rig.send("bad", png(weave(5, hole=True)))
        rig.until_answered("png", "jpeg", "raw", "bad")
    finally:
        rig.close()
    noted = [line.split(" ", 1) for line in seen.read_text(encoding="utf-8").splitlines()]
    watched = {thread for thread, what in noted if what == "watched"}
    assert {"beat", "bank-keeper", "intake", "finisher"} <= watched
    assert any(thread.startswith("decode") for thread in watched)
    computing = {thread for thread, what in noted if what not in {"watched", *COMPUTE_NOTHING}}
    assert not [thread for thread in computing if not thread.startswith("lane")]
