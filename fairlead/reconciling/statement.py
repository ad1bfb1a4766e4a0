"""What node and gateway say of their logs: three signed messages, each bound to the one before.

Each is canonical protobuf, signed in a domain of its own. Every parser here is total: whatever the
octets, it raises InvalidInput or Forged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from fairlead import receipts, signing
from fairlead.errors import Forged, InvalidInput
from fairlead.names import check_partner_id, reason_code
from fairlead.v1 import reconcile_pb2 as pb

MAX_ENTRIES = 4_096
"""Entries of one statement, at most; a fuller window ends earlier."""
ENTRY_OCTETS = 256
"""More than an entry takes of a message that holds all three statements."""
MAX_OCTETS = 1024 * 1024
MAX_REASONS = 16
STATEMENT = "reconcile-statement"
COUNTERSTATEMENT = "reconcile-counterstatement"
VERDICT = "reconcile-verdict"
OF_NODE = frozenset(
    {
        pb.ENTRY_KIND_INTENT,
        pb.ENTRY_KIND_RELEASED,
        pb.ENTRY_KIND_ACCEPTED,
        pb.ENTRY_KIND_RELAYED,
    }
)
"""What a node lists."""
OF_GATEWAY = frozenset({pb.ENTRY_KIND_ASKED, pb.ENTRY_KIND_RELEASED, pb.ENTRY_KIND_ACCEPTED})
"""What a gateway lists."""
_OF_QUERY = frozenset({pb.ENTRY_KIND_ASKED, pb.ENTRY_KIND_INTENT, pb.ENTRY_KIND_RELEASED})

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing both logs must record. ``leaf``: its index in the log of whoever lists it."""

    kind: int
    leaf: int
    time_ms: int
    query_id: bytes
    partner_id: str
    digest: bytes

    def to_wire(self) -> pb.ReconcileEntry:
        """Wire form."""
        return pb.ReconcileEntry(
            kind=self.kind,  # type: ignore[arg-type]
            leaf=self.leaf,
            time_ms=self.time_ms,
            query_id=self.query_id,
            partner_id=self.partner_id,
            digest=self.digest,
        )

    @property
    def name(self) -> str:
        """Its kind as people read it: ``released``."""
        return pb.EntryKind.Name(self.kind).removeprefix("ENTRY_KIND_").lower()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Whose logs are held against each other: one node's, and the gateway's."""

    federation: str
    partner_id: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a node says; ``digest`` is of the octets it signed. See ``reconcile.proto``."""

    pair: Pair
    gateway_origin: str
    time_ms: int
    first: int
    next: int
    checkpoint: str
    resumed: int
    gateway_next: int
    lost: str
    entries: tuple[Entry, ...]
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterstatement:
    """What the gateway says; ``digest`` is of the octets it signed."""

    pair: Pair
    gateway: str
    time_ms: int
    statement_digest: bytes
    first: int
    next: int
    checkpoint: str
    previous_ms: int
    excused: int
    more: bool
    entries: tuple[Entry, ...]
    leaves: tuple[int, ...]
    differing: tuple[int, ...]
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the node found of the gateway's entries; see ``reconcile.proto``."""

    pair: Pair
    time_ms: int
    counterstatement_digest: bytes
    checkpoint: str
    leaves: tuple[int, ...]
    differing: tuple[int, ...]
    reasons: tuple[str, ...]
    accepted: str = ""


# ── Sign ─────────────────────────────────────────────────────────────────────────────────────


