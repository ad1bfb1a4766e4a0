"""Leaves whose detail is to be opened, and where they are found: in a log's file, or a receipt."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from fairlead import cosigning, quorum, receipts, shamir, signing, storage
from fairlead.auditlog import claimed_origin, receipts_of
from fairlead.detail import Bound, SealedDetail, SealedShare
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound
from fairlead.partners import Directory
from fairlead.v1 import audit_pb2
from fairlead.v1 import opening_pb2 as pb

MAX_SOUGHT = 4096
"""Leaves of one request."""
_NARROWER = "fairlead audit search … with a shorter --period"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A leaf that stands in its log, and the shares of its detail as sealed to oversights.

    ``witnessed``: a quorum has cosigned the head that proves it. Of a node's own log nobody does.
    """

    leaf: audit_pb2.AuditLeaf
    leaf_digest: bytes
    bound: Bound
    shares: tuple[SealedShare, ...]
    witnessed: bool
    wire: pb.Sought = field(repr=False)

    @property
    def of_gateway(self) -> bool:
        """Whether it stands in the gateway's log."""
        return self.leaf.log.startswith("gateway/")

    @property
    def at(self) -> int:
        """When it was logged, unix seconds."""
        return self.leaf.time_ms // 1000

    @classmethod
    def from_wire(
        cls, item: pb.Sought, directories: Sequence[Directory], heads: dict[str, bool]
    ) -> Sought:
        """Read one and prove its leaf.

        1. The receipt proves the leaf under the key of the log it names, as one of ``directories``
           lists it.
        2. The leaf is an INTENT that commits to a detail, of a log of its own kind.
        3. Its shares are a committee's, in order, or one whole key for the detail's maker.

        :param heads: whether a quorum of the newest directory's witnesses has cosigned them: what
            was found out is put there.
        :raises FairleadError: it proves nothing, or is malformed.
        """
        # 1
        leaf = _proven(item.receipt, directories)
        # 2
        bound = bound_of(leaf)
        # 3
        whole = [len(share.sealed) for share in item.shares] == [_WHOLE]
        size = shamir.KEY_SIZE if whole else shamir.SHARE_SIZE
        shares = tuple(SealedShare.from_wire(share, size) for share in item.shares)
        readers = [share.partner_id for share in shares]
        if whole and readers != [bound.maker]:
            raise _malformed()
        if not whole and not 1 < len(readers) <= shamir.MAX_SHARES:
            raise _malformed()
        if readers != sorted({*readers}):
            raise _malformed()
        note = receipts.parse_proof(item.receipt.tlog_proof).checkpoint
        if note not in heads:
            newest = directories[0]  # a former one's witnesses may be those that were replaced
            heads[note] = quorum.reached(cosigning.cosigners(note, newest), newest)
        return cls(
            leaf=leaf,
            leaf_digest=signing.digest(item.receipt.leaf),
            bound=bound,
            shares=shares,
            witnessed=heads[note],
            wire=item,
        )


_WHOLE = 1088 + 32 + 16 + shamir.KEY_SIZE


def bound_of(leaf: audit_pb2.AuditLeaf) -> Bound:
    """What a leaf's detail is bound to: its query, and who made it. The gateway keeps the asker's;
    a node keeps its own, as an asker or as an owner.

    :raises InvalidInput: NO_DETAIL: a leaf of another type, or without a detail.
    """
    kind, _, name = leaf.log.partition("/")
    if leaf.type != audit_pb2.LEAF_TYPE_INTENT or not leaf.detail_digest:
        raise InvalidInput(
            "this leaf has no sealed detail",
            reasons=("NO_DETAIL",),
            remedy="choose a query that was asked: fairlead queries list",
        )
    return Bound(query_id=leaf.query_id, maker=leaf.partner_id if kind == "gateway" else name)


def _proven(receipt: audit_pb2.Receipt, directories: Sequence[Directory]) -> audit_pb2.AuditLeaf:
    """The leaf of a receipt, under any key that its log has or had."""
    leaf = signing.parse_canonical(audit_pb2.AuditLeaf, receipt.leaf, limit=receipts.MAX_LEAF)
    proof = receipts.parse_proof(receipt.tlog_proof)
    origin = proof.checkpoint.partition("\n")[0]
    bare = audit_pb2.Receipt(leaf=receipt.leaf, tlog_proof=receipt.tlog_proof)
    error: FairleadError = Forged("a leaf is in no log of the directory", reasons=("LOG_ORIGIN",))
    for directory in directories:
        try:
            key, log = key_of(origin, directory)
            receipts.verify_receipt(bare, origin=origin, public_key=key, head=None)
        except FairleadError as fault:
            error = fault
            continue
        if leaf.log != log:
            raise Forged("a leaf names another log than it is in", reasons=("LOG_ORIGIN",))
        return leaf
    raise error


