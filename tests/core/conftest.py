"""The lively tiny CLIP in its three forms: files, oracle, product."""

from __future__ import annotations

import pytest

import core
from tests.core.oracle import tiny
from tests.core.oracle.clip_numpy import Clip, load_clip


@pytest.fixture(scope="session")
def lively_files(tmp_path_factory: pytest.TempPathFactory) -> tiny.LivelyClip:
    return tiny.lively_tiny_clip(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="session")
def lively_clip(lively_files: tiny.LivelyClip) -> Clip:
    return load_clip(lively_files.config, lively_files.weights)


@pytest.fixture(scope="session")
def lively_encoder(lively_files: tiny.LivelyClip) -> core.Encoder:
    return core.load_encoder(str(lively_files.config), weights=lively_files.weights, device="cpu")
