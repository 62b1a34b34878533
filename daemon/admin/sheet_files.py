"""Where contact sheets lie: a page and a picture of each, in the state folder or where a person wants them."""

from __future__ import annotations

from pathlib import Path

from daemon.admin.contact_page import page_bytes
from daemon.admin.contact_png import png_bytes
from daemon.admin.contact_sheet import ContactSheet
from daemon.admin.output import remark
from daemon.admin.session import Refused
from daemon.durable import write_durably

FOLDER = "contact-sheets"
KEEP = 20
"""Sheets of a line; older ones go."""


def write_sheet(sheet: ContactSheet, state: Path, wanted: Path | None) -> Path | None:
    """Write `.html` and `.png`; the page's path.

    wanted: where a person wants them, whatever its ending; None: `STATE/contact-sheets/<line>/<time>`, and where
    that cannot be written, the enrolment goes on without (None). Raises Refused for a `wanted` that cannot be.
    """
    folder = state / FOLDER / str(sheet.line)
    page = (wanted or folder / f"{sheet.made_at:%Y%m%dT%H%M%SZ}").with_suffix(".html")
    try:
        write_durably(page, page_bytes(sheet))
        write_durably(page.with_suffix(".png"), png_bytes(sheet))
        if wanted is None:
            _prune(folder)
    except OSError as error:
        if wanted is not None:
            raise Refused(f"cannot write the contact sheet {page}: {error.strerror}") from error
        remark(f"warning: no contact sheet, {page} cannot be written: {error.strerror}")
        return None
    return page


def _prune(folder: Path) -> None:
    for page in sorted(folder.glob("*.html"))[:-KEEP]:
        page.unlink(missing_ok=True)
        page.with_suffix(".png").unlink(missing_ok=True)
