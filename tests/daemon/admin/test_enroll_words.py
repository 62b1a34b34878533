"""Round trip: a product enrolled with words, its text features in the bank, and the worker that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import core
from daemon.bank_store import read_bank_file
from daemon.exit_codes import ExitCode
from daemon.records import Records
from tests.adapters import write_adapter
from tests.core.oracle import april_gan_numpy as april_gan
from tests.core.oracle import tiny
from tests.core.oracle.clip_numpy import load_clip
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.redis_rig import short_folder
from tests.daemon.worker_rig import WorkerRig
from tests.tiny import TinyModel

STAGES = (1, 2, 3, 4)

Admin = Callable[..., Answer]


def configure(installation: Installation, **model: object) -> None:
    """Add keys to the settings' [model]."""
    keys = "".join(f'{name} = "{value}"\n' for name, value in model.items())
    text = installation.config.read_text(encoding="utf-8")
    installation.config.write_text(text.replace('device = "cpu"\n', f'device = "cpu"\n{keys}'), encoding="utf-8")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "layers.safetensors", tiny.lively_linears(), stages=STAGES)


@pytest.fixture
def worded(installation: Installation, adapter: Path) -> Installation:
    """The installation with method april-gan."""
    configure(installation, method="april-gan", adapter=adapter)
    return installation


def stored_bank(installation: Installation, records: Records) -> core.ReferenceBank:
    assignment = records.line(4)
    assert assignment is not None
    data = read_bank_file(installation.state, assignment.bank_path, assignment.bank_sha256)
    return core.bank_from_bytes(data, sha256=assignment.bank_sha256)


def test_the_text_features_of_the_name_are_kept_with_the_bank(
    admin: Admin, worded: Installation, records: Records, tiny_model: TinyModel, adapter: Path
) -> None:
    answer = admin("enroll", "--line", 4, worded.good, "--object", "woven cloth")
    assert answer.code == 0, answer.err
    bank = stored_bank(worded, records)
    assert (bank.header.method, bank.header.object_name) == ("april-gan", "woven cloth")
    assert bank.header.adapter_sha256 == core.load_adapter(adapter).sha256
    assert bank.text_features is not None
    expected = april_gan.text_features(
        load_clip(tiny_model.config, tiny_model.weights), "woven cloth", tiny.tokenize
    )
    np.testing.assert_allclose(bank.text_features.numpy(), expected, rtol=0, atol=1e-4)


def test_a_calibration_leaves_the_text_features_as_they_are(
    admin: Admin, worded: Installation, records: Records
) -> None:
    admin("enroll", "--line", 4, worded.good, "--object", "woven cloth")
    before = stored_bank(worded, records).text_features
    answer = admin("calibrate", "--line", 4, worded.more, "--max-false-rejects", 0.1, "--json")
    assert answer.code == 0, answer.err
    after = stored_bank(worded, records).text_features
    assert before is not None
    assert after is not None
    assert bool((before == after).all())


def test_a_worker_without_text_tower_scores_as_the_admins_command_does(
    admin: Admin, worded: Installation, tiny_model: TinyModel, adapter: Path
) -> None:
    assert admin("enroll", "--line", 4, worded.good, "--object", "woven cloth").code == 0
    pictures = sorted(worded.bad.iterdir()) + sorted(worded.more.iterdir())[:2]
    expected = admin("score", "--reference", worded.good, "--object", "woven cloth", "--json", *pictures).json
    with short_folder() as folder:
        rig = WorkerRig(
            folder, state=worded.state, tiny=tiny_model, method="april-gan", adapter=str(adapter), lines=(4,)
        )
        try:
            rig.until_ready()
            assert rig.status is not None
            assert (rig.status.selftest, rig.status.lines["4"]["error"]) == ("passed", None)
            for picture in pictures:
                rig.send(picture.name, picture.read_bytes())
            answers = rig.until_answered(*(picture.name for picture in pictures))
            assert [answer.score for answer in answers] == pytest.approx(
                [row["score"] for row in expected], rel=1e-4
            )
            assert [answer.decision for answer in answers] == [row["decision"] for row in expected]
            assert {answer.adapter_sha256 for answer in answers} == {core.load_adapter(adapter).sha256}
            assert rig.process.stop(timeout_s=30) == ExitCode.OK
        finally:
            rig.close()


