"""A further gateway of the same log: its folder, made where the first one's is, and its listing.

It signs checkpoints and certifies nodes as the first one does, so it holds a copy of the log's key
and of the CA's. What it signs grants and outcomes with is its own, and two operators list it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.errors import Forged, Misconfigured
from fairlead.keyfile import private_folder, write_private
from fairlead.v1 import directory_pb2 as pb
from fairlead.v1 import enrolment_pb2
from gateway.books import Books
from gateway.changes import Outcome, outcome
from gateway.drafts import Change
from gateway.founding import Seat, gateway_keys, whole, write_config

ENTRY_FILE = "gateway.entry"
LOG_KEY = "log.key"


def make_beside(books: Books, folder: Path, seat: Seat, *, now: float) -> pb.GatewayEntry:
    """Make the folder of a further gateway, with its entry, which nobody has signed yet.

    :raises Misconfigured: CONFIG_INVALID: the log is a file, which one process has alone;
        FOLDER_IN_THE_WAY; or this gateway's CA is not here.
    """
    database, config = books.config.database, books.config
    if database is None:
        raise Misconfigured(
            "a log that several gateways write lies in PostgreSQL, and this one is a file",
            reasons=("CONFIG_INVALID",),
            remedy="a federation that wants two gateways begins with a database: docs/operate.md",
        )
    own, ca = books.gateway(), books.certificate_authority()
    log_key = signing.load_signing_key(config.keys_dir / LOG_KEY)
    with whole(folder) as fresh:
        keys, public = private_folder(fresh / "keys"), private_folder(fresh / "public")
        entry = gateway_keys(
            keys, seat, ca, log_key, federation=books.directory.federation, now=now
        )
        entry.log_origin, entry.former_checkpoint = own.log_origin, own.former_checkpoint
        ca.save(keys / "ca.pem", keys / "ca.key")
        for name, source in (
            ("directory.bin", config.directory),
            ("deny-lists.bin", config.deny_lists),
            ("pins.toml", config.pins),
        ):
            write_private(public / name, source.read_bytes())
        shutil.copytree(config.policy_dir, fresh / "policy")
        write_config(fresh, seat, ("database", database))
        write_private(fresh / ENTRY_FILE, signing.canonical(entry))
    return entry


def list_beside(books: Books, data: bytes, key: Ed25519PrivateKey, *, now: float) -> Outcome:
    """List a further gateway of this gateway's log, or complete it as the second operator.

    1. The entry is of another gateway of this federation, and of this very log.
    2. Its signing key and its endpoint are nobody else's.
    3. Two operators sign the directory with it.

    :raises Forged: DIRECTORY. :raises InvalidInput: malformed.
    """
    entry = signing.parse_canonical(pb.GatewayEntry, data, limit=64 * 1024)
    own, listed = books.gateway(), list(books.directory.gateways)
    if entry in listed:
        return Outcome(published=True, again=True, serial=books.directory.serial)
    # 1
    named = SpiffeId.parse(entry.spiffe_id)
    ours = named.kind is IdentityKind.GATEWAY and named.federation == books.directory.federation
    same = all(
        getattr(entry, part) == getattr(own, part)
        for part in ("log_origin", "log_key", "former_checkpoint")
    )
    # 2
    others = [other for other in listed if other.spiffe_id != entry.spiffe_id]
    taken = {part for other in others for part in (other.signing_key, other.endpoint)}
    free = not taken & {entry.signing_key, entry.endpoint} and ":" in entry.endpoint
    if not (ours and same and free and len(entry.signing_key) == 32) or (
        entry.spiffe_id == own.spiffe_id
    ):
        raise Forged(
            "the entry is of no further gateway of this log",
            reasons=("DIRECTORY",),
            remedy="fairlead-gateway directory make-gateway FOLDER …   (at the gateway listed now)",
        )

    # 3
    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        return {"directory": books.next_directory(at, gateways=[entry])}

    change = Change(kind="gateway", subject=named.name, basis=signing.digest(data), derive=derive)
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed)
