"""A log that lost its tail begins anew: another origin, signed by two operators.

The log that witnesses hold cannot be continued, and must not be: whatever was written after the
last checkpoint that is left would stand beside what others have seen. So the old origin ends with
the last checkpoint that a quorum cosigned, and the new one begins by naming it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import quorum, receipts, signing
from fairlead.cosigning import cosigners
from fairlead.errors import InvalidInput
from fairlead.partners import Directory
from fairlead.v1 import directory_pb2 as pb
from fairlead.v1 import enrolment_pb2
from gateway.books import Books
from gateway.changes import Outcome, outcome
from gateway.drafts import Change

_NUMBERED = re.compile(r"(?P<name>.+)/(?P<number>[1-9][0-9]{0,5})\Z")
LOG_KEY = "log.key"


def new_origin(books: Books, last: str, key: Ed25519PrivateKey, *, now: float) -> Outcome:
    """List this gateway's log under the next origin, and under the log key that lies in its folder,
    for every gateway that shares it.

    1. The note is the old log's own, and a quorum of the witnesses of the directory in force has
       cosigned it, where they can be one at all. It may be a later one of the log before, to put
       right what the last new origin named.
    2. Two operators sign the entries with the next origin, which name it.

    :param last: the last cosigned checkpoint: a note as a witness, a receipt or a backup holds it.
    :raises Forged: :raises InvalidInput: not this log's checkpoint. :raises NoQuorum: too few.
    """
    # 1
    entry, directory = books.gateway(), books.verified(now=now)
    checkpoint = _last(last, entry, directory)
    # 2
    log_key = signing.public_bytes(signing.load_signing_key(books.config.keys_dir / LOG_KEY))
    following = []
    for listed in books.directory.gateways:
        if listed.log_origin == entry.log_origin:
            changed = pb.GatewayEntry()
            changed.CopyFrom(listed)
            changed.log_origin = next_origin(entry.log_origin)
            changed.log_key, changed.former_checkpoint = log_key, checkpoint
            following.append(changed)

    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        return {"directory": books.next_directory(at, gateways=following)}

    basis = signing.digest(b"".join(map(signing.canonical, following)))
    change = Change(kind="new-origin", subject="", basis=basis, derive=derive)
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed)


def next_origin(origin: str) -> str:
    """``federation/gateway/gw-1`` → ``…/gw-1/2`` → ``…/gw-1/3``."""
    found = _NUMBERED.match(origin)
    name, number = (found["name"], int(found["number"])) if found else (origin, 1)
    return f"{name}/{number + 1}"


def _last(note: str, entry: pb.GatewayEntry, directory: Directory) -> str:
    """The note, verified."""
    origin, former = entry.log_origin, entry.former_checkpoint
    before = receipts.read_checkpoint(former) if former else None
    if before is not None and receipts.read_checkpoint(note).origin == before.origin:
        origin = before.origin
    found = receipts.open_checkpoint(note, origin, entry.log_key)
    if before is not None and origin == before.origin and found.size <= before.size:
        raise InvalidInput(
            "the last new origin names this checkpoint, or a later one",
            reasons=("CHECKPOINT_ORIGIN",),
            remedy="name the last one of the log that is listed now: fairlead-node witness",
        )
    if quorum.possible(directory):
        quorum.require(cosigners(note, directory), directory)
    return note
