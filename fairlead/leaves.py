"""What each event looks like in the audit log. No leaf holds a term, a record or a name.

``docs/audit-events.md`` lists every type with the class of each field.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fairlead import signing
from fairlead.envelope.outcome import PartnerState
from fairlead.envelope.query import Query, Random
from fairlead.errors import FairleadError
from fairlead.metrics import Tally
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2

_WORDS: Mapping[int, str] = {
    number: name.removeprefix("LEAF_TYPE_").lower() for name, number in pb.LeafType.items()
}
_STATES: Mapping[int, str] = {
    number: name.removeprefix("STATUS_").lower() for name, number in query_pb2.Status.items()
}
CHEATING = frozenset({"DENY_LIST_FORK", "DIRECTORY_FORK", "ENTRY_CHAIN", "ROOT_PIN", "SIGNATURE"})
"""Reasons that an honest federation never produces: each becomes an ALARM leaf, which stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafWriter:
    """Writes the leaves of one log, named ``gateway/<id>`` or ``partner/<id>``, and counts them."""

    log: str
    clock: Callable[[], float]
    random: Random = field(default=os.urandom)
    tally: Tally = field(default_factory=Tally)

    def _leaf(self, kind: int, **fields: object) -> pb.AuditLeaf:
        self.tally.leaf(_WORDS[kind])
        return pb.AuditLeaf(
            type=kind,  # type: ignore[arg-type]
            time_ms=int(self.clock() * 1000),
            log=self.log,
            **fields,  # type: ignore[arg-type]
        )

    def intent(
        self,
        query: Query,
        *,
        rules: Iterable[str],
        policy_serial: int,
        commits_to: bytes,
        detail_digest: bytes | None = None,
        intent_leaf_hash: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """The leaf written before anything is asked or answered.

        :param commits_to: octets the leaf commits to without showing them (at the gateway, who
            is asked; owners see this leaf and must not learn it).
        :param detail_digest: of the detail beside the leaf; None is the asker's, as its header
            names it.
        :returns: the leaf and the nonce that opens its commitment.
        """
        nonce = self.random(32)
        self.tally.began(query.query_id)
        leaf = self._leaf(
            pb.LEAF_TYPE_INTENT,
            query_id=query.query_id,
            partner_id=query.asker.partner_id,
            user=query.user.spiffe_id,
            mandate_digest=query.mandate_digest,
            header_digest=query.header_digest,
            purpose=query.purpose,
            legal_basis=query.legal_basis,
            mode=query.mode,
            schemes=list(query.schemes),
            term_count=query.term_count,
            policy_serial=policy_serial,
            rules=sorted(set(rules)),
            commitment=signing.commit(nonce, commits_to),
            detail_digest=query.detail_digest if detail_digest is None else detail_digest,
            intent_leaf_hash=intent_leaf_hash,
            signatures=query.signatures,
            approvers=query.approvers,
        )
        return signing.canonical(leaf), nonce

    def release(self, released: Sequence[pb.ReleasedAnswer]) -> bytes:
        """The leaf that lets a batch of answers out."""
        for item in released:
            if self.log == f"partner/{item.partner_id}":  # an owner's own answer ends its work
                self.tally.closed(item.query_id, [(item.partner_id, _STATES[item.status])])
        return signing.canonical(self._leaf(pb.LEAF_TYPE_RELEASE, released=released))

    def outcome(self, query: Query, states: Mapping[str, PartnerState]) -> bytes:
        """The leaf that closes a query."""
        self.tally.closed(query.query_id, ((p, _STATES[s.status]) for p, s in states.items()))
        leaf = self._leaf(
            pb.LEAF_TYPE_OUTCOME,
            query_id=query.query_id,
            partner_id=query.asker.partner_id,
            user=query.user.spiffe_id,
            header_digest=query.header_digest,
            partners=[states[p].to_wire() for p in sorted(states)],
        )
        return signing.canonical(leaf)

    def refusal(
        self,
        error: FairleadError,
        *,
        subject: str,
        partner_id: str = "",
        user: str = "",
        query_id: bytes = b"",
        purpose: str = "",
    ) -> bytes:
        """The leaf of something refused; ``subject`` is an RPC or step from a fixed list.

        ``query_id`` and ``purpose`` may be unverified claims of the refused caller: they are
        cut to their longest valid size and never interpreted.
        """
        self.tally.refused(error.reasons[:1])
        leaf = self._leaf(
            pb.LEAF_TYPE_REFUSAL,
            reasons=list(error.reasons),
            subject=subject,
            partner_id=partner_id,
            user=user,
            query_id=query_id[:16],
            purpose=purpose[:64],
        )
        return signing.canonical(leaf)

    def alarm(
        self,
        reasons: Sequence[str],
        *,
        subject: str,
        checkpoints: Sequence[str] = (),
        user: str = "",
        partner_id: str = "",
        query_id: bytes = b"",
        detail_digest: bytes = b"",
    ) -> bytes:
        """The leaf of evidence that somebody cheats: the signed heads that show it, or who.

        :param detail_digest: of the statements that show it, stored beside the leaf.
        """
        self.tally.alarmed(reasons[:1])
        leaf = self._leaf(
            pb.LEAF_TYPE_ALARM,
            reasons=list(reasons),
            subject=subject,
            checkpoints=list(checkpoints),
            user=user,
            partner_id=partner_id,
            query_id=query_id,
            detail_digest=detail_digest,
        )
        return signing.canonical(leaf)

    def reconciled(
        self,
        *,
        user: str,
        partner_id: str,
        listed: int,
        met: int,
        excused: int,
        detail_digest: bytes,
    ) -> bytes:
        """The leaf of a reconciliation that found nothing.

        :param user: the other end's SPIFFE id. :param partner_id: the node's partner.
        :param listed: entries of this log. :param met: of the other one. :param excused: of
            both, what the other log need not hold.
        :param detail_digest: of the statements beside it.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_RECONCILED,
            user=user,
            partner_id=partner_id,
            entries_listed=listed,
            entries_met=met,
            entries_excused=excused,
            detail_digest=detail_digest,
        )
        return signing.canonical(leaf)

    def alert(self, query: Query, recipients: Iterable[str]) -> bytes:
        """The leaf by which an owner's desk learns who asked about an active target, and why."""
        self.tally.alarmed(["ACTIVE_TARGET"])
        leaf = self._leaf(
            pb.LEAF_TYPE_ALARM,
            reasons=["ACTIVE_TARGET"],
            subject=",".join(sorted(recipients))[:64],
            query_id=query.query_id,
            partner_id=query.asker.partner_id,
            user=query.user.spiffe_id,
            purpose=query.purpose,
            commitment=query.case_commitment,
        )
        return signing.canonical(leaf)

    def case(self, *, subject: str, user: str, purpose: str, commits_to: bytes) -> bytes:
        """The leaf of a case opened, changed or closed; its reference is only committed to."""
        leaf = self._leaf(
            pb.LEAF_TYPE_CASE,
            subject=subject,
            user=user,
            purpose=purpose,
            commitment=signing.commit(self.random(32), commits_to),
        )
        return signing.canonical(leaf)

    def user(self, *, subject: str, user: str, commits_to: bytes) -> bytes:
        """The leaf of what a user authority did about a person; a certificate is committed to."""
        leaf = self._leaf(
            pb.LEAF_TYPE_USER,
            subject=subject,
            user=user,
            commitment=signing.commit(self.random(32), commits_to),
        )
        return signing.canonical(leaf)

    def owner(
        self,
        subject: str,
        *,
        user: str = "",
        partner_id: str = "",
        purpose: str = "",
        schemes: Sequence[str] = (),
        reasons: Sequence[str] = (),
        digest: bytes = b"",
    ) -> bytes:
        """The leaf of something the owner did at its own node, by a command of its own.

        :param subject: ``exposure-accepted``, ``paused``, ``resumed``, ``previewed``,
            ``bundle-made``, ``blind-published``, ``blind-withdrawn``, ``blind-adopted``,
            ``blind-recovered``, ``decoys-added``, ``decoys-removed``, ``policy-published``,
            ``register-recorded``, ``register-corrected``, ``register-withdrawn``,
            ``reporter-kept``, ``reporter-read``, ``reporter-forgotten``, ``pack-signed`` or
            ``figure-waived``; in an oversight's log ``alert-acknowledged``.
        :param user: who did it, as the command was told; nobody verified it.
        :param digest: of what was accepted, published or entered, which the owner keeps elsewhere.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_OWNER,
            subject=subject,
            user=user,
            partner_id=partner_id,
            purpose=purpose,
            schemes=list(schemes),
            reasons=list(reasons),
            detail_digest=digest,
        )
        return signing.canonical(leaf)

    def history(self, *, subject: str, user: str = "", query_id: bytes = b"") -> bytes:
        """The leaf of kept answers that were read or deleted."""
        leaf = self._leaf(pb.LEAF_TYPE_HISTORY, subject=subject, user=user, query_id=query_id)
        return signing.canonical(leaf)

    def feedback(
        self, *, subject: str, query_id: bytes, partner_id: str, digest: bytes, user: str = ""
    ) -> bytes:
        """The leaf of feedback sent, passed on or received; ``digest`` is of its signed header."""
        leaf = self._leaf(
            pb.LEAF_TYPE_FEEDBACK,
            subject=subject,
            query_id=query_id,
            partner_id=partner_id,
            user=user,
            header_digest=digest,
        )
        return signing.canonical(leaf)

    def publication(
        self, subject: str, *, partner_id: str, scheme: str, manifest_digest: bytes
    ) -> bytes:
        """The leaf of a manifest or snapshot on its way.

        :param subject: ``manifest-accepted`` (gateway), ``manifest-announced`` (its owner),
            ``relayed`` (gateway), ``delivered`` (owner) or ``taken-over`` (reader).
        :param partner_id: the owner where it is accepted, announced or taken over; the reader
            where it is relayed or delivered.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_PUBLICATION,
            subject=subject,
            partner_id=partner_id,
            schemes=[scheme],
            manifest_digest=manifest_digest,
        )
        return signing.canonical(leaf)

    def approval(
        self,
        *,
        subject: str,
        query_id: bytes,
        user: str = "",
        mandate_digest: bytes = b"",
        reasons: Sequence[str] = (),
    ) -> bytes:
        """The leaf of a second person's part: asked for, looked, approved, denied, reviewed.

        :param user: who did it; nobody when time did. :param query_id: that the query is held by.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_APPROVAL,
            subject=subject,
            query_id=query_id,
            user=user,
            mandate_digest=mandate_digest,
            reasons=list(reasons),
        )
        return signing.canonical(leaf)

    def decision(
        self,
        subject: str,
        *,
        batch: int = 0,
        digest: bytes = b"",
        user: str = "",
        query_id: bytes = b"",
    ) -> bytes:
        """The leaf of decision records written, read or let go.

        :param subject: ``decisions-recorded``, ``decisions-read`` or ``decisions-expired``.
        :param batch: the batch written, or the last one let go. :param digest: its SHA-256.
        :param user: who read them. :param query_id: what they were read about.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_DECISION,
            subject=subject,
            decision_batch=batch,
            detail_digest=digest,
            user=user,
            query_id=query_id,
        )
        return signing.canonical(leaf)

    def reading(self, subject: str, *, user: str, selection: pb.LeafSelection) -> bytes:
        """The leaf of an auditor who reads this log: who, what for, and among which leaves.

        :param subject: ``audit-listed``, ``audit-shown``, ``audit-exported`` or
            ``timestamps-listed``.
        """
        leaf = self._leaf(pb.LEAF_TYPE_READ, subject=subject, user=user, selection=selection)
        return signing.canonical(leaf)

    def figures(
        self,
        subject: str,
        about: pb.FiguresLeaf,
        *,
        query_id: bytes = b"",
        partner_id: str = "",
        user: str = "",
        purpose: str = "",
        policy_serial: int = 0,
        rules: Iterable[str] = (),
        signatures: Sequence[bytes] = (),
    ) -> bytes:
        """The leaf of figures asked for, released, waived, or said in a round.

        :param subject: ``figures-asked`` (asker's node and gateway; the one with the other fields),
            ``figures-released`` or ``figures-waived`` (gateway), ``figures-counted`` or
            ``figures-summed`` (node).
        :param about: which figures, without one of them.
        :param query_id: the question's id. :param partner_id: who asks, or waives.
        :param signatures: the user's on the question, the asker's node's on its statement.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_FIGURES,
            subject=subject,
            figures=about,
            query_id=query_id,
            partner_id=partner_id,
            user=user,
            purpose=purpose,
            policy_serial=policy_serial,
            rules=sorted(set(rules)),
            signatures=list(signatures),
        )
        return signing.canonical(leaf)

    def timestamp(self, *, checkpoint: str, token_digest: bytes) -> bytes:
        """The leaf of a head of this log that a timestamp authority signed; the token is its
        detail."""
        leaf = self._leaf(
            pb.LEAF_TYPE_TIMESTAMP,
            subject="checkpoint-stamped",
            checkpoints=[checkpoint],
            detail_digest=token_digest,
        )
        return signing.canonical(leaf)

    def opening(
        self,
        subject: str,
        *,
        user: str,
        partner_id: str,
        ground: str,
        request_digest: bytes,
        count: int,
        query_id: bytes = b"",
        since: int = 0,
        until: int = 0,
        by: str = "",
    ) -> bytes:
        """The leaf of sealed detail on its way to be opened.

        :param subject: ``opening-asked``, ``detail-opened`` or ``details-searched`` (an auditor's
            log), ``shares-released`` or ``details-searched`` (an oversight's).
        :param user: the auditor's SPIFFE id. :param partner_id: whose auditor it is.
        :param ground: why, as a code. :param count: of leaves. :param query_id: of a single one.
        :param since: of a search, with ``until``, in unix seconds.
        :param by: the officer who released shares, as the command was told; nobody verified it.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_OPENING,
            subject=subject,
            user=user,
            partner_id=partner_id,
            legal_basis=ground,
            request_digest=request_digest,
            opened_count=count,
            query_id=query_id,
            opened_since=since,
            opened_until=until,
            approvers=[by] if by else [],
        )
        return signing.canonical(leaf)

    def erasure(
        self,
        *,
        leaf_class: str,
        until_ms: int,
        count: int,
        held: int,
        digest: bytes,
        approvals: Sequence[tuple[str, bytes]],
        detail_digest: bytes,
    ) -> bytes:
        """The leaf of old leaves erased with it.

        :param digest: over index, hash and type of each. :param held: how many a hold kept.
        :param approvals: each person's SPIFFE id (an operator's is made of its key) and signature.
        :param detail_digest: of the order and the list beside the leaf.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_ERASURE,
            subject="leaves-erased",
            erased_class=leaf_class,
            erased_until_ms=until_ms,
            erased_count=count,
            erased_held=held,
            erased_digest=digest,
            approvers=[name for name, _ in approvals],
            signatures=[signature for _, signature in approvals],
            detail_digest=detail_digest,
        )
        return signing.canonical(leaf)

    def hold(
        self,
        subject: str,
        *,
        user: str,
        selection: pb.LeafSelection | None = None,
        leaf_class: str = "",
        commitment: bytes = b"",
        ended: bytes = b"",
    ) -> bytes:
        """The leaf of a legal hold that begins or ends.

        :param subject: ``hold-begun`` or ``hold-ended``. :param user: as the command was told.
        :param commitment: to what it rests on. :param ended: the hash of the leaf that began it.
        """
        leaf = self._leaf(
            pb.LEAF_TYPE_ERASURE,
            subject=subject,
            user=user,
            selection=selection,
            erased_class=leaf_class,
            commitment=commitment,
            erased_digest=ended,
        )
        return signing.canonical(leaf)

    def activation(self, subject: str, *, serial: int, digest: bytes) -> bytes:
        """The leaf of a directory or policy that became active."""
        leaf = self._leaf(
            pb.LEAF_TYPE_ACTIVATION,
            subject=subject,
            policy_serial=serial,
            detail_digest=digest,
        )
        return signing.canonical(leaf)

    def witness(self, subject: str, checkpoints: Sequence[str]) -> bytes:
        """The leaf of what became of a log's heads.

        :param subject: ``new-origin`` (gateway, node) or ``witness-lost`` (node).
        :param checkpoints: the signed notes it is about.
        """
        leaf = self._leaf(pb.LEAF_TYPE_WITNESS, subject=subject, checkpoints=list(checkpoints))
        return signing.canonical(leaf)

    def certificate(self, spiffe_id: str, *, not_after: int, digest: bytes) -> bytes:
        """The leaf of a node's or a gateway's certificate issued; ``not_after`` in Unix seconds."""
        leaf = self._leaf(
            pb.LEAF_TYPE_ACTIVATION,
            subject="certificate",
            user=spiffe_id,
            policy_serial=not_after,
            detail_digest=digest,
        )
        return signing.canonical(leaf)
