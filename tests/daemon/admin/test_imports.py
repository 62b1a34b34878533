"""What the command line may not drag in: most commands score nothing, and torch alone takes over a second."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "open_clip", "timm", "sklearn", "jinja2")


def test_the_command_line_comes_up_without_the_heavy_libraries() -> None:
    program = f"import daemon.admin.__main__, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
