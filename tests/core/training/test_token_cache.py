"""The token cache: what it gives back is what was put, or nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.training.token_cache import HEAD_BYTES, TokenCache, open_token_cache
from core.training.work_folder import TOKEN_CACHE

ROW = bytes(range(24))
IDENTITY = {"encoder": "one", "data": "abc"}


def opened(folder: Path, **changes: str) -> TokenCache:
    cache = open_token_cache(folder, {**IDENTITY, **changes}, rows=3, row_bytes=len(ROW))
    assert cache is not None
    return cache


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[TokenCache]:
    with opened(tmp_path) as cache:
        yield cache


def test_a_row_comes_back_and_others_are_empty(cache: TokenCache) -> None:
    cache.put(1, ROW)
    assert [cache.get(row) for row in range(3)] == [None, ROW, None]


def test_rows_outlive_the_process_that_put_them(cache: TokenCache, tmp_path: Path) -> None:
    cache.put(2, ROW)
    with opened(tmp_path) as again:
        assert again.get(2) == ROW


@pytest.mark.parametrize("byte", range(HEAD_BYTES + 32, HEAD_BYTES + 64, 5))
def test_a_row_with_a_changed_byte_is_not_believed(cache: TokenCache, tmp_path: Path, byte: int) -> None:
    cache.put(1, ROW)
    path = tmp_path / TOKEN_CACHE
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    assert cache.get(1) is None


def test_a_row_that_stands_in_anothers_place_is_not_believed(cache: TokenCache, tmp_path: Path) -> None:
    cache.put(0, ROW)
    path, stride = tmp_path / TOKEN_CACHE, 8 + len(ROW)
    data = bytearray(path.read_bytes())
    data[HEAD_BYTES + stride : HEAD_BYTES + 2 * stride] = data[HEAD_BYTES : HEAD_BYTES + stride]
    path.write_bytes(data)
    assert cache.get(0) == ROW
    assert cache.get(1) is None


def test_the_cache_of_another_encoder_is_made_anew(cache: TokenCache, tmp_path: Path) -> None:
    cache.put(0, ROW)
    with opened(tmp_path, encoder="another") as other:
        assert other.get(0) is None
    with opened(tmp_path) as again:
        assert again.get(0) is None


def test_a_cut_file_is_made_anew(cache: TokenCache, tmp_path: Path) -> None:
    cache.put(0, ROW)
    path = tmp_path / TOKEN_CACHE
    path.write_bytes(path.read_bytes()[:-1])
    with opened(tmp_path) as again:
        assert again.get(0) is None


def test_a_disk_without_room_means_no_cache_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    too_much = shutil.disk_usage(tmp_path).total
    with caplog.at_level(logging.WARNING):
        assert open_token_cache(tmp_path, IDENTITY, rows=1, row_bytes=too_much) is None
    assert "no token cache" in caplog.text
    assert not (tmp_path / TOKEN_CACHE).exists()
