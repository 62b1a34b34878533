"""Faults that nobody can inject from outside: Python imports this at start where PYTHONPATH names its folder.

For the daemon alone: a test that imported it would sabotage itself. A picture of one of the colours in marks.py
does to the scorer what a bad driver, a bug or a small memory would; the file named by AG_WALL_CLOCK moves the wall
clock of the process by as many seconds as stand in it.
"""

import os
import sys
import threading
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec

import marks


def colour(image):
    """The one colour of an (H, W, 3) RGB picture, or None."""
    first = image[0, 0]
    return tuple(int(part) for part in first) if (image == first).all() else None


def sabotage_scorer(module):
    encode, match = module.Scorer.encode, module.Scorer.match
    lane = threading.local()  # the scorer's lanes have batches of their own

    def sabotaged_encode(self, images, *rest):
        seen = [colour(image) for image in images]
        lane.not_finite = [index for index, one in enumerate(seen) if one == marks.NOT_FINITE]
        if marks.BREAKS in seen:
            raise RuntimeError("a picture that breaks the model")
        if marks.LOSES_THE_DEVICE in seen:
            raise RuntimeError("CUDA error: unspecified launch failure")
        if marks.NEEDS_MUCH_MEMORY in seen and len(images) > 1:
            raise MemoryError
        if marks.HANGS in seen:
            time.sleep(3600)
        if marks.SLOW in seen:
            time.sleep(0.5)
        return encode(self, images, *rest)

    def sabotaged_match(self, *arguments, **options):
        from dataclasses import replace

        results = list(match(self, *arguments, **options))
        for index in lane.not_finite:
            results[index] = replace(results[index], score=float("nan"))
        return results

    module.Scorer.encode, module.Scorer.match = sabotaged_encode, sabotaged_match


def step_wall_clock(module):
    from datetime import timedelta

    now = module.SystemClock.now
    # kept open, because the loop asks for the time with every frame
    file = os.open(os.environ["AG_WALL_CLOCK"], os.O_RDONLY)

    def stepped(self):
        return now(self) + timedelta(seconds=float(os.pread(file, 64, 0)))

    module.SystemClock.now = stepped


class After(MetaPathFinder):
    """Changes each named module right after its import."""

    def __init__(self, changes):
        self.changes = changes

    def find_spec(self, name, path=None, target=None):
        change = self.changes.pop(name, None)
        if change is None:
            return None
        spec = find_spec(name)
        spec.loader = Changed(spec.loader, change)
        return spec


class Changed(Loader):
    def __init__(self, loader, change):
        self.loader, self.change = loader, change

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.change(module)


sys.meta_path.insert(0, After({"core.scorer": sabotage_scorer, "daemon.clock": step_wall_clock}))