def test_a_worker_whose_linear_layers_are_another_encoders_says_so_and_ends_with_78(
    worded: Installation, tiny_model: TinyModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    foreign = write_adapter(
        tmp_path / "foreign.safetensors", tiny.lively_linears(), activation="quickgelu", stages=STAGES
    )
    with short_folder() as folder:
        rig = WorkerRig(folder, state=worded.state, tiny=tiny_model, method="april-gan", adapter=str(foreign))
        try:
            rig.until(lambda: rig.process.poll() is not None, "the worker's end")
            assert rig.process.poll() == ExitCode.CONFIG
        finally:
            rig.close()
    assert "activation quickgelu, this encoder has gelu" in capfd.readouterr().err


def test_the_encoder_of_a_clip_holds_no_text_tower(tiny_model: TinyModel) -> None:
    encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
    text = core.load_text_encoder(str(tiny_model.config), weights=tiny_model.weights)
    assert all(name.startswith("tower.") for name in encoder.state_dict())
    assert not any("token_embedding" in name for name in encoder.state_dict())
    assert text.embed(["a photo of cloth."]).shape == (1, encoder.tower.output_dim)


def test_an_unnamed_part_is_called_object_and_a_remark_says_so(
    admin: Admin, worded: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, worded.good, "--json")
    assert answer.code == 0
    assert 'called "object"' in answer.err
    assert stored_bank(worded, records).header.object_name is None


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused_with_nothing_stored(
    admin: Admin, worded: Installation, records: Records, name: str
) -> None:
    answer = admin("enroll", "--line", 4, worded.good, "--object", name)
    assert answer.code == ExitCode.REFUSED
    assert "in words" in answer.err
    assert records.banks() == []


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"method": "april-gan"}, "takes linear layers"),
        ({"method": "april-gan", "adapter": "missing.safetensors"}, "missing.safetensors"),
        ({"stages": "2,9"}, "stages 1 to 4"),
    ],
)
def test_a_model_in_the_settings_that_cannot_be_loaded_is_wrong_configuration(
    admin: Admin, installation: Installation, records: Records, model: dict[str, object], says: str
) -> None:
    configure(installation, **model)
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == ExitCode.CONFIG
    assert says in answer.err
    assert records.banks() == []


def test_a_method_without_linear_layers_leaves_those_of_the_settings_aside(
    admin: Admin, worded: Installation
) -> None:
    answer = admin("score", "--method", "bank", "--reference", worded.good, "--json", worded.bad)
    assert answer.code == ExitCode.OK, answer.err
    assert all(row["text_score"] is None for row in answer.json)


# ---------------------------------------------------------------------------------------- grey cameras


def grey(folder: Path, *, depth: type[np.generic] = np.uint8) -> Path:
    """The folder's pictures in grey, in place."""
    scale = np.iinfo(depth).max // 255
    for file in folder.iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(depth) * scale)
    return folder


@pytest.mark.parametrize("command", ["enroll", "calibrate"])
def test_grey_parts_are_refused_by_name_for_a_colour_camera(
    admin: Admin, installation: Installation, command: str
) -> None:
    admin("enroll", "--line", 4, installation.good)
    answer = admin(command, "--line", 4, grey(installation.more))
    assert answer.code == ExitCode.REFUSED
    assert "100.png" in answer.err
    assert "8-bit grey" in answer.err


def test_grey_parts_are_taken_for_a_grey_camera_but_not_with_16_bits(
    admin: Admin, installation: Installation
) -> None:
    with installation.config.open("a", encoding="utf-8") as file:
        file.write('color = "gray"\n')  # of the last camera
    assert admin("enroll", "--line", 4, grey(installation.good)).code == ExitCode.OK
    answer = admin("enroll", "--line", 4, grey(installation.more, depth=np.uint16))
    assert answer.code == ExitCode.REFUSED
    assert "16-bit grey" in answer.err
