"""Room for banks: what lines score with stays, previous ones go oldest first and come back when asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.bank_budget import held_bytes, lines_to_forget, too_large
from daemon.work import LineBank
from tests.daemon.fake_scorer import line_bank


def bank(line: int, sha256: str, size: int) -> LineBank:
    prepared: Any = SimpleNamespace(size_bytes=size)
    return replace(line_bank(line), bank_sha256=sha256, prepared=prepared)


def mapping(named: dict[int, int], sizes: dict[int, int]) -> dict[int, LineBank]:
    return {line: bank(line, str(number), sizes[number]) for line, number in named.items()}


@given(
    sizes=st.lists(st.integers(1, 9), min_size=5, max_size=5).map(lambda sizes: dict(enumerate(sizes))),
    current=st.dictionaries(st.integers(0, 6), st.integers(0, 4), max_size=6),
    previous=st.dictionaries(st.integers(0, 6), st.integers(0, 4), max_size=6),
    budget=st.integers(0, 40),
)
def test_as_few_previous_banks_as_can_be_go_and_the_oldest_first(sizes, current, previous, budget):
    now, before = mapping(current, sizes), mapping(previous, sizes)
    gone = lines_to_forget(now, before, budget_bytes=budget)
    assert gone == list(before)[: len(gone)]
    left = [bank for line, bank in before.items() if line not in gone]
    fits = held_bytes([*now.values(), *left]) <= budget
    assert fits or not left
    if gone:
        one_more = [before[gone[-1]], *left]
        assert held_bytes([*now.values(), *one_more]) > budget


def test_a_bank_that_several_lines_share_takes_its_room_once():
    shared = {line: bank(line, "same", 8) for line in range(3)}
    assert held_bytes(shared.values()) == 8
    assert lines_to_forget(shared, shared, budget_bytes=8) == []


def test_lines_whose_own_banks_exceed_the_budget_keep_them_and_it_is_said():
    current = {4: bank(4, "a", 3 << 20), 5: bank(5, "b", 2 << 20)}
    assert lines_to_forget(current, {}, budget_bytes=1) == []
    said = too_large(current, budget_bytes=4 << 20)
    assert said is not None
    assert "2 lines take 5 MiB, more than the budget of 4 MiB" in said
    assert too_large(current, budget_bytes=5 << 20) is None
