"""The runbook: a section for each alert, links that lead somewhere, commands that exist as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from daemon.admin.__main__ import app
from daemon.admin.doctor import daemon_pages
from daemon.readiness import CHECKS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "aprilgan.rules.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
PAGES = ["RUNBOOK.md", "INSTALL.md"]


def anchors(text: str) -> set[str]:
    """As a renderer makes them of headings: lower case, spaces to hyphens, nothing else but letters and digits."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def kebab(alert: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()


def commands(text: str) -> list[list[str]]:
    """Every `aprilgan-admin …` that the text quotes, as words: inline code and indented lines."""
    inline = re.findall(r"`([^`\n]+)`", text)
    lines = re.findall(r"^    (.*)$", text, re.MULTILINE)
    blocks = [line.lstrip("#$ ").split("  #")[0] for line in lines]
    found = []
    for code in (*inline, *blocks):
        for part in re.split(r";|&&|\||\(", code):
            words = shlex.split(part, comments=True) if "aprilgan-admin " in part else []
            if "aprilgan-admin" in words:
                found.append(words[words.index("aprilgan-admin") + 1 :])
    return found


def fault(words: list[str]) -> str | None:
    """What is wrong with a command line by the program's own commands and options."""
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return None if command.invoke_without_command else f"no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in {*known, "--help"}]
    return f"unknown options {unknown}" if unknown else None


def test_every_alert_has_its_section_and_links_to_it() -> None:
    assert {kebab(rule["alert"]) for rule in ALERTS} <= set(sections(RUNBOOK))
    assert {rule["annotations"]["runbook"] for rule in ALERTS} == {
        f"RUNBOOK.md#{kebab(rule['alert'])}" for rule in ALERTS
    }


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    told = {name for name in sections(RUNBOOK) if name.startswith("aprilgan-")}
    assert told == {kebab(rule["alert"]) for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alerts_section_says_what_it_means_what_to_do_and_how_to_verify(
    rule: dict[str, dict[str, str]],
) -> None:
    text = sections(RUNBOOK)[kebab(str(rule["alert"]))]
    assert all(word in text for word in ("**Means**", "**Do**", "**Verify**"))
    assert text.strip().lower().startswith(rule["labels"]["severity"])


@pytest.mark.parametrize("page", PAGES)
def test_links_within_a_page_lead_to_a_heading(page: str) -> None:
    text = (DEPLOY / page).read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors(text)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_quoted_exists_with_its_options(page: str) -> None:
    quoted = commands((DEPLOY / page).read_text(encoding="utf-8"))
    assert len(quoted) > 5
    assert [(" ".join(words), fault(words)) for words in quoted if fault(words)] == []


def test_the_judge_of_commands_finds_what_does_not_exist() -> None:
    assert fault(["enrol", "--line", "4"]) == "no command 'enrol'"
    assert fault(["db", "upgade"]) == "no command 'upgade'"
    assert fault(["verdicts", "--lime", "4"]) == "unknown options ['--lime']"
    assert commands("do `sudo aprilgan-admin db current; x` and\n\n    # aprilgan-admin doctor   # look\n") == [
        ["db", "current"],
        ["doctor"],
    ]


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_drop_ins_that_are_named_are_there(page: str) -> None:
    text = (DEPLOY / page).read_text(encoding="utf-8")
    named = set(re.findall(r"deploy/([a-z-]+\.sh)", text)) | set(re.findall(r"\b([a-z]+\.sh)\b", text))
    assert named <= {path.name for path in DEPLOY.glob("*.sh")}
    drop_ins = {path.name for path in (DEPLOY / "systemd").rglob("*.example")}
    assert {f"{name}.example" for name in re.findall(r"\d\d-(?!cred)[a-z]+\.conf", text)} <= drop_ins


def test_doctor_knows_what_to_do_about_every_readiness_check() -> None:
    assert set(daemon_pages.REMEDIES) == set(CHECKS)
