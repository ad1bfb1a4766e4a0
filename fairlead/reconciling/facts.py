"""What a leaf records that another log must record too.

A gateway's log and a node's log spell the same facts alike here, so that one is found by the other.
"""

from __future__ import annotations

from typing import NamedTuple

from fairlead import signing
from fairlead.v1 import audit_pb2
from fairlead.v1 import reconcile_pb2 as pb

ASKED, INTENT = int(pb.ENTRY_KIND_ASKED), int(pb.ENTRY_KIND_INTENT)
RELEASED, ACCEPTED = int(pb.ENTRY_KIND_RELEASED), int(pb.ENTRY_KIND_ACCEPTED)
RELAYED = int(pb.ENTRY_KIND_RELAYED)
PUBLISHED = 100
"""Beside the kinds that travel: an owner signed a manifest, whether the gateway has it or not."""
RESUMED = 101
"""Nor does this one: a node took up a log of its gateway's that follows one that ended; the digest
is of that one's last checkpoint, as the directory names it."""

_PUBLICATIONS = {
    "manifest-accepted": ACCEPTED,
    "manifest-announced": ACCEPTED,
    "taken-over": ACCEPTED,
    "relayed": RELAYED,
    "delivered": RELAYED,
}
_SIGNED = frozenset({"blind-published", "blind-adopted"})


class Fact(NamedTuple):
    """One fact; ``partner_id`` is who asked, answered, published or reads."""

    kind: int
    partner_id: str
    query_id: bytes
    digest: bytes


def facts(leaf: audit_pb2.AuditLeaf, leaf_hash: bytes) -> list[Fact]:
    """The facts of a leaf, in the order of what it holds; of most leaves none."""
    if leaf.type == audit_pb2.LEAF_TYPE_INTENT:
        return _intent(leaf, leaf_hash)
    if leaf.type == audit_pb2.LEAF_TYPE_RELEASE:
        return [
            Fact(RELEASED, item.partner_id, item.query_id, item.answer_digest)
            for item in leaf.released
            if item.answer_digest  # who has not answered released nothing
        ]
    if leaf.type == audit_pb2.LEAF_TYPE_PUBLICATION and leaf.subject in _PUBLICATIONS:
        return [Fact(_PUBLICATIONS[leaf.subject], leaf.partner_id, b"", leaf.manifest_digest)]
    if leaf.type == audit_pb2.LEAF_TYPE_OWNER and leaf.subject in _SIGNED:
        return [Fact(PUBLISHED, leaf.log.removeprefix("partner/"), b"", leaf.detail_digest)]
    if leaf.type == audit_pb2.LEAF_TYPE_WITNESS and leaf.subject == "new-origin":
        return [resumed(leaf.checkpoints[-1])] if leaf.checkpoints else []
    return []


def resumed(former: str) -> Fact:
    """A log was taken up that follows one that ended with this checkpoint."""
    return Fact(RESUMED, "", b"", signing.digest(former.encode()))


def listed_facts(leaf: audit_pb2.AuditLeaf, leaf_hash: bytes, partner_id: str) -> list[Fact]:
    """Those that its log's end lists in a reconciliation with, or of, this partner."""
    if leaf.log.startswith("gateway/"):
        kinds = {ASKED, RELEASED, ACCEPTED}
        return [f for f in facts(leaf, leaf_hash) if f.kind in kinds and f.partner_id == partner_id]
    own = Fact(RELEASED, partner_id, b"", b"")[:2]
    found = (f for f in facts(leaf, leaf_hash) if f.kind not in {ASKED, PUBLISHED, RESUMED})
    return [f for f in found if f[:2] != own]


def _intent(leaf: audit_pb2.AuditLeaf, leaf_hash: bytes) -> list[Fact]:
    asked = Fact(ASKED, leaf.partner_id, leaf.query_id, leaf.header_digest)
    if leaf.log.startswith("gateway/"):
        return [asked, Fact(INTENT, "", leaf.query_id, leaf_hash)]
    if leaf.log == f"partner/{leaf.partner_id}":
        return [asked]
    return [Fact(INTENT, "", leaf.query_id, leaf.intent_leaf_hash)]
