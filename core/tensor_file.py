"""Files of tensors that came from elsewhere: they hold tensors and nothing else, or they are refused."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from core.errors import WeightsError

DAMAGED = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, EOFError, OSError),
    *(struct.error, zipfile.BadZipFile, SafetensorError),
)
"""What reading raises for cut, altered and foreign files; found by feeding torch 10 000 of them."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Within it, a file that is damaged, does not fit or holds code is a WeightsError that begins with `what`."""
    try:
        yield
    except DAMAGED as error:
        raise WeightsError(f"{what} is damaged or does not fit: {first_line(error)}") from error
    except Exception as error:  # pickle.UnpicklingError, without importing pickle
        if type(error).__name__ != "UnpicklingError":
            raise
        raise WeightsError(f"{what} holds more than tensors and is refused (weights_only)") from error


def first_line(error: BaseException) -> str:
    """The gist of an error that may fill a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