def sign_statement(statement: Statement, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The octets of a statement, and the node's signature over them."""
    pair = statement.pair
    return _signed(
        pb.ReconcileStatement(
            federation=pair.federation,
            partner_id=pair.partner_id,
            node=pair.node,
            gateway_origin=statement.gateway_origin,
            time_ms=statement.time_ms,
            first=statement.first,
            next=statement.next,
            checkpoint=statement.checkpoint,
            resumed=statement.resumed,
            gateway_next=statement.gateway_next,
            lost=statement.lost,
            entries=[entry.to_wire() for entry in statement.entries],
        ),
        STATEMENT,
        key,
    )


def sign_counterstatement(said: Counterstatement, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The octets of a counterstatement, and the gateway's signature over them."""
    pair = said.pair
    return _signed(
        pb.ReconcileCounterstatement(
            federation=pair.federation,
            partner_id=pair.partner_id,
            node=pair.node,
            gateway=said.gateway,
            time_ms=said.time_ms,
            statement_digest=said.statement_digest,
            first=said.first,
            next=said.next,
            checkpoint=said.checkpoint,
            previous_ms=said.previous_ms,
            excused=said.excused,
            more=said.more,
            entries=[entry.to_wire() for entry in said.entries],
            leaves=said.leaves,
            differing=said.differing,
        ),
        COUNTERSTATEMENT,
        key,
    )


def sign_verdict(verdict: Verdict, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The octets of a verdict, and the node's signature over them."""
    pair = verdict.pair
    return _signed(
        pb.ReconcileVerdict(
            federation=pair.federation,
            partner_id=pair.partner_id,
            node=pair.node,
            time_ms=verdict.time_ms,
            counterstatement_digest=verdict.counterstatement_digest,
            checkpoint=verdict.checkpoint,
            leaves=verdict.leaves,
            differing=verdict.differing,
            reasons=verdict.reasons,
            accepted=verdict.accepted,
        ),
        VERDICT,
        key,
    )


def _signed(message: Message, domain: str, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    octets = signing.canonical(message)
    return octets, signing.sign(key, domain, octets)


# ── Open ─────────────────────────────────────────────────────────────────────────────────────


def open_statement(octets: bytes, signature: bytes, *, public_key: bytes, pair: Pair) -> Statement:
    """Verify and read a node's statement.

    1. The node's partner signed these octets. 2. They are canonical and within the limits. 3. They
    are of this node. 4. Every entry is of a kind a node lists, well formed, and of the window.

    :raises Forged: 1 or 3 fails. :raises InvalidInput: 2 or 4 does.
    """
    content = _opened(pb.ReconcileStatement, octets, signature, STATEMENT, public_key)
    _require_pair(content, pair)
    receipts.require_origin(content.gateway_origin)
    return Statement(
        pair=pair,
        gateway_origin=content.gateway_origin,
        time_ms=_moment(content.time_ms),
        first=_size(content.first),
        next=_size(content.next),
        checkpoint=content.checkpoint,
        resumed=_size(content.resumed),
        gateway_next=_size(content.gateway_next),
        lost=content.lost,
        entries=_entries(content.entries, OF_NODE, first=content.first, end=content.next),
        digest=signing.digest(octets),
    )


def open_counterstatement(
    octets: bytes, signature: bytes, *, public_key: bytes, statement: Statement
) -> Counterstatement:
    """Verify and read what a gateway says to a statement.

    1. The gateway signed these octets. 2. They are canonical and within the limits. 3. They answer
    exactly this statement, of this node. 4. Every entry is of a kind a gateway lists, and of the
    window; each of the statement's has a leaf, or none, and one that differs has none.

    :raises Forged: 1 or 3 fails. :raises InvalidInput: 2 or 4 does.
    """
    content = _opened(pb.ReconcileCounterstatement, octets, signature, COUNTERSTATEMENT, public_key)
    _require_pair(content, statement.pair)
    if content.statement_digest != statement.digest:
        raise _unbound()
    return Counterstatement(
        pair=statement.pair,
        gateway=content.gateway,
        time_ms=_moment(content.time_ms),
        statement_digest=content.statement_digest,
        first=_size(content.first),
        next=_size(content.next),
        checkpoint=content.checkpoint,
        previous_ms=_moment(content.previous_ms),
        excused=_size(content.excused),
        more=content.more,
        entries=_entries(content.entries, OF_GATEWAY, first=content.first, end=content.next),
        leaves=_leaves(content.leaves, content.differing, len(statement.entries)),
        differing=tuple(content.differing),
        digest=signing.digest(octets),
    )


def open_verdict(
    octets: bytes, signature: bytes, *, public_key: bytes, said: Counterstatement
) -> Verdict:
    """Verify and read a node's verdict on a counterstatement.

    1. The node's partner signed these octets. 2. They are canonical and within the limits. 3. They
    are about exactly this counterstatement. 4. They name a leaf, or none, for each entry; an entry
    that differs has none; codes are codes.

    :raises Forged: 1 or 3 fails. :raises InvalidInput: 2 or 4 does.
    """
    content = _opened(pb.ReconcileVerdict, octets, signature, VERDICT, public_key)
    _require_pair(content, said.pair)
    if content.counterstatement_digest != said.digest:
        raise _unbound()
    reasons = tuple(content.reasons)
    wellformed = len(reasons) <= MAX_REASONS and list(reasons) == sorted(set(reasons))
    if not wellformed or not all(code and reason_code(code) == code for code in reasons):
        raise _malformed()
    return Verdict(
        pair=said.pair,
        time_ms=_moment(content.time_ms),
        counterstatement_digest=content.counterstatement_digest,
        checkpoint=content.checkpoint,
        leaves=_leaves(content.leaves, content.differing, len(said.entries)),
        differing=tuple(content.differing),
        reasons=reasons,
        accepted=content.accepted,
    )


def _opened(kind: type[M], octets: bytes, signature: bytes, domain: str, public_key: bytes) -> M:
    if len(octets) > MAX_OCTETS:
        raise InvalidInput("a statement is larger than allowed", reasons=("TOO_LARGE",))
    signing.verify(public_key, domain, octets, signature)
    return signing.parse_canonical(kind, octets, limit=MAX_OCTETS)


def _require_pair(
    content: pb.ReconcileStatement | pb.ReconcileCounterstatement | pb.ReconcileVerdict, pair: Pair
) -> None:
    if Pair(
        federation=content.federation, partner_id=content.partner_id, node=content.node
    ) != pair:  # fmt: skip
        raise _unbound()


def _entries(
    items: Sequence[pb.ReconcileEntry], kinds: Collection[int], *, first: int, end: int
) -> tuple[Entry, ...]:
    if len(items) > MAX_ENTRIES or first > end:
        raise _malformed()
    entries = tuple(map(_entry, items))
    leaves = [entry.leaf for entry in entries]
    if any(entry.kind not in kinds for entry in entries) or leaves != sorted(leaves):
        raise _malformed()
    if leaves and not first <= leaves[0] <= leaves[-1] < end:
        raise _malformed()
    return entries


def _entry(item: pb.ReconcileEntry) -> Entry:
    if len(item.query_id) != (16 if item.kind in _OF_QUERY else 0) or len(item.digest) != 32:
        raise _malformed()
    if item.kind == pb.ENTRY_KIND_INTENT:
        if item.partner_id:
            raise _malformed()
    else:
        check_partner_id(item.partner_id)
    return Entry(
        kind=item.kind,
        leaf=_size(item.leaf),
        time_ms=_moment(item.time_ms),
        query_id=item.query_id,
        partner_id=item.partner_id,
        digest=item.digest,
    )


def _leaves(leaves: Sequence[int], differing: Sequence[int], count: int) -> tuple[int, ...]:
    """One end's leaf of each of the other's entries, plus one; none of an entry that differs."""
    places = list(differing)
    if len(leaves) != count or places != sorted(set(places)) or (places and places[-1] >= count):
        raise _malformed()
    if any(leaves[place] for place in places):
        raise _malformed()
    return tuple(map(_size, leaves))


def _size(value: int) -> int:
    if value > receipts.MAX_SIZE:
        raise _malformed()
    return value


def _moment(value: int) -> int:
    if value < 0:
        raise _malformed()
    return value


def _malformed() -> InvalidInput:
    return InvalidInput("a statement of a reconciliation is malformed", reasons=("RECONCILE_FORM",))


def _unbound() -> Forged:
    return Forged("a statement is of another reconciliation", reasons=("RECONCILE_BINDING",))
