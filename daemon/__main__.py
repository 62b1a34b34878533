"""`aprilgan-daemon [--config FILE]`: read the settings, run the service, say by the exit code how it ended.

SIGHUP reads the settings anew (daemon.reload); `--check-config` only says whether they could be used.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import zmq

from daemon import __version__, logs
from daemon.embedded_redis import EmbeddedRedisError
from daemon.exit_codes import ExitCode
from daemon.health import BindError
from daemon.outbox import OutboxInUse, OutboxUnavailable
from daemon.service import run
from daemon.settings import ConfigurationError, load_settings

log = logging.getLogger("daemon")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    options = _parse(arguments)
    try:
        settings = load_settings(options.config)
    except ConfigurationError as error:
        print(f"aprilgan-daemon: configuration:\n{error}", file=sys.stderr)
        return ExitCode.CONFIG
    if options.check_config:
        print(f"usable: {len(settings.lines)} lines, {len(settings.cameras)} cameras")
        return ExitCode.OK
    logs.configure(format=settings.log.format, level=settings.log.level)
    try:
        return run(settings, partial(load_settings, options.config))
    except (ConfigurationError, EmbeddedRedisError) as error:
        log.critical("configuration: %s", error)
        return ExitCode.CONFIG
    except OutboxInUse as error:
        log.critical("another aprilgan-daemon runs on this state folder: %s", error)
        return ExitCode.UNAVAILABLE
    except (OutboxUnavailable, BindError, zmq.ZMQError) as error:
        log.critical("unavailable: %s", error)
        return ExitCode.UNAVAILABLE
    except Exception:
        # whatever nobody foresaw: the parts have stopped in order, and the exit code has its name
        log.critical("the service failed", exc_info=True)
        return ExitCode.SOFTWARE


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="aprilgan-daemon",
        description="Inspects every part that the configured cameras send; a verdict for each.",
        epilog="exit codes: 0 stopped as asked, 2 usage, 69 a service is unavailable, "
        "70 a part of the daemon died, 78 configuration",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the TOML settings (default: $APRILGAN_CONFIG, then /etc/aprilgan/aprilgan.toml)",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="check the settings, before a start or a reload, and do no more",
    )
    parser.add_argument("--version", action="version", version=f"aprilgan-daemon {__version__}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
