"""A training in a process of its own that ends by SIGKILL after some steps: `killed.py MODEL ROOT WORK STEPS`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from core.training.progress import Step
from tests.core.training.rig import OPTIONS, train
from tests.tiny import TinyModel


def main() -> None:
    folder, root, work, steps = *map(Path, sys.argv[1:4]), int(sys.argv[4])

    def die(step: Step) -> None:
        if step.done == steps and not step.remark:
            os.kill(os.getpid(), signal.SIGKILL)

    model = TinyModel(config=folder / "tiny-clip.json", weights=folder / "tiny-clip.safetensors")
    train(model, root, work, OPTIONS, observe=die, checkpoint_seconds=0.0)


if __name__ == "__main__":
    main()
