"""One function of a batch at a few fixed batch sizes: padded to the next of them, replayed as a CUDA graph.

A graph saves what launching a thousand small kernels costs, and takes fixed shapes and addresses for it. So a
batch is padded to its bucket and the results are copied out of the graph's own memory: what a caller holds is
never overwritten by a later batch. On a CPU the same code runs the function itself, so that what a GPU does with
a batch is tested without one.

`torch.compile` could take this place; it was left out because compiling each bucket takes minutes of a start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]
Forward = Callable[[torch.Tensor], Tensors]

BUCKETS = (1, 2, 4, 8, 16)
WARM_RUNS = 2
"""Before a capture: libraries choose their algorithms and take their workspaces in the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Graph:
    """A captured run. batch: where the input goes. results: where the outputs come, at each replay."""

    graph: torch.cuda.CUDAGraph
    batch: torch.Tensor
    results: Tensors


class Bucketed:
    """`forward`, called with bucketed batches only.

    forward: (B, ...) to tensors (B, ...), a row of each belonging to a row of the batch and to no other. buckets:
    the batch sizes it is called with; larger batches go in pieces. capture: record a CUDA graph a bucket, at its
    first use; `forward` must then do the same whatever the values, and its input be on the GPU.

    Threads may call it side by side, all on one stream: a GPU computes what it is asked in the order of asking, so
    that each takes its results out of a graph's memory before the next one's input goes in.
    """

    def __init__(self, forward: Forward, *, buckets: Sequence[int] = BUCKETS, capture: bool) -> None:
        if not buckets or min(buckets) < 1:
            raise ValueError(f"expected buckets of one row or more, got {list(buckets)}")
        self._forward = forward
        self._buckets = tuple(sorted(buckets))
        self._capture = capture
        self._graphs: dict[tuple[torch.Size, torch.dtype], _Graph] = {}
        self._pool: Any = None  # torch's own handle
        self._asking = threading.Lock()

    def __call__(self, batch: torch.Tensor) -> Tensors:
        """`forward` of any number of rows, 1 or more; the results are the caller's own."""
        pieces = [self._run(piece) for piece in torch.split(batch, self._buckets[-1])]
        if len(pieces) == 1:
            return pieces[0]
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

    def bucket(self, rows: int) -> int:
        """The batch size that `rows` rows are computed with, at most the largest bucket."""
        return next((size for size in self._buckets if size >= rows), self._buckets[-1])

    def _run(self, batch: torch.Tensor) -> Tensors:
        rows = batch.shape[0]
        whole = padded(batch, self.bucket(rows))
        if not self._capture:
            return tuple(result[:rows] for result in self._forward(whole))
        with self._asking, torch.cuda.device_of(batch):  # type: ignore[no-untyped-call]
            # a graph is captured on the thread's device
            graph = self._graph(whole)
            graph.batch.copy_(whole)
            graph.graph.replay()
            return tuple(result[:rows].clone() for result in graph.results)

    def _graph(self, batch: torch.Tensor) -> _Graph:
        key = (batch.shape, batch.dtype)
        if key not in self._graphs:
            self._graphs[key] = self._captured(batch.clone())
        return self._graphs[key]

    def _captured(self, batch: torch.Tensor) -> _Graph:
        """All graphs share a pool: one runs at a time, and its results are copied out before the next."""
        stream = torch.cuda.Stream(batch.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(batch.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_RUNS):
                self._forward(batch)
        torch.cuda.current_stream(batch.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            results = self._forward(batch)
        self._pool = graph.pool()
        return _Graph(graph=graph, batch=batch, results=results)


def padded(batch: torch.Tensor, rows: int) -> torch.Tensor:
    """(n, ...) to (rows, ...): its last row repeated, a picture like any other; the batch itself where it fits."""
    missing = rows - batch.shape[0]
    return batch if missing <= 0 else torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
