"""`products`: what was ever enrolled."""

from __future__ import annotations

import typer

from daemon.admin import options
from daemon.admin.output import show
from daemon.admin.session import Session


def products(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the products, how many banks each has and which lines make it now."""
    session: Session = context.obj
    banks = session.records.banks()
    assignments = session.records.lines()
    rows = [
        {
            "product": product.name,
            "object": product.object_name,
            "banks": sum(bank.product == product.name for bank in banks),
            "lines": [assignment.line for assignment in assignments if assignment.product == product.name],
            "created_at": product.created_at.isoformat(timespec="seconds"),
        }
        for product in session.records.products()
    ]
    columns = {key: key.replace("_", " ") for key in ("product", "object", "banks", "lines", "created_at")}
    show(rows, columns=columns, as_json=as_json, empty="No product is enrolled.")
