"""From a method's name to its text branch; the one place that knows them all."""

from __future__ import annotations

from core.adapter import Adapter, check_adapter
from core.dual_path import plain_transformer
from core.encoder import Encoder
from core.errors import EncoderError
from core.methods.april_gan import AprilGan
from core.methods.sdp import Sdp, SdpPlus
from core.zero_shot import ZeroShot

METHODS = ("bank", "april-gan", "sdp", "sdp+")
TAKE_ADAPTER = ("april-gan", "sdp+")
WALK_BOTH_PATHS = ("sdp", "sdp+")
"""Methods whose features have the V-V path's tokens."""


def zero_shot_branch(method: str, encoder: Encoder, adapter: Adapter | None) -> ZeroShot | None:
    """The text branch of a method; None for "bank", which has none.

    Raises EncoderError for an unknown method, an encoder without words, or linear layers that are missing or
    not taken; MismatchError for layers of another encoder.
    """
    if method not in METHODS:
        raise EncoderError(f"expected a method of {', '.join(METHODS)}, got {method!r}")
    if (adapter is None) == (method in TAKE_ADAPTER):
        raise EncoderError(
            f"method {method} {'takes' if adapter is None else 'takes no'} linear layers (an adapter file)"
        )
    if method == "bank":
        return None
    if not encoder.has_image_embedding:
        raise EncoderError(
            f"method {method} compares pictures with words, and {encoder.spec.name} has no text tower"
        )
    if adapter is not None:
        check_adapter(adapter, encoder)
        adapter = adapter.to(encoder.torch_device)
    if method == "april-gan" and adapter is not None:
        return AprilGan(adapter)
    plain_transformer(encoder.tower)
    return Sdp() if adapter is None else SdpPlus(adapter)
