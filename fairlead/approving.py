"""The approver's side of a held query: check what one's node shows against what the user signed.

The approver's program believes its node about nothing it signs: purpose, schemes, number of terms
and, where they are read, the terms themselves are those of the mandate whose digest is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import signing
from fairlead.certificates import IdentityKind, identity_from_certificate
from fairlead.envelope.chunk import Cutter, root_of
from fairlead.envelope.query import Scope, mode_name, term_leaf
from fairlead.errors import Forged
from fairlead.packed import PackedTerms
from fairlead.partners import Directory
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A held query as its user's signature proves it; ``requester`` is a pseudonym. One that is to
    stand does so until ``stands_until`` (unix seconds), any other has 0 there."""

    shown: pb.PendingApproval
    mandate: query_pb2.Mandate
    digest: bytes
    requester: str
    stands_until: int = 0

    @property
    def mode(self) -> str:
        """``sealed`` or ``blind``."""
        return mode_name(self.mandate.mode)


def check_pending(
    shown: pb.PendingApproval, *, directory: Directory, partner_id: str, now: float
) -> Waiting:
    """Check a held query before an approver sees or signs it.

    1. A user of the own partner signed the mandate, under a certificate in force.
    2. Requester, purpose, number of terms and schemes are shown as the mandate has them.
    3. It ends when the mandate does, and demands a second person.
    4. That it is to stand, and until when, is what its user signed for this mandate. That a query
    is not to stand is the node's word: no approver signs it.

    :param now: unix seconds. :raises Forged: the node shows something else.
    :raises FairleadError: the certificate is not acceptable.
    """
    # 1
    mandate = signing.parse_canonical(query_pb2.Mandate, shown.mandate)
    user = identity_from_certificate(shown.certificate, directory=directory, now=now)
    named = signing.digest(shown.certificate) == mandate.user_certificate_digest
    own = user.kind is IdentityKind.USER and user.partner_id == mandate.partner_id == partner_id
    if not named or not own:
        raise _differs("USER")
    signing.verify_as_user(user.public_key, "mandate", shown.mandate, shown.mandate_signature)
    # 2
    said = (shown.query.user, shown.query.purpose, shown.query.terms, sorted(shown.schemes))
    if said != (user.name, mandate.purpose, mandate.term_count, list(mandate.schemes)):
        raise _differs("SHOWN")
    if sum(shown.schemes.values()) != mandate.term_count:
        raise _differs("SHOWN")
    # 3
    if shown.expires_at != mandate.expires_at or not mandate.required_approvals:
        raise _differs("SHOWN")
    # 4
    digest, stands_until = signing.digest(shown.mandate), 0
    if shown.watch:
        order = signing.parse_canonical(pb.WatchOrder, shown.watch)
        signing.verify_as_user(user.public_key, "watch", shown.watch, shown.watch_signature)
        if order.mandate_digest != digest:
            raise _differs("WATCH")
        stands_until = order.until
    return Waiting(
        shown=shown,
        mandate=mandate,
        digest=digest,
        requester=user.name,
        stands_until=stands_until,
    )


def check_terms(waiting: Waiting, pages: Sequence[pb.ShowApprovalResponse]) -> PackedTerms:
    """The terms of a held query, which are exactly those of the mandate, in their scope.

    :raises Forged: the node shows other terms, or another scope.
    """
    if not pages:
        raise _differs("TERMS")
    stated = pages[0].scope
    scope = Scope(
        since=stated.since,
        until=stated.until,
        events=tuple(stated.events),
        tlp=stated.tlp,
        pap=stated.pap,
    )
    terms, cutter = PackedTerms(), Cutter(waiting.mandate.mode)
    for page in pages:
        if len(page.terms) != len(page.nonces):
            raise _differs("TERMS")
        for term, nonce in zip(page.terms, page.nonces, strict=True):
            terms.append(term.scheme, term.value)
            cutter.add(term_leaf(term.scheme, term.value, nonce, scope))
    said = len(terms), root_of(cutter.roots())
    if said != (waiting.mandate.term_count, waiting.mandate.terms_root):
        raise _differs("TERMS")
    return terms


def check_same(waiting: Waiting, digest: str) -> None:
    """What is signed is the mandate that was looked at before, by its digest in hexadecimal.

    :raises Forged: the node shows another one now, which the same user signed as well.
    """
    if digest.lower() != waiting.digest.hex():
        raise _differs("MANDATE")


def _differs(what: str) -> Forged:
    return Forged(
        "your node shows something other than what the user signed; nothing was approved",
        reasons=("PENDING_DIFFERS", what),
        remedy="tell your security officer",
    )