def key_of(origin: str, directory: Directory) -> tuple[bytes, str]:
    """The key that signs the log of this origin, and what its leaves call it.

    :raises Forged: the log is of nobody in the directory.
    """
    for gateway in directory.gateways.values():
        if gateway.log_origin == origin:
            return gateway.log_key, f"gateway/{gateway.spiffe_id.rpartition('/')[2]}"
    for partner in directory.partners.values():
        if f"{directory.federation}/partner/{partner.partner_id}" == origin:
            return partner.signing_key, f"partner/{partner.partner_id}"
    raise Forged(
        "the log is of nobody in the directory",
        reasons=("LOG_ORIGIN",),
        remedy="use the directory of the federation the log belongs to: --directory, --trust",
    )


def sought(receipt: audit_pb2.Receipt, detail: bytes, query_id: bytes = b"") -> pb.Sought:
    """A leaf with the shares of the detail that it commits to.

    :param query_id: of the leaf wanted, when it is known.
    :raises Forged: LEAF_DETAIL: another detail. :raises InvalidInput: it is none.
    :raises NotFound: NO_SUCH_LEAF: it is of another query.
    """
    leaf = signing.parse_canonical(audit_pb2.AuditLeaf, receipt.leaf, limit=receipts.MAX_LEAF)
    bound_of(leaf)
    if query_id not in {b"", leaf.query_id}:
        raise _no_such_leaf()
    if signing.digest(detail) != leaf.detail_digest:
        raise Forged("a detail is not the one that its leaf commits to", reasons=("LEAF_DETAIL",))
    shares = SealedDetail.parse(detail).shares
    bare = audit_pb2.Receipt(leaf=receipt.leaf, tlog_proof=receipt.tlog_proof)
    return pb.Sought(receipt=bare, shares=[share.to_wire() for share in shares])


def in_log(
    path: Path, *, query_id: bytes = b"", since: int = 0, until: int = 0
) -> list[tuple[pb.Sought, bytes]]:
    """The INTENT leaves with a detail in a log's file, with their details: of one query, or of a
    half-open period in unix seconds. They are proved by the newest head that a quorum cosigned, if
    all of them lie below one.

    :raises NotFound: NO_SUCH_LEAF. :raises InvalidInput: TOO_MANY_LEAVES.
    :raises Forged: the file is no log, or a detail is not its leaf's.
    """
    claimed_origin(path)
    database = storage.open_readonly(path)
    try:
        with contextlib.closing(database):
            database.execute("BEGIN")
            chosen = dict(_chosen(database, query_id, since, until))
            proofs = receipts_of(database, chosen, head=_cosigned(database, chosen))
    except (sqlite3.Error, DecodeError):
        raise Forged("the log cannot be read", reasons=("LOG_CORRUPTED",)) from None
    if not chosen:
        raise _no_such_leaf()
    return [(sought(proofs[index], detail), detail) for index, detail in chosen.items()]


def _cosigned(database: sqlite3.Connection, chosen: Mapping[int, bytes]) -> tuple[int, str] | None:
    """The newest cosigned head that the gateway keeps beside its log; of a node's log there is
    none."""
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'cosigned'"
    if not database.execute(there).fetchall():
        return None
    rows = database.execute("SELECT size, note FROM cosigned WHERE id = 0").fetchall()
    covers = bool(rows) and isinstance(rows[0][0], int) and max(chosen, default=0) < rows[0][0]
    return (rows[0][0], str(rows[0][1])) if covers else None


def _chosen(
    database: sqlite3.Connection, query_id: bytes, since: int, until: int
) -> Iterator[tuple[int, bytes]]:
    count = 0
    rows = database.execute("SELECT idx, body, detail FROM leaf WHERE length(detail) > 0")
    for index, body, detail in rows:
        leaf = audit_pb2.AuditLeaf.FromString(body)
        if leaf.type != audit_pb2.LEAF_TYPE_INTENT:
            continue
        if query_id:
            wanted = leaf.query_id == query_id
        else:
            wanted = since * 1000 <= leaf.time_ms < until * 1000
        if wanted:
            count += 1
            if count > MAX_SOUGHT:
                raise InvalidInput(
                    "the period holds more leaves than one request may open",
                    reasons=("TOO_MANY_LEAVES",),
                    remedy=_NARROWER,
                )
            yield index, detail


def _no_such_leaf() -> NotFound:
    return NotFound(
        "there is no sealed detail of that query or period",
        reasons=("NO_SUCH_LEAF",),
        remedy="fairlead audit verify FILE   (says what the log holds)",
    )


def _malformed() -> InvalidInput:
    return InvalidInput("a request names shares that are none", reasons=("OPENING_REQUEST",))
