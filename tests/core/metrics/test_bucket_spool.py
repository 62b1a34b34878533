"""The spool gives back what it was given, bucket by bucket, and leaves no file."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.metrics import bucket_spool
from core.metrics.bucket_spool import PLACES, BucketSpool, order_keys

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
all_keys = arrays(np.uint32, st.integers(0, 60), elements=st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 3)))


@given(float32s, float32s)
def test_order_keys_compare_as_the_scores_do(a, b):
    key_a, key_b = order_keys(np.array([a, b], dtype=np.float32)).tolist()
    assert (key_a < key_b, key_a == key_b) == (a < b, a == b)


def test_the_two_zeros_have_one_key_and_denormals_keep_their_own():
    tiny = np.finfo(np.float32).smallest_subnormal
    keys = order_keys(np.array([-tiny, -0.0, 0.0, tiny], dtype=np.float32)).astype(np.int64)
    assert np.sign(np.diff(keys)).tolist() == [1, 0, 1]


@settings(max_examples=40)
@given(keys=st.lists(all_keys, max_size=5), block=st.integers(1, 50), chunk=st.integers(1, 9))
def test_every_item_comes_back_in_its_bucket_whatever_the_sizes_of_blocks_and_chunks(
    tmp_path_factory, keys, block, chunk
):
    spool = BucketSpool(tmp_path_factory.getbasetemp(), np.uint64, block=block)
    given_items = [key.astype(np.uint64) * 3 for key in keys]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_spool, "CHUNK", chunk)
        for key, items in zip(keys, given_items, strict=True):
            spool.append(key, items)
        spool.flush()
        found = {}
        for bucket in np.flatnonzero(spool.counts).tolist():
            parts = [part.copy() for part in spool.read(bucket)]
            assert all(len(part) <= chunk for part in parts)
            found[bucket] = sorted(itertools.chain.from_iterable(part.tolist() for part in parts))
    spool.close()
    every_key = np.concatenate([*keys, np.empty(0, np.uint32)])
    expected = {
        bucket: sorted((key * 3) for key in every_key.tolist() if key // PLACES == bucket)
        for bucket in set((every_key // PLACES).tolist())
    }
    assert found == expected


def test_flushing_part_of_a_block_and_going_on_loses_nothing(tmp_path):
    spool = BucketSpool(tmp_path, np.uint16, block=4)
    for value in range(6):
        spool.append(np.array([value], np.uint32), np.array([value], np.uint16))
        spool.flush()
    assert spool.counts[0] == 6
    assert np.concatenate(list(spool.read(0))).tolist() == [0, 1, 2, 3, 4, 5]
    assert list(spool.read(1)) == []
    spool.close()


def test_nothing_with_a_name_is_ever_left_in_the_folder(tmp_path):
    spool = BucketSpool(tmp_path, np.uint16, block=2)
    spool.append(np.arange(5, dtype=np.uint32), np.arange(5, dtype=np.uint16))
    assert not list(tmp_path.iterdir())  # not even while it is open: a killed process leaves nothing
    spool.close()


def test_a_missing_folder_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        BucketSpool(tmp_path / "none", np.uint16, block=2)
