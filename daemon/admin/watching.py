"""How `verdicts --watch` reaches the daemon and what a person sees: a line a verdict, the counts below them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import zmq
from rich.console import Console
from rich.live import Live
from rich.text import Text

from core.decide import Decision
from daemon.admin.output import remark
from daemon.admin.session import Refused, Session
from daemon.admin.watch import Show, watch
from daemon.authorized_keys import keys_folder
from daemon.curve import server_pair
from daemon.key_files import PUBLIC_HALF, SERVER, KeyFileError, read_pair, read_public
from daemon.native_sender import CurveKeys
from daemon.settings import Settings
from daemon.verdict_queries import VerdictFilter
from daemon.verdict_stream import VerdictStream, local_endpoint

_STYLES = {
    Decision.REVIEW: "yellow",
    Decision.REJECT: "bold red",
    Decision.UNINSPECTED: "bold reverse",
}


def watch_verdicts(
    session: Session, wanted: VerdictFilter, *, key_file: Path | None, limit: int, as_json: bool
) -> None:
    """Show verdicts until Ctrl-C or SIGTERM. Raises Refused for keys that cannot be used, ConfigurationError."""
    endpoint = local_endpoint(session.settings.publish.bind)
    database = session.records.database
    with _interrupted() as stopped, _shown(as_json=as_json) as show:
        open_stream = _opener(session.settings, endpoint, wanted.line, key_file)
        watch(database, wanted, open_stream, endpoint=endpoint, limit=limit, show=show, stopped=stopped)


def _opener(
    settings: Settings, endpoint: str, line: int | None, key_file: Path | None
) -> Callable[[], VerdictStream] | None:
    """How to open the stream; None where the daemon asks for a key and none was named."""
    curve = None
    if settings.ingest.security == "curve":
        if key_file is None:
            remark(
                "The daemon asks for keys and no --key was named: verdicts come from SQL, about a second later."
            )
            return None
        curve = _keys(settings, key_file)
    elif key_file is not None:
        raise Refused('--key: ingest.security is "none", so the daemon asks for no key')
    return lambda: VerdictStream(zmq.Context.instance(), endpoint, line=line, curve=curve)


def _keys(settings: Settings, key_file: Path) -> CurveKeys:
    """The subscriber's pair, and the server's public key from the settings' secret or the state folder."""
    try:
        pair = read_pair(key_file)
        if settings.ingest.server_secret_key is None:
            server = read_public(keys_folder(settings.state.dir) / f"{SERVER}{PUBLIC_HALF}")
        else:
            server = server_pair(settings).public
    except KeyFileError as error:
        raise Refused(str(error)) from error
    return CurveKeys(server=server.encode(), public=pair.public.encode(), secret=pair.secret.encode())


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Whether a person has had enough. Both signals only set this; what they did before comes back at the end."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: asked.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Show]:
    """Where verdicts go. A reader that went away (`| head`) is no error: it ends the watch."""
    try:
        if as_json:
            yield _print_json
        else:
            with _printed() as show:
                yield show
    except BrokenPipeError:
        # what is still buffered has nowhere to go when the interpreter flushes it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_json(verdict: dict[str, Any]) -> None:
    print(json.dumps(verdict, ensure_ascii=False, separators=(",", ":")), flush=True)


@contextmanager
def _printed() -> Iterator[Show]:
    """Lines for a person; on a terminal with the counts so far below them."""
    console = Console(file=sys.stdout, highlight=False)
    counts: Counter[str] = Counter()
    if not console.is_terminal:
        yield lambda verdict: print(row(verdict).plain, flush=True)
        return
    with Live(_counted(counts), console=console, auto_refresh=False, transient=True) as live:

        def show(verdict: dict[str, Any]) -> None:
            counts[str(verdict.get("decision"))] += 1
            console.print(row(verdict), soft_wrap=True)
            live.update(_counted(counts), refresh=True)

        yield show


def row(verdict: dict[str, Any]) -> Text:
    """A verdict as one line; columns stay where they are for names of the usual length."""
    decision = str(verdict.get("decision"))
    text = Text(f"{_local_time(verdict.get('decided_at'))}  {verdict.get('line')!s:>4}  ")
    text.append(f"{decision:<11}", style=_STYLES.get(decision, ""))  # type: ignore[call-overload]
    text.append(f"  {_number(verdict.get('score')):>8} {_number(verdict.get('threshold')):>8}")
    text.append(f"  {_number(verdict.get('total_ms'), '.0f'):>5} ms  {verdict.get('camera') or '-':<12}")
    text.append(f"  {verdict.get('part') or '-':<16}  {verdict.get('reason') or ''}")
    return text


def _counted(counts: Counter[str]) -> Text:
    said = " · ".join(f"{counts[decision]} {decision.value}" for decision in Decision)
    return Text(f"shown: {said} · Ctrl-C ends", style="dim")


def _number(value: object, form: str = ".2f") -> str:
    return format(value, form) if isinstance(value, int | float) else "-"


def _local_time(value: object) -> str:
    try:
        return datetime.fromisoformat(str(value)).astimezone().strftime("%d %b %H:%M:%S")
    except ValueError:
        return "-"
