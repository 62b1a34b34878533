"""What the launcher tells a standby, which has no configuration yet."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from daemon.settings import Settings
from daemon.stopping import StopFlag
from daemon.worker_config import WITHOUT_CLIP
from daemon.worker_launch import WorkerLauncher


@pytest.mark.parametrize(
    ("model", "without"),
    [
        ({}, True),
        ({"preset": "lite", "method": "april-gan"}, False),
        ({"preset": "april-gan"}, False),
        ({"preset": "gone.json"}, False),
    ],
)
def test_a_standby_imports_the_libraries_of_a_whole_clip_where_its_model_is_one(
    tmp_path: Path, model: dict[str, str], without: bool
) -> None:
    settings = Settings(state={"dir": tmp_path}, model=model, worker={"standby": True})
    launcher = WorkerLauncher(settings, StopFlag())
    launcher.prepare()
    (standby,) = [child for child in psutil.Process().children() if "daemon.worker" in child.cmdline()]
    told = WITHOUT_CLIP in standby.cmdline()
    launcher.close()
    assert told is without
