"""What a leaf must be: a canonical, typed :class:`AuditLeaf` with its detail."""

from __future__ import annotations

import hashlib

from fairlead import errors, receipts, signing
from fairlead.v1 import audit_pb2

_KEPT_ELSEWHERE = (
    audit_pb2.LEAF_TYPE_ACTIVATION,
    audit_pb2.LEAF_TYPE_OWNER,
    audit_pb2.LEAF_TYPE_DECISION,
)
_TYPES = frozenset(audit_pb2.LeafType.values()) - {audit_pb2.LEAF_TYPE_UNSPECIFIED}


def parse_leaf(body: bytes, detail: bytes) -> audit_pb2.AuditLeaf:
    """Read a leaf and check the digest of the detail stored beside it.

    :raises InvalidInput: not canonical, no known type, over 64 KiB, or another detail.
    """
    leaf = signing.parse_canonical(audit_pb2.AuditLeaf, body, limit=receipts.MAX_LEAF)
    if leaf.type not in _TYPES:
        raise errors.InvalidInput("a leaf has no known type", reasons=("LEAF_TYPE",))
    if detail:
        kept = hashlib.sha256(detail).digest() == leaf.detail_digest
    else:  # What became active or was accepted is kept elsewhere; its digest stands for it.
        kept = not leaf.detail_digest or leaf.type in _KEPT_ELSEWHERE
    if not kept:
        raise errors.InvalidInput("a leaf has another detail", reasons=("LEAF_DETAIL",))
    return leaf


def type_name(leaf: audit_pb2.AuditLeaf) -> str:
    """The leaf's type without its prefix: ``"INTENT"``."""
    return audit_pb2.LeafType.Name(leaf.type).removeprefix("LEAF_TYPE_")
