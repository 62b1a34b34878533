"""An inspection PC from its first stick to its last day: install, inspect, upgrade, two ways back, uninstall.

Everything is real but systemd (fake_systemctl.py) and the packages, which are borrowed (stick_rig.py).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.deploy.stick_rig import Machine, make_stick, program_files
from tests.end_to_end.harness import write_pictures
from tests.ports import free_ports
from tests.tiny import write_tiny_clip

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(480)]

ONE_MORE_TABLE = """
import sqlalchemy as sa
from alembic import op
revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("extra_{revision}", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("extra_{revision}")
"""


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    yield folder
    Machine(folder / "m").systemctl("stop", "it")
    shutil.rmtree(folder)


def migrates(files: dict[str, bytes], revision: str, *, before: str) -> None:
    source = ONE_MORE_TABLE.format(revision=revision, before=before)
    files[f"migrations/versions/{revision}_more.py"] = source.encode()


def latest(files: dict[str, bytes]) -> str:
    return max(Path(name).name[:4] for name in files if name.startswith("migrations/versions/0"))


def is_never_ready(files: dict[str, bytes]) -> None:
    source = files["daemon/readiness.py"].decode()
    assert "ok=facts.outbox_rows < facts.outbox_max_rows" in source
    files["daemon/readiness.py"] = source.replace(
        "ok=facts.outbox_rows < facts.outbox_max_rows", "ok=False"
    ).encode()


def configure(machine: Machine) -> int:
    """What the plant's IT writes into the configuration; the port of the pages."""
    model = write_tiny_clip(machine.root / "opt/aprilgan/weights")
    cameras, verdicts, pages = free_ports(3)
    machine.config.write_text(
        f'[state]\ndir = "{machine.root}/var/lib/aprilgan"\n'
        f'[ingest]\nbind = "tcp://127.0.0.1:{cameras}"\n[publish]\nbind = "tcp://127.0.0.1:{verdicts}"\n'
        f'[http]\nbind = "127.0.0.1:{pages}"\n[model]\npreset = "{model.config}"\nweights = "{model.weights}"\n'
        "[worker]\nstandby = false\n"
        '[[lines]]\nid = 4\ndeadline_ms = 5000\n[[cameras]]\nname = "top"\nline = 4\n'
    )
    machine.environment["CAMERAS"] = f"tcp://127.0.0.1:{cameras}"
    return pages


def inspect(machine: Machine, pictures: Path) -> None:
    """Three frames, sent by the installed sender."""
    python = machine.root / "opt/aprilgan/current/bin/python"
    sent = machine.run(
        str(python),
        "-m",
        "daemon.camera",
        str(pictures),
        "--camera",
        "top",
        "--connect",
        machine.environment["CAMERAS"],
    )
    assert sent.returncode == 0, sent.stderr


def verdicts(machine: Machine) -> list[dict[str, Any]]:
    answer = machine.admin("verdicts", "--json")
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def revision(machine: Machine) -> str:
    return str(json.loads(machine.admin("db", "current", "--json").stdout)["current"])


def version_at(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/statusz", timeout=10) as page:
        return str(json.load(page)["version"])


def test_a_machine_is_installed_inspects_is_upgraded_rolled_back_and_uninstalled_without_losing_a_verdict(
    home: Path,
) -> None:
    head = latest(program_files())
    first = make_stick(home / "first", "9.0.0")
    second = make_stick(home / "second", "9.1.0", lambda files: migrates(files, "9001", before=head))
    machine = Machine(home / "m")

    # The first stick: nothing runs until somebody has written the configuration.
    done = machine.install(first)
    assert done.returncode == 0, done.stderr
    assert "systemctl enable --now" in done.stdout
    port = configure(machine)
    assert machine.systemctl("start", "it").returncode == 0, (machine.root / "daemon.log").read_text()
    enrolled = machine.admin("enroll", "--line", "4", str(write_pictures(home / "good", range(8))), "--wait", "30")
    assert enrolled.returncode == 0, enrolled.stderr
    assert machine.admin("ready", "--wait", "30").returncode == 0
    three = write_pictures(home / "three", range(100, 103))
    inspect(machine, three)
    assert len(verdicts(machine)) == 3

    # The same stick again changes nothing, the configuration least of all.
    mine = machine.config.read_text()
    done = machine.install(first)
    assert (done.returncode, machine.config.read_text()) == (0, mine)
    assert "installed already" in done.stdout

    # What is installed makes the next machine's stick itself, without an index.
    copied = machine.admin("bundle", "--out", str(home / "copy"), "--json")
    assert copied.returncode == 0, copied.stderr
    checked = Machine(home / "next").install(
        home / "copy", "--check", "--digest", json.loads(copied.stdout)["digest"]
    )
    assert checked.returncode == 0, checked.stderr

    # An upgrade: the new program, the new tables, the old verdicts.
    done = machine.install(second)
    assert done.returncode == 0, done.stderr
    assert version_at(port) == "9.1.0"
    assert (revision(machine), len(verdicts(machine))) == ("9001", 3)
    assert machine.config.read_text() == mine
    inspect(machine, three)

    # An upgrade that is never ready is taken back by itself, tables included.
    broken = make_stick(
        home / "broken",
        "9.2.0",
        lambda files: (
            migrates(files, "9001", before=head),
            migrates(files, "9002", before="9001"),
            is_never_ready(files),
        ),
    )
    before = machine.in_charge
    done = machine.install(broken, "--wait", "1")
    assert done.returncode == 1
    assert "outbox" in done.stderr
    assert f"rolled back to {before}" in done.stderr
    assert (machine.in_charge, revision(machine), version_at(port)) == (before, "9001", "9.1.0")
    assert machine.admin("ready").returncode == 0
    assert len(verdicts(machine)) == 6

    # A person goes back one more, and what was recorded in the meantime stays.
    done = machine.script(machine.root / "opt/aprilgan/current/deploy/rollback.sh")
    assert done.returncode == 0, done.stderr
    assert (version_at(port), revision(machine), len(verdicts(machine))) == ("9.0.0", head, 6)
    again = machine.script(machine.root / "opt/aprilgan/current/deploy/rollback.sh")
    assert again.returncode == 1
    assert "was not an upgrade" in again.stderr

    # Uninstalled: the program is gone, the data are not. Purged: all of it, but only when somebody says so.
    uninstall = first / "deploy/uninstall.sh"
    assert machine.script(uninstall).returncode == 0
    assert "inactive" in machine.systemctl("is-active", "it").stdout
    assert not (machine.root / "opt/aprilgan").exists()
    assert not (machine.root / "usr/local/bin/aprilgan-admin").exists()
    assert (machine.root / "var/lib/aprilgan/records.db").stat().st_size > 0
    assert machine.config.read_text() == mine
    assert machine.script(uninstall, "--purge", text="no\n").returncode == 1
    assert machine.config.exists()
    assert machine.script(uninstall, "--purge", text="purge\n").returncode == 0
    assert not machine.config.parent.exists()
    assert not (machine.root / "var/lib/aprilgan").exists()
