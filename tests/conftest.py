"""Shared fixtures: pictures made here, a tiny encoder on the product's real loading path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# No test may reach for a model hub; set before anything imports huggingface_hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny towers gain nothing from threads, and tests share two cores with the servers that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same cases in every run, and no clock; new ones are looked for by `python -m tests.fuzz`, which takes seeds.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory):
    from tests.tiny import write_tiny_clip

    return write_tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_scorer(tiny_model):
    import core

    return core.Scorer(core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu"))


@pytest.fixture
def weave() -> Callable[..., np.ndarray]:
    """Good parts of a made-up product: a woven texture whose phase and light vary a little."""
    from tests.pictures import weave

    return weave


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL server for the whole run; each test takes a database of its own."""
    from tests.daemon.postgres_rig import running_postgres

    with running_postgres() as server:
        yield server
