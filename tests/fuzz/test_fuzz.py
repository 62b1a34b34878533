"""The quick form of the fuzz suite, and every case that the long one (`python -m tests.fuzz`) ever found."""

from __future__ import annotations

import json
import sys
import tracemalloc
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.flow import RefusalReason
from tests.daemon.test_wire import refused
from tests.fuzz.__main__ import resident_bytes, run
from tests.fuzz.mutations import mutate, png_head
from tests.fuzz.targets import (
    TARGETS,
    Target,
    check_bank,
    check_decoded,
    check_header,
    check_image,
    check_message,
    images,
    messages,
)

QUICK = {"wire": 1500, "header": 1500, "image": 1000, "decode": 200, "bank": 400}
PARTS = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.sampled_from(sorted({part for parts in messages() for part in parts})),
        st.builds(mutate, st.randoms(use_true_random=False), st.sampled_from([parts[-2] for parts in messages()])),
    ),
    max_size=7,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
quick = settings(max_examples=300)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_input_is_let_in_or_refused(target: Target) -> None:
    tally = run(target, QUICK[target.name], Random(f"quick/{target.name}"))
    assert tally.findings == {}
    assert tally.cases == QUICK[target.name]


@quick
@given(PARTS)
def test_any_message_is_let_in_or_refused(parts: list[bytes]) -> None:
    check_message(parts)


@quick
@given(st.one_of(st.binary(max_size=300), JSON.map(lambda value: json.dumps(value).encode())), st.booleans())
def test_any_header_is_read_or_refused(data: bytes, msgpack_allowed: bool) -> None:
    check_header((data, msgpack_allowed))


@quick
@given(
    st.one_of(
        st.binary(max_size=100).map(lambda tail: b"\xff\xd8\xff" + tail),
        st.builds(
            png_head,
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 255),
            st.integers(0, 255),
            st.binary(max_size=100),
        ),
        st.builds(mutate, st.randoms(use_true_random=False), st.sampled_from(images())),
    )
)
def test_any_picture_has_a_size_within_the_limits_or_is_refused(data: bytes) -> None:
    check_image(data)


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_no_bank(data: bytes) -> None:
    check_bank(data)


def test_a_refused_message_leaves_no_memory_behind() -> None:
    target, random = TARGETS[0], Random(3)
    run(target, 500, random)
    before = resident_bytes()
    run(target, 3000, random)
    assert resident_bytes() - before < 16 * 1024 * 1024


@pytest.mark.parametrize("width", [60_000, 16_384, 8_000])
def test_a_picture_that_claims_gigabytes_takes_none(width: int) -> None:
    bomb = png_head(width, width, 16, 6, images()[2][33:])
    tracemalloc.start()
    try:
        check_image(bomb)
        check_decoded(bomb)
        check_message([b"", b"APG1", b'{"v":1,"camera":"cam1","seq":1,"enc":"png"}', bomb])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


# Found cases


def at_the_depth_of_the_loop(work: Any, frames: int = 40) -> Any:
    """As deep in the stack as the daemon's loop is."""
    return work() if frames == 0 else at_the_depth_of_the_loop(work, frames - 1)


@pytest.mark.parametrize("levels", [4, 400, 480, 500, 900, sys.getrecursionlimit(), 2000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_nested_deeper_than_the_stack_is_refused(levels: int, packed: bool) -> None:
    """Found 2026-11-22: 500 levels in 1.2 KB raised RecursionError through the parser and ended the ingress."""
    text = b'{"v":1,"a":' + b"[" * levels + b"]" * levels + b"}"
    header = b"\x81\xa1a" + b"\x91" * levels + b"\x01" if packed else text
    refusal = at_the_depth_of_the_loop(lambda: refused([b"", b"APG1", header, b""]))
    assert refusal.reason is RefusalReason.BAD_HEADER


@pytest.mark.parametrize("number", [b"\x7f\xf0", b"\xff\xf0", b"\x7f\xf8"], ids=["inf", "-inf", "nan"])
def test_a_number_that_is_not_finite_is_refused_in_msgpack_too(number: bytes) -> None:
    """Found 2026-11-22: msgpack, unlike JSON, can write them, and they were let in."""
    assert "finite" in refused([b"", b"APG1", b"\x81\xa3seq\xcb" + number + b"\x00" * 6, b""]).detail


@pytest.mark.parametrize("meaning", ["3", '"text"', "false", '{"schema":1,"calibration":3}', "[" * 5000])
def test_metadata_of_another_type_is_no_bank(meaning: str) -> None:
    """Found 2026-11-22: AttributeError instead of BankError."""
    head = json.dumps({"__metadata__": {"aprilgan_bank": meaning}}).encode()
    check_bank(len(head).to_bytes(8, "little") + head)
