"""Webhooks against a real receiver that answers, refuses, hangs, drips and goes away."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.decide import Decision
from daemon.outbox import Outbox
from daemon.outputs.cursor import CursorFile
from daemon.outputs.sections import WebhookSettings
from daemon.outputs.sink import MessageRefused, Selection, SinkUnavailable
from daemon.outputs.webhook import WebhookSink
from tests.daemon.outputs.receiver import Receiver
from tests.daemon.outputs.rig import ALL, Counts, certificate, delivering, key, verdict
from tests.daemon.patience import until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db")
    CursorFile(tmp_path, "plant").write(0)
    yield journal
    journal.close()


def sink(receiver: Receiver, *, selection: Selection = ALL, timeout_s: float = 20, **more: Any) -> WebhookSink:
    url = more.pop("url", f"http://127.0.0.1:{receiver.port}/hook?code=s3cret")
    return WebhookSink(WebhookSettings(url=url, timeout_s=timeout_s, **more), selection)


def test_a_verdict_is_posted_as_the_contract_words_it_with_its_key_and_token(receiver: Receiver) -> None:
    hook = sink(receiver, token="t0ken")
    hook.deliver([verdict(1)])
    hook.close()
    ((headers, body),) = receiver.requests
    assert body == verdict(1).public()
    assert headers["Idempotency-Key"] == f'"{key(1)}"'
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Content-Type"] == "application/json"


def test_only_the_chosen_lines_and_decisions_are_sent(receiver: Receiver) -> None:
    hook = sink(receiver, selection=Selection(lines=frozenset({4}), decisions=frozenset({"reject"})))
    assert hook.takes(verdict(1))
    assert not hook.takes(verdict(1, line=5))
    assert not hook.takes(verdict(1, decision=Decision.ACCEPT))


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404, 302])
def test_an_answer_that_blames_no_message_means_try_again(receiver: Receiver, status: int) -> None:
    receiver.answer = receiver.refuse(status)
    hook = sink(receiver)
    with pytest.raises(SinkUnavailable, match=f"answered {status}") as caught:
        hook.deliver([verdict(1)])
    assert "s3cret" not in str(caught.value)
    hook.close()


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_an_answer_that_blames_the_message_is_told_apart(receiver: Receiver, status: int) -> None:
    receiver.answer = receiver.refuse(status)
    hook = sink(receiver)
    with pytest.raises(MessageRefused, match=f"answered {status}"):
        hook.deliver([verdict(1)])
    hook.close()


@pytest.mark.parametrize("misbehaviour", ["hang", "drip"])
def test_an_answer_that_never_ends_ends_at_the_deadline(receiver: Receiver, misbehaviour: str) -> None:
    receiver.answer = getattr(receiver, misbehaviour)
    hook = sink(receiver, timeout_s=0.2)
    with pytest.raises(SinkUnavailable, match=r"within 0\.2 s"):
        hook.deliver([verdict(1)])
    hook.close()


def test_an_answer_of_any_size_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answer = lambda handler, _: handler.say(200, b"x" * 50_000_000)
    hook = sink(receiver)
    hook.deliver([verdict(1)])
    receiver.answer = receiver.take
    hook.deliver([verdict(2)])
    assert receiver.keys == [key(2)]
    hook.close()


def test_a_receiver_that_is_not_there_is_named_without_its_path(receiver: Receiver) -> None:
    hook = sink(receiver, url="http://127.0.0.1:1/hook?code=s3cret")
    with pytest.raises(SinkUnavailable, match=r"http://127\.0\.0\.1:1: ") as caught:
        hook.deliver([verdict(1)])
    assert "s3cret" not in str(caught.value)
    hook.close()


def test_500_then_a_hang_then_nothing_then_200_delivers_each_key_in_order(
    receiver: Receiver, outbox: Outbox, tmp_path: Path
) -> None:
    counts = Counts()
    troubles = iter([receiver.refuse(500), receiver.hang, receiver.drip, receiver.refuse(503)])

    def moody(handler: Any, body: dict[str, Any]) -> None:
        if body["seq"] == 2 and (trouble := next(troubles, None)):
            trouble(handler, body)
        else:
            receiver.take(handler, body)

    receiver.answer = moody
    outbox.commit(verdicts=[verdict(number) for number in range(5)])
    with delivering(sink(receiver, timeout_s=0.2), tmp_path, counts):
        until(lambda: len(receiver.keys) == 5)
    assert receiver.keys == [key(number) for number in range(5)]
    assert counts.results == {"delivered": 5, "failed": 4}


def test_https_trusts_the_plants_own_ca_and_no_other(tmp_path: Path) -> None:
    crt, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, private)
    with Receiver(tls=context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        known = sink(receiver, url=url, ca_file=crt)
        known.deliver([verdict(1)])
        known.close()
        stranger = sink(receiver, url=url)
        with pytest.raises(SinkUnavailable, match=r"(?i)certificate"):
            stranger.deliver([verdict(2)])
        stranger.close()
        assert receiver.keys == [key(1)]
