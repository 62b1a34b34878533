"""A small camera for trials and demos: sends the pictures of a folder and shows what the line says of each.

`python -m daemon.camera FOLDER --camera NAME`. It speaks the native protocol (daemon.native_sender).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import simplejpeg

from core.errors import ImageError
from core.image import decode_image, read_header
from daemon.exit_codes import ExitCode
from daemon.native_sender import CurveKeys, NativeSender, Shot

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
PATIENCE_S = 30.0


def pictures(folder: Path) -> list[Path]:
    """The JPEG and PNG files of a folder, by name. Raises FileNotFoundError if it holds none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"expected pictures (.jpg, .jpeg, .png) in {folder}, found none")
    return found


def load_shot(path: Path, encoding: str) -> Shot:
    """A file as it will be sent. encoding: "file" as it is, "raw" decoded, "jpeg" encoded anew.

    The part is named after the file. Raises ImageError or OSError.
    """
    data = path.read_bytes()
    part = path.stem[:200] if path.stem.isprintable() else None
    if encoding == "file":
        return Shot(payload=data, enc=read_header(data).format, part=part)
    image = decode_image(data)
    if encoding == "jpeg":
        return Shot(payload=simplejpeg.encode_jpeg(image, quality=95), enc="jpeg", part=part)
    return Shot(payload=image.tobytes(), enc="raw", dtype="uint8", shape=image.shape, color="rgb", part=part)


def send_all(sender: NativeSender, shots: Iterable[Shot], *, rate_hz: float) -> Iterator[dict[str, Any]]:
    """Send each shot, `rate_hz` a second (0: as fast as the window lets), and yield the replies as they come.

    Raises TimeoutError if the window stays full for 30 s.
    """
    interval_s = 1 / rate_hz if rate_hz else 0.0
    next_at = time.monotonic()
    for shot in shots:
        while not sender.has_room:
            yield _reply(sender)
        while (wait_s := next_at - time.monotonic()) > 0:
            reply = sender.receive(wait_s)
            if reply is not None:
                yield reply
        sender.send(shot)
        next_at = max(next_at + interval_s, time.monotonic() - interval_s)
    while sender.unanswered:
        yield _reply(sender)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0 if every frame was answered, 1 if some was refused, 69 if nobody answers."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.server_key is None) != (options.key_file is None):
        parser.error("--server-key and --key-file go together")
    try:
        paths = pictures(options.folder)
        curve = CurveKeys.load(options.server_key, options.key_file) if options.key_file else None
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return ExitCode.REFUSED
    rounds = repeat(paths) if options.loop else iter([paths])
    sender = NativeSender(options.connect, options.camera, window=options.window, curve=curve)
    tally: Counter[str] = Counter()
    try:
        shots = (load_shot(path, options.encoding) for path in chain.from_iterable(rounds))
        for reply in send_all(sender, shots, rate_hz=options.rate):
            tally[reply.get("decision") or reply["status"]] += 1
            print(_shown(reply), flush=True)
    except (ImageError, OSError) as error:
        print(error, file=sys.stderr)
        return ExitCode.UNAVAILABLE if isinstance(error, TimeoutError) else ExitCode.REFUSED
    except KeyboardInterrupt:
        pass  # the way to end --loop
    finally:
        sender.close()
    print(", ".join(f"{count} {what}" for what, count in sorted(tally.items())), file=sys.stderr)
    return ExitCode.REFUSED if tally["error"] else ExitCode.OK


def _reply(sender: NativeSender) -> dict[str, Any]:
    reply = sender.receive(PATIENCE_S)
    if reply is None:
        raise TimeoutError(f"{sender.unanswered} frames got no reply within {PATIENCE_S:.0f} s")
    return reply


def _shown(reply: dict[str, Any]) -> str:
    if reply["status"] == "verdict":
        score = "-" if reply["score"] is None else f"{reply['score']:.3f}"
        return f"{reply['part']}\t{reply['decision']}\t{score}\t{reply['reason'] or ''}".rstrip()
    return f"{reply['seq']}\t{reply['status']}\t{reply.get('detail') or reply.get('key', '')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m daemon.camera", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures to send, in order of their names")
    parser.add_argument("--camera", required=True, metavar="NAME", help="a configured camera")
    parser.add_argument("--connect", default="tcp://127.0.0.1:5555", metavar="ENDPOINT")
    parser.add_argument("--rate", type=_not_negative, default=0.0, metavar="HZ", help="0: as fast as answers come")
    parser.add_argument(
        "--window",
        type=_window,
        metavar="N",
        help="at most so many frames in flight (default: as many as the service lets in)",
    )
    parser.add_argument(
        "--server-key", type=Path, metavar="FILE", help="server.key, where the service asks for keys"
    )
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="this camera's NAME.key_secret")
    encoding = parser.add_mutually_exclusive_group()
    encoding.add_argument("--raw", dest="encoding", action="store_const", const="raw", help="send pixels")
    encoding.add_argument("--jpeg", dest="encoding", action="store_const", const="jpeg", help="encode as JPEG")
    parser.set_defaults(encoding="file")
    parser.add_argument("--loop", action="store_true", help="start over until interrupted")
    return parser


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {text}")
    return value


def _window(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"expected 1 to 1024 frames, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
