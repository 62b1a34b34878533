"""What it saves that a running worker holds no text tower: resident memory of two fresh processes, ViT-L-14-336.

Both build the same encoder at 518 pixels in float32; one of them keeps the rest of the CLIP beside it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Result

MIB = 1 << 20
SHARE = 0.9
"""Of the text tower's weights must be saved; the rest is left to what the allocator keeps."""


def results() -> Iterator[Result]:
    """Megabytes saved; the target is nine tenths of the text tower's weights."""
    from benchmarks.vit_l_files import vit_l_files

    with vit_l_files() as files:
        encoder, whole = (_resident_in_a_fresh_process(keep, files.weights) for keep in ("encoder", "whole"))
        text_mib = files.text_bytes / MIB
    yield Result(
        name="text_tower_memory_saved_mib",
        value=(whole - encoder) / MIB,
        target=round(SHARE * text_mib, 1),
        detail={
            "encoder_only_mib": round(encoder / MIB, 1),
            "whole_clip_mib": round(whole / MIB, 1),
            "text_tower_weights_mib": round(text_mib, 1),
        },
    )


def _resident_in_a_fresh_process(keep: str, weights: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.text_tower_memory", keep, str(weights)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def _build(keep: str, weights: Path) -> object:
    """Hold an encoder, alone or with its text tower. Returns what must stay alive."""
    import core
    from benchmarks.vit_l_files import PRESET
    from core.presets import PRESETS
    from core.towers import build_clip

    if keep == "encoder":
        return core.load_encoder(PRESET, weights=weights, device="cpu")
    import torch

    spec = PRESETS[PRESET]
    clip = build_clip(spec, weights)
    encoder = core.Encoder(clip.visual, spec, device=torch.device("cpu"), dtype=torch.float32)  # type: ignore[arg-type]
    _ = encoder.stage_shapes  # load_encoder runs one picture too
    return clip, encoder


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError("this kernel does not tell VmRSS")
    return int(found[1]) * 1024


if __name__ == "__main__":
    held = _build(sys.argv[1], Path(sys.argv[2]))
    print(_resident_bytes())
