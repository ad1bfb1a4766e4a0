"""The report of a replay as a file: counts, classes of widening, and why each is wanted.

``reports/replay-<who>.json`` in the folder of a draft, ``who`` being the partner or the gateway
whose decisions were replayed. Nothing of an input is in it. A justification says by whose key it
was made, and is signed by it together with the digest of the draft: the same class keeps it when
the very same draft is replayed again, and no other draft can have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged, InvalidInput, NotFound
from fairlead.policy import folder as folders
from fairlead.policy.replay import ReplayReport

SCHEMA = 1
DOMAIN = "policy-justification"
MAX_REPORT = 8 * 1024 * 1024
MAX_TEXT = 500
MAX_WIDENINGS = 10_000
Json = dict[str, Any]


def report_path(folder: Path, log: str) -> Path:
    """Where the report of a log's decisions is: ``partner/customs`` → ``replay-customs.json``."""
    return folder / "reports" / f"replay-{log.rpartition('/')[2]}.json"


def document(
    report: ReplayReport, *, log: str, draft: str, current: str, since: int, made_at: int
) -> Json:
    """The report as it is written, nothing of it justified.

    :param draft: digest of what was replayed. :param current: of what it was compared with; empty
        for the records themselves. :param since: Unix seconds, as ``made_at``.
    """
    found = report.to_json()
    for widening in found["widenings"]:
        widening["justification"] = None
    return {
        "schema": SCHEMA,
        "decided_by": log,
        "draft": draft,
        "current": current,
        "since": since,
        "made_at": made_at,
        **found,
    }


def keep(made: Json, before: Json | None) -> Json:
    """The report with the justifications that an earlier one of this draft has for its classes."""
    same = before is not None and before["draft"] == made["draft"]
    known = {w["id"]: w["justification"] for w in before["widenings"]} if before and same else {}
    rows = [{**w, "justification": known.get(w["id"])} for w in made["widenings"]]
    return {**made, "widenings": rows}


def unjustified(report: Json) -> list[str]:
    """The ids of the classes that nobody has justified, in their order."""
    return [w["id"] for w in report["widenings"] if w["justification"] is None]


def read_report(path: Path) -> Json:
    """Read a report.

    :raises NotFound: there is none. :raises InvalidInput: REPLAY_REPORT.
    """
    try:
        content = folders.read(path.parent, path.name, largest=MAX_REPORT)
    except FileNotFoundError:
        raise NotFound(
            "there is no report of a replay",
            reasons=("REPLAY_REPORT",),
            remedy="fairlead policy replay DIR --key replay.key",
        ) from None
    except OSError:
        content = b""  # which is none
    return parse_report(content)


def parse_report(content: bytes) -> Json:
    """:raises InvalidInput: REPLAY_REPORT: no report, or of another version."""
    try:
        found = json.loads(content) if len(content) <= MAX_REPORT else None
        if not isinstance(found, dict) or found["schema"] != SCHEMA:
            raise ValueError
        rows = found["widenings"]
        if not isinstance(rows, list) or len(rows) > MAX_WIDENINGS:
            raise ValueError
        if len({row["id"] for row in rows}) != len(rows):
            raise ValueError
        for row in rows:
            if not isinstance(row["id"], str):
                raise TypeError
            check_justification(row["id"], row["justification"], draft=found["draft"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput(
            "the report of a replay cannot be read",
            reasons=("REPLAY_REPORT",),
            remedy="replay the draft again: fairlead policy replay DIR --key replay.key",
        ) from None
    return found


def write_report(path: Path, report: Json) -> None:
    """Write a report, for people and programs, through no link.

    :param path: as :func:`report_path` says. :raises Misconfigured: DRAFT_UNWRITABLE.
    """
    content = (json.dumps(report, indent=1) + "\n").encode("ascii")
    folders.write(path.parent.parent, f"{path.parent.name}/{path.name}", content)


def reports(folder: Path) -> Iterator[tuple[Path, Json]]:
    """Every report in the folder of a draft."""
    for path in sorted((folder / "reports").glob("replay-*.json")):
        yield path, read_report(path)


# ── Why ──────────────────────────────────────────────────────────────────────────────────────


def justification(
    widening_id: str, text: str, key: Ed25519PrivateKey, *, draft: str, person: str, now: int
) -> Json:
    """Why a class is wanted, by whom.

    :param draft: digest of the draft that it is about.
    :param person: who holds the key, as the pins say; empty where they do not.
    :raises InvalidInput: JUSTIFICATION: no text, more than :data:`MAX_TEXT` characters, or some
        that no line of text has.
    """
    text = text.strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidInput(
            "a justification is one line of at most 500 characters",
            reasons=("JUSTIFICATION",),
            remedy='fairlead policy justify DIR ID --officer KEY --text "why this is wanted"',
        )
    key_id = signing.digest(signing.public_bytes(key)).hex()
    said = {"by": person or key_id, "key": key_id, "text": text, "at": now}
    octets = _signed(widening_id, said, draft)
    return {
        **said,
        "public": signing.public_bytes(key).hex(),
        "signature": signing.sign(key, DOMAIN, octets).hex(),
    }


def check_justification(widening_id: str, said: Any, *, draft: str) -> None:
    """Whether a justification is signed, for this draft, by the key it names; None is none yet.

    :raises ValueError: it is not, or is malformed.
    """
    if said is None:
        return
    public = bytes.fromhex(said["public"])
    if signing.digest(public).hex() != said["key"] or not str(said["text"]).strip():
        raise ValueError
    try:
        signature = bytes.fromhex(said["signature"])
        signing.verify(public, DOMAIN, _signed(widening_id, said, draft), signature)
    except Forged:
        raise ValueError from None


def _signed(widening_id: str, said: Mapping[str, Any], draft: str) -> bytes:
    words = {name: said[name] for name in ("by", "key", "text", "at")}
    content = {"widening": widening_id, "draft": draft, **words}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def justify(folder: Path, widening_id: str, say: Callable[[str], Json]) -> list[Path]:
    """Put a justification into every report of a draft that has the class; returns which.

    :param say: makes it, for the digest of the draft that a report is about.
    :raises NotFound: none has.
    """
    changed = []
    for path, report in reports(folder):
        rows = [w for w in report["widenings"] if w["id"] == widening_id]
        for row in rows:
            row["justification"] = say(report["draft"])
        if rows:
            write_report(path, report)
            changed.append(path)
    if not changed:
        raise NotFound(
            "no report of this draft has such a widening",
            reasons=("WIDENING_UNKNOWN",),
            remedy="fairlead policy replay DIR --key replay.key   (its first column is the id)",
        )
    return changed
