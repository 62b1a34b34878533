"""The data set and the text tower, made once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import core
from core.text import Embed
from tests.core.evaluation.rig import write_set
from tests.core.oracle import tiny


@pytest.fixture(scope="session")
def woven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "woven")


@pytest.fixture(scope="session")
def embed(lively_files: tiny.LivelyClip) -> Embed:
    """The tiny text tower, each list of sentences read once in the whole session."""
    tower = core.load_text_encoder(str(lively_files.config), weights=lively_files.weights)
    known: dict[tuple[str, ...], torch.Tensor] = {}

    def remembering(texts: Sequence[str]) -> torch.Tensor:
        return (
            known.setdefault(tuple(texts), tower.embed(texts))
            if tuple(texts) not in known
            else known[tuple(texts)]
        )

    return remembering


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"
