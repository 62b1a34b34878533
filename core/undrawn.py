"""Building modules without drawing the random weights that loading overwrites at once.

Drawing them is most of the time that a large tower takes to build (docs/notes/0021-start-up.md). Every module that
is built so must be loaded strictly: what the file lacks would be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

DRAWS = frozenset(
    {
        *(torch.Tensor.uniform_, torch.Tensor.normal_),
        *(init.uniform_, init.normal_, init.trunc_normal_, init.kaiming_uniform_, init.kaiming_normal_),
    }
)
"""What fills a tensor with random numbers: draws, and what of torch.nn.init comes to a mode before it draws."""


class Undrawn(TorchFunctionMode):
    """Within it a random draw into a tensor leaves zeros; everything else is computed as ever, constants too."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """torch's own hook: (function, its arguments) to what it returns."""
        named = dict(kwargs or {})
        if func not in DRAWS:
            return func(*args, **named)
        tensor: torch.Tensor = args[0] if args else named["tensor"]
        with torch.no_grad():
            return tensor.zero_()
