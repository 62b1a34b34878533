"""`aprilgan-admin`: the commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from core.errors import CoreError, DeviceError
from daemon.admin import (
    adapter,
    banks,
    bundle,
    calibrate,
    dataset,
    db,
    doctor,
    drift,
    enroll,
    evaluate,
    feedback,
    hold,
    keys,
    lines,
    products,
    propose,
    ready,
    report,
    score,
    threshold,
    train,
    verdicts,
)
from daemon.admin.session import Refused, Session, Unavailable
from daemon.bank_cache import CacheUnavailable
from daemon.exit_codes import ExitCode
from daemon.records import RecordsUnavailable, RevisionConflict
from daemon.settings import ConfigurationError

# Looked through from the top: the special errors of the library come before their base.
EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (ConfigurationError, ExitCode.CONFIG),
    (DeviceError, ExitCode.CONFIG),
    (CoreError, ExitCode.REFUSED),
    (Refused, ExitCode.REFUSED),
    (RevisionConflict, ExitCode.REFUSED),
    (RecordsUnavailable, ExitCode.UNAVAILABLE),
    (CacheUnavailable, ExitCode.UNAVAILABLE),
    (Unavailable, ExitCode.UNAVAILABLE),
    (OSError, ExitCode.UNAVAILABLE),
)

# Tracebacks never show local variables: some of them are secrets.
app = typer.Typer(
    name="aprilgan-admin",
    help="Administer an AprilGAN Inspector installation.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("enroll")(enroll.enroll)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(lines.app, name="lines")
app.command("products")(products.products)
app.add_typer(banks.app, name="banks")
app.command("threshold")(threshold.threshold)
app.command("drift")(drift.drift)
app.command("verdicts")(verdicts.verdicts)
app.command("report")(report.report)
app.command("feedback")(feedback.feedback)
app.command("propose")(propose.propose)
app.command("hold")(hold.hold)
app.add_typer(keys.app, name="keys")
app.add_typer(adapter.app, name="adapter")
app.command("score")(score.score)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.add_typer(dataset.app, name="dataset")
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)
app.command("ready")(ready.ready)
app.command("bundle")(bundle.bundle)


@app.callback(no_args_is_help=True)
def settings(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The TOML file; else $APRILGAN_CONFIG, else /etc/aprilgan/aprilgan.toml where there is one.",
        ),
    ] = None,
) -> None:
    """Administer an AprilGAN Inspector installation."""
    session = Session(config)
    context.obj = session
    context.call_on_close(session.close)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of contract.md. Errors that nobody foresaw keep their traceback."""
    try:
        get_command(app).main(args=None if arguments is None else list(arguments), prog_name="aprilgan-admin")
    except SystemExit as end:  # how typer ends, and how it refuses wrong usage (2)
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except Exception as error:
        code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), None)
        if code is None:
            raise
        print(f"aprilgan-admin: {error}", file=sys.stderr)
        return code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
