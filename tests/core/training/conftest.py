"""A small data set that tests read and never change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.training.rig import write_dataset


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures: 2 classes of 4 good parts and 4 of each of two defects; 40 px."""
    root = tmp_path_factory.mktemp("dataset")
    write_dataset(root, each=4)
    return root
