"""Batches for training: tokens of the frozen tower with masks, read ahead by threads, encoded here.

On a CPU every picture goes through the tower alone, so that its tokens never depend on its company, and a cached
token is the bit that encoding would give. On a GPU the pictures of a batch that are not in the cache go together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from core.datasets import read_image, read_mask
from core.encoder import Encoder
from core.image import Image
from core.training.examples import Example
from core.training.read_ahead import in_order
from core.training.stitching import Draw, Mask, stitch_images, stitch_masks
from core.training.token_cache import TokenCache

AHEAD = 2
"""Batches that are read while one is worked on."""

Tokens = tuple[torch.Tensor, ...]
"""One picture's, per stage (L_s, C_s), in the tower's precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """N examples. stages: per stage (N, L_s, C_s) float32. masks: (N, S, S) bool. names: N object names."""

    stages: tuple[torch.Tensor, ...]
    masks: torch.Tensor
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Read:
    """A draw off the disk: its tokens where the cache has them, else its picture."""

    draw: Draw
    tokens: bytes | None
    image: Image | None
    mask: Mask


class Feed:
    """Draws of some examples to batches on the encoder's device."""

    def __init__(self, encoder: Encoder, examples: Sequence[Example], cache: TokenCache | None) -> None:
        self._encoder = encoder
        self._examples = examples
        self._cache = cache

    def batches(self, draws: Sequence[Sequence[Draw]]) -> Iterator[Batch]:
        """One batch for each list of draws, in order. Raises DatasetError for a file that cannot be read."""
        ahead = AHEAD * max(map(len, draws), default=0)
        with closing(in_order(self._read, [draw for batch in draws for draw in batch], ahead=ahead)) as read:
            for batch in draws:
                yield self._batch([next(read) for _ in batch])

    def _read(self, draw: Draw) -> _Read:
        size, rows = self._encoder.image_size, [self._examples[index] for index in draw]
        if len(draw) == 1:
            tokens = self._cache.get(rows[0].row) if self._cache else None
            image = None if tokens else read_image(rows[0].item.image)
            return _Read(draw=draw, tokens=tokens, image=image, mask=read_mask(rows[0].item, size))
        image = stitch_images([read_image(row.item.image) for row in rows])
        mask = stitch_masks([read_mask(row.item, (size + 1) // 2) for row in rows], size)
        return _Read(draw=draw, tokens=None, image=image, mask=mask)

    def _batch(self, reads: Sequence[_Read]) -> Batch:
        device = self._encoder.torch_device
        fresh = iter(self._encode([read.image for read in reads if read.image is not None]))
        tokens = []
        for read in reads:
            if read.tokens is not None:
                tokens.append(unpacked(read.tokens, self._encoder))
                continue
            tokens.append(next(fresh))
            if self._cache and len(read.draw) == 1:
                self._cache.put(self._examples[read.draw[0]].row, packed(tokens[-1]))
        stages = zip(*tokens, strict=True)
        return Batch(
            stages=tuple(torch.stack([one.to(device) for one in stage]).float() for stage in stages),
            masks=torch.stack([torch.from_numpy(read.mask) for read in reads]).to(device),
            names=tuple(self._examples[read.draw[0]].object_name for read in reads),
        )

    def _encode(self, images: Sequence[Image]) -> list[Tokens]:
        step = 1 if self._encoder.torch_device.type == "cpu" else max(1, len(images))
        tokens: list[Tokens] = []
        for start in range(0, len(images), step):
            features = self._encoder.encode(images[start : start + step])
            tokens.extend(
                tuple(stage[index].clone() for stage in features.stages) for index in range(len(features))
            )
        return tokens


def packed(tokens: Tokens) -> bytes:
    """The stages' bits, one after the other."""
    return b"".join(stage.cpu().contiguous().view(torch.uint8).numpy().tobytes() for stage in tokens)


def unpacked(content: bytes, encoder: Encoder) -> Tokens:
    """What `packed` was given, on the CPU."""
    flat, start, tokens = torch.frombuffer(bytearray(content), dtype=encoder.dtype), 0, []
    for height, width, channels in encoder.stage_shapes:
        count = height * width * channels
        tokens.append(flat[start : start + count].reshape(height * width, channels))
        start += count
    return tuple(tokens)


def row_bytes(encoder: Encoder) -> int:
    """Length of a packed picture."""
    return sum(h * w * c for h, w, c in encoder.stage_shapes) * encoder.dtype.itemsize
