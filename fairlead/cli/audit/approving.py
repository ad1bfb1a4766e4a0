"""``fairlead audit approve``: be one of the two people whose signatures an erasure needs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import ProfileOption
from fairlead.cli.output import say


def approve(
    order: Annotated[Path, typer.Argument(help="The order that was proposed.")],
    log: Annotated[
        Path | None,
        typer.Option("--log", help="A copy of the node's log, to look each listed leaf up in."),
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """Approve that your node's log erases the leaves of an order (role auditor or security
    officer). Two different people have to, one of them an auditor."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from fairlead.authority import load_certificate
    from fairlead.cli.retention import read_file, show_order
    from fairlead.keyfile import write_private
    from fairlead.profile import load_profile
    from fairlead.retention import approve_as_user
    from fairlead.signing import load_user_key
    from fairlead.trust import Trust

    settings, _ = load_profile(profile)
    now = time.time()
    directory = Trust.load(settings.trust).directory(settings.directory, now=now)
    data = read_file(order)
    if log:
        _require_listed(data, log)
    signed, count = approve_as_user(
        data,
        load_certificate(settings.certificate).public_bytes(Encoding.DER),
        load_user_key(settings.key),
        directory=directory,
        now=now,
    )
    write_private(order, signed)
    show_order(signed)
    if count < 2:
        say(f"next: another auditor or security officer: fairlead audit approve {order}")
    else:
        say(f"next: the node's operator: fairlead-node audit erase {order}")


def _require_listed(data: bytes, path: Path) -> None:
    """The order lists leaves that are in this log, of their types and age."""
    from fairlead.auditing.file import open_file
    from fairlead.auditlog.erased import other
    from fairlead.retention import read_order
    from fairlead.retention.parts import require_listed

    order = read_order(data)
    with open_file(path) as log:
        if log.origin != order.origin:
            raise other()
        require_listed(log.read, log.size, order)
