"""Put on a worker's PYTHONPATH: every torch operation of a thread that is not the main one is written down.

`$AG_TORCH_SEEN` names the file: a line "THREAD watched" once a thread is, and a line "THREAD OPERATION" for each.
"""

import os
import sys
import threading
from types import FrameType
from typing import Any


def watch(frame: FrameType, event: str, arg: Any) -> None:
    """A thread's profile function until torch is there; then its operations are seen as torch dispatches them."""
    if not hasattr(sys.modules.get("core.scorer"), "load_scorer"):
        return
    sys.setprofile(None)
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            note(str(func))
            return func(*args, **(kwargs or {}))

    Watch().__enter__()
    note("watched")


def note(what: str) -> None:
    with open(os.environ["AG_TORCH_SEEN"], "a", encoding="utf-8") as file:
        file.write(f"{threading.current_thread().name} {what}\n")


threading.setprofile(watch)
