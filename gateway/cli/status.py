"""``fairlead-gateway status``: what is listed, what expires when, what waits for a signature."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from fairlead.cli.backup import OutputOption
from fairlead.cli.output import Format, emit, emit_json, say
from gateway.cli.partner import CONFIG, ConfigOption, open_books

if TYPE_CHECKING:
    from gateway.books import Books

COLUMNS = ("what", "name", "serial", "state", "expires")
SOON_S = {"certificate": 3 * 86_400, "deny list of users": 6 * 3_600}
"""Below this, what renews by itself has failed to; everything else is said a week before."""
WEEK_S = 7 * 86_400
REMEDIES = {
    "certificate": "look for certificate-problem in the gateway's log",
    "directory": "fairlead-gateway directory renew --operator FILE   (two operators)",
    "deny list": "fairlead-gateway directory renew --operator FILE   (two operators)",
    "deny list of users": "ask that partner to run: fairlead-authority serve",
    "policy": "have two policy officers sign the next release: fairlead policy sign DIR --key FILE",
}


WITNESS_REMEDIES = {
    "no quorum is possible": "enrol a public and a private partner, or appoint other witnesses: "
    "fairlead-gateway directory appoint --help",
    "late": "look below which witness stays behind, and ask its operator",
    "overdue: queries are refused": "look below which witness stays behind, and ask its operator",
    "forked: the log has stopped": "docs/operate.md, A log begins anew",
}


def status(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Show certificates, signed lists, partners and drafts, with their ends."""
    from fairlead.cli.options import iso, when

    books = open_books(config)
    now = time.time()
    records = [*_signed(books, now), *_partners(books), *_witnesses(books, now), *_drafts(books)]
    if output is Format.JSON:
        emit_json([{**record, "expires": iso(int(record["expires"]))} for record in records])
    else:
        shown = [{**record, "expires": when(int(record["expires"]))} for record in records]
        emit(shown, columns=COLUMNS, output=output)
    for record in records:
        if record["what"] == "witnesses" and record["state"] in WITNESS_REMEDIES:
            say(f"next: {WITNESS_REMEDIES[record['state']]}")
    ending = [r["what"] for r in records if r["state"] in {"expired", "expires soon"}]
    for remedy in dict.fromkeys(REMEDIES[what] for what in ending):
        say(f"next: {remedy}")


def _signed(books: Books, now: float) -> list[dict[str, Any]]:
    from fairlead.signing import parse_canonical
    from fairlead.v1 import directory_pb2 as pb

    certificate = books.gateway_certificate()
    ends: list[tuple[str, str, int, float]] = [
        ("certificate", books.config.name, 0, certificate.not_valid_after_utc.timestamp()),
        ("directory", books.directory.federation, books.directory.serial,
         books.directory.expires_at),
        ("deny list", "operators", books.denied.serial, books.denied.expires_at),
    ]  # fmt: skip
    for item in books.lists:
        content = parse_canonical(pb.DenyList, item.deny_list)
        ends.append(("deny list of users", content.issuer, content.serial, content.expires_at))
    serial, end, waits = books.policy_end()
    ends.append(("policy", "emergency, to be reviewed" if waits else "bundle", serial, end))
    return [
        {
            "what": what,
            "name": name,
            "serial": serial,
            "state": _state(what, end, now),
            "expires": end,
        }
        for what, name, serial, end in ends
    ]


def _partners(books: Books) -> list[dict[str, Any]]:
    denied = set(books.denied.spiffe_ids)
    found = []
    for partner_id in sorted(books.entries()):
        partner = books.partner(partner_id)
        suspended = all(node.spiffe_id in denied for node in partner.nodes)
        state = "suspended" if suspended else "listed"
        found.append(
            {
                "what": "partner",
                "name": partner_id,
                "serial": partner.sequence,
                "state": state,
                "expires": 0,
            }
        )
    return found


def _witnesses(books: Books, now: float) -> list[dict[str, Any]]:
    """The quorum, and how far each witness is; ``serial`` is the size that is cosigned."""
    from fairlead import quorum, storage
    from fairlead.errors import FairleadError
    from gateway.app import LOG_FILE
    from gateway.standing import standing

    path = books.config.state_dir / LOG_FILE
    try:
        directory = books.verified(now=now)
        database = storage.open_readonly(path) if path.exists() else None
    except FairleadError:  # what is wrong is said where it ends
        return []
    if database is None:
        return []
    try:
        found = standing(lambda sql, values: database.execute(sql, values).fetchall(), directory)
    except sqlite3.Error:  # a log that an older version wrote last
        return []
    finally:
        database.close()
    needed = quorum.required(directory.appointed)
    total = len(directory.appointed.witnesses)
    state = found.told(now)
    lines = [("witnesses", f"quorum {needed} of {total}", found.size, state)]
    for partner in directory.appointed.witnesses:
        size = found.heads.get(partner, 0)
        lines.append(("witness", partner, size, "cosigned" if size else "has cosigned nothing"))
    return [
        {"what": what, "name": name, "serial": size, "state": said, "expires": 0}
        for what, name, size, said in lines
    ]


def _drafts(books: Books) -> list[dict[str, Any]]:
    from gateway.drafts import DRAFT_LIFETIME_S

    return [
        {
            "what": f"draft: {draft.kind}",
            "name": draft.subject or "–",
            "serial": 0,
            "state": "waits for the second operator",
            "expires": draft.drafted_at + DRAFT_LIFETIME_S,
        }
        for draft in books.desk().pending()
    ]


def _state(what: str, expires: float, now: float) -> str:
    if now >= expires:
        return "expired"
    return "expires soon" if expires - now < SOON_S.get(what, WEEK_S) else "in force"
