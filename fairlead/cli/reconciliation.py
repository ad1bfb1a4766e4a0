"""``fairlead audit reconciliation``: what two logs said of each other, verified again."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, when
from fairlead.cli.output import Format, emit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fairlead.partners import Directory
    from fairlead.reconciling import Exchange

COLUMNS = ("leaf", "at", "partner", "listed", "met", "excused", "reasons", "not_in", "verified")


def reconciliation(
    log: Annotated[Path, typer.Argument(help="The log's file: a node's, or the gateway's.")],
    incidents: Annotated[bool, typer.Option("--incidents", help="Only those.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="Signed directory; else the profile's.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Verify every reconciliation and incident that a log keeps, with both signed statements.

    Whatever a statement says its own log records must stand in this file: who signed an untruth is
    named. What the log itself is worth says: fairlead audit verify.
    """
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    anchors = Trust.load(trust)
    members = [anchors.directory(directory, now=time.time()), *anchors.former(directory)]
    rows = []
    for index, reasons, found, held in _read(log, members):
        if reasons or not incidents:
            rows.append(_row(index, reasons, found, held))
    emit(rows, columns=COLUMNS, output=output)


def _read(log: Path, members: list[Directory]) -> Iterator[tuple[int, list[str], Exchange, int]]:
    """Index, codes, what was said, and how many of its claims this log was held against.

    :raises Forged: something does not verify, or is not in the log that it is said to be in.
    """
    from fairlead import storage
    from fairlead.errors import Forged
    from fairlead.reconciling import require_in_log
    from fairlead.v1 import audit_pb2, reconcile_pb2

    with closing(storage.open_readonly(log)) as database:

        def read(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
            return database.execute(sql, parameters).fetchall()

        try:
            for index, body, detail in database.execute(
                "SELECT idx, body, detail FROM leaf WHERE detail <> x'' ORDER BY idx"
            ):
                leaf = audit_pb2.AuditLeaf.FromString(body)
                alarm = leaf.type == audit_pb2.LEAF_TYPE_ALARM and leaf.subject == "reconciliation"
                if not (alarm or leaf.type == audit_pb2.LEAF_TYPE_RECONCILED):
                    continue
                kept = reconcile_pb2.Reconciliation.FromString(detail)
                found = _opened(kept, members)
                yield index, list(leaf.reasons), found, require_in_log(found, read)
        except sqlite3.Error:
            raise Forged("the log cannot be read", reasons=("LOG_CORRUPTED",)) from None


def _opened(kept: Any, members: list[Directory]) -> Exchange:
    """Verified under the directory of its time: the newest one that its signatures fit."""
    from fairlead.errors import FairleadError, Forged
    from fairlead.reconciling import claimed_pair, open_reconciliation

    pair = claimed_pair(kept.statement)
    last: FairleadError = Forged("a statement is of nobody in the directory")
    for directory in members:
        partner = directory.partners.get(pair.partner_id)
        if partner is None or pair.federation != directory.federation:
            continue
        gateways = {g.spiffe_id: g.signing_key for g in directory.gateways.values()}
        try:
            return open_reconciliation(
                kept, node_key=partner.signing_key, gateways=gateways, pair=pair
            )
        except FairleadError as error:
            last = error
    raise last


def _row(index: int, reasons: list[str], found: Exchange, held: int) -> dict[str, Any]:
    judged = found.judgement
    return {
        "leaf": index,
        "at": when(found.said.time_ms // 1000),
        "partner": found.statement.pair.partner_id,
        "listed": len(found.statement.entries),
        "met": len(found.said.entries),
        "excused": judged.excused,
        "reasons": ", ".join(reasons),
        "not_in": ", ".join(
            sorted({f"{item.entry.name} not in {item.absent_from}" for item in judged.incidents})
        ),
        "verified": f"signatures, and {held} entries in this log",
    }
