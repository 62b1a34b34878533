"""`adapter`: files of linear layers are shown, checked against the encoder, and converted from the reference's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import core
from daemon.admin.training_record import history_rows, record_lines
from tests.adapters import write_reference_adapter
from tests.core.oracle import tiny
from tests.daemon.admin.conftest import Answer

Admin = Callable[..., Answer]
STAGES = ",".join(map(str, tiny.STAGES))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_reference_adapter(tmp_path / "theirs.pth", tiny.lively_linears())


def test_the_references_file_becomes_one_that_says_what_it_is_with_the_same_layers(
    admin: Admin, reference: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ours.safetensors"
    arguments = ("--activation", "gelu", "--stages", STAGES, "--dataset", "VisA", "--out", out)
    assert admin("adapter", "import", reference, *arguments).code == 0
    ours, theirs = core.load_adapter(out), core.load_adapter(reference, activation="gelu")
    assert all(torch.equal(mine, other) for mine, other in zip(ours.weights, theirs.weights, strict=True))
    assert all(torch.equal(mine, other) for mine, other in zip(ours.biases, theirs.biases, strict=True))
    row = admin("adapter", "show", out, "--json").json
    assert (row["activation"], row["stages"], row["dataset"]) == ("gelu", list(tiny.STAGES), "VisA")
    assert row["training"] == {"imported_from": "theirs.pth", "imported_sha256": theirs.sha256}
    assert admin("adapter", "import", reference, *arguments).code == 1  # a file that is there stays


@pytest.mark.parametrize(
    ("stages", "out", "code", "told"),
    [
        ("1", "ours.safetensors", 1, "layers, 1 stages were named"),
        (STAGES, "ours.pth", 2, "expected a name ending in .safetensors"),
        ("one,two", "ours.safetensors", 2, "expected whole numbers"),
        (STAGES, "nowhere/ours.safetensors", 0, "Wrote"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_written(
    admin: Admin, reference: Path, tmp_path: Path, stages: str, out: str, code: int, told: str
) -> None:
    answer = admin(
        "adapter", "import", reference, "--activation", "gelu", "--stages", stages, "--out", tmp_path / out
    )
    assert answer.code == code
    assert told in answer.err
    assert (tmp_path / out).exists() == (code == 0)


def test_layers_of_another_encoder_do_not_pass_the_check(admin: Admin, tmp_path: Path) -> None:
    linears = tiny.lively_linears()
    fitting = write_reference_adapter(tmp_path / "fitting.pth", linears)
    answer = admin("adapter", "check", fitting, "--activation", "gelu", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["fits"]
    short = write_reference_adapter(tmp_path / "short.pth", linears[:1])
    answer = admin("adapter", "check", short, "--activation", "gelu")
    assert answer.code == 1
    assert "this encoder has" in answer.err


def test_the_training_record_is_read_as_lines_and_a_table_of_its_epochs(admin: Admin, tmp_path: Path) -> None:
    history = [
        {"epoch": 0, "loss": [], "held_out": {"pixel_auroc": 0.5368282}},
        {"epoch": 1, "loss": [1.07198, 1.0], "held_out": {"pixel_auroc": 0.9164815}},
    ]
    training = {"options": {"batch": 8, "centred": True}, "versions": {"torch": "2.15.0"}, "history": history}
    layers = core.load_adapter(
        write_reference_adapter(tmp_path / "a.pth", tiny.lively_linears()), activation="gelu"
    )
    header = replace(layers.header, dataset="mvtec: felt", training=training)
    file = tmp_path / "ours.safetensors"
    file.write_bytes(core.adapter_to_bytes(header, list(zip(layers.weights, layers.biases, strict=True))))
    told = admin("adapter", "show", file).out
    assert "{" not in told
    assert re.search(r"options batch +8 *\n", told)
    assert re.search(r"epoch +held out pixel auroc +loss *\n", told)
    assert re.search(r"1 +0\.9165 +1\.072, 1 *\n", told)
    assert admin("adapter", "show", file, "--json").json["training"] == training


@pytest.mark.parametrize(
    "record", [{}, {"history": 7}, {"history": [1, None]}, {"history": [{"a": 1}, {"b": 0.0, "c": None}]}]
)
def test_a_record_of_any_shape_is_shown(record: dict[str, object]) -> None:
    assert record_lines(record) == {}
    assert all(set(row) == {"a", "b"} for row in history_rows(record))
