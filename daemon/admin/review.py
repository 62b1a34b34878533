"""The question before a bank takes charge: all of it, none of it, or all but some samples."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer

from daemon.admin.session import Refused

YES, NO = frozenset({"y", "yes"}), frozenset({"", "n", "no"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """go_on: take it as it is. dropped: numbers to leave out and ask again; neither: nothing is wanted."""

    go_on: bool = False
    dropped: frozenset[int] = frozenset()


def at_a_terminal() -> bool:
    """Whether a person can be asked: what they type, what they read and what comes out are all a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()


def need_consent(what: str, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Refuse as wrong usage, before anything is done, what nobody can be asked about."""
    if not (yes or dry_run) and (as_json or not at_a_terminal()):
        raise typer.BadParameter(
            f"{what} shows them and asks before a bank takes charge, and here nobody can be asked: say --yes to "
            "take them as they come, or --dry-run to look only",
            param_hint="--yes",
        )


def parse_answer(text: str, count: int) -> Answer:
    """ "y", "n" or "3,5" to an answer. Raises ValueError, saying what is expected. Pure."""
    said = text.strip().lower()
    if said in YES:
        return Answer(go_on=True)
    if said in NO:
        return Answer()
    numbers = re.split(r"[\s,]+", said)
    if not all(re.fullmatch(r"\d{1,6}", number) for number in numbers):
        raise ValueError(f"expected y, n, or numbers like 3,5; got {text.strip()!r}")
    dropped = frozenset(int(number) for number in numbers)
    unknown = sorted(dropped - set(range(1, count + 1)))
    if unknown:
        raise ValueError(f"expected numbers from 1 to {count}, got {unknown[0]}")
    if len(dropped) == count:
        raise ValueError("nothing would be left; say n to stop")
    return Answer(dropped=dropped)


def ask(question: str, count: int, *, prompt: Callable[[str], str] | None = None) -> Answer:
    """Ask until the answer is one. Raises Refused where the person says no."""
    prompt = prompt or _prompt
    while True:
        try:
            answer = parse_answer(prompt(f"{question} [y/N, or numbers to leave out, as 3,5] "), count)
        except ValueError as error:
            typer.echo(str(error), err=True)
            continue
        if not answer.go_on and not answer.dropped:
            raise Refused("not enrolled: nothing was stored and the line is as it was")
        return answer


def _prompt(question: str) -> str:
    return str(typer.prompt(question, default="", show_default=False, prompt_suffix="", err=True))
