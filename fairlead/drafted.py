"""A drafted mandate, recomputed from what its user typed.

The client believes its node about nothing it signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fairlead import signing
from fairlead.envelope.chunk import Cutter, root_of
from fairlead.envelope.query import (
    MANDATE_LIFETIME_S,
    NONCE_SEED,
    WINDOW_S,
    Committed,
    Scope,
    partner_digest,
    term_leaf,
    term_nonce,
)
from fairlead.errors import Forged
from fairlead.partners import Directory
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft that agrees with what the user typed, ready to be signed."""

    request: pb.PrepareRequest
    response: pb.PrepareResponse
    legal_basis: str
    mode: int
    term_count: int

    @property
    def blind(self) -> bool:
        """Whether partners would learn the number of terms and not the terms."""
        return self.mode == query_pb2.MODE_BLIND

    @property
    def exposures(self) -> Sequence[pb.Exposure]:
        """Who will learn what."""
        return self.response.exposures


def check_draft(
    request: pb.PrepareRequest,
    response: pb.PrepareResponse,
    *,
    terms: Iterable[tuple[str, str]] | None = None,
    certificate: bytes,
    directory: Directory,
    partner_id: str,
    now: float,
) -> Draft:
    """Recompute a drafted mandate from the user's own input.

    1. It names this user's certificate, partner and federation, begins now and lives at most
       24 hours.
    2. Purpose and mode are those asked for; a mode that the user left open is what the draft says,
       for the user to see.
    3. Its terms, period, events and handling are exactly the user's; handling that the user left
       to the case is what the draft says, for the user to see.
    4. Its case is the user's.
    5. Every partner's digest opens: as asked for those announced, as not asked for all others.
       A digest opens to one partner only, so the node's newer list of partners may be believed.

    :param terms: scheme and value of each term in order; None for those of the request.
    :param certificate: the user's own, DER. :param partner_id: the user's own.
    :param now: unix seconds.
    :raises Forged: the node drafted something else.
    """
    mandate = signing.parse_canonical(query_pb2.Mandate, response.mandate)
    # 1
    lifetime = mandate.expires_at - mandate.issued_at
    mine = mandate.user_certificate_digest == signing.digest(certificate) and (
        mandate.partner_id,
        mandate.federation,
    ) == (partner_id, directory.federation)
    begins_now = abs(mandate.issued_at - now) <= WINDOW_S
    if not mine or not begins_now or not 0 < lifetime <= MANDATE_LIFETIME_S:
        raise _differs("USER")
    # 2
    mode = request.mode or mandate.mode
    if (mandate.purpose, mandate.mode) != (request.purpose, mode):
        raise _differs("PURPOSE")
    # 3
    if terms is None:
        terms = ((term.scheme, term.value) for term in request.terms)
    for wanted, drafted in ((request.tlp, response.tlp), (request.pap, response.pap)):
        if wanted and drafted != wanted:
            raise _differs("HANDLING")
    scope = Scope(
        since=request.since,
        until=request.until,
        events=tuple(sorted(set(request.events))),
        tlp=response.tlp,
        pap=response.pap,
    )
    if committed(terms, response.nonce_seed, scope, mode) != Committed(
        schemes=list(mandate.schemes), count=mandate.term_count, root=mandate.terms_root
    ):
        raise _differs("TERMS")
    # 4
    if mandate.case_commitment != signing.commit(response.case_nonce, request.case_id.encode()):
        raise _differs("CASE")
    # 5
    _check_partners(request, response, mandate)
    return Draft(
        request=request,
        response=response,
        legal_basis=mandate.legal_basis,
        mode=mandate.mode,
        term_count=mandate.term_count,
    )


def committed(
    terms: Iterable[tuple[str, str]], nonce_seed: bytes, scope: Scope, mode: int
) -> Committed:
    """What a mandate must say of these terms; 32 octets a chunk are held, and no term.

    :raises Forged: the seed is none, so that the nonces are not what they should be.
    """
    if len(nonce_seed) != NONCE_SEED:
        raise _differs("TERMS")
    schemes: set[str] = set()
    cutter, count = Cutter(mode), 0
    for scheme, value in terms:
        schemes.add(scheme)
        cutter.add(term_leaf(scheme, value, term_nonce(nonce_seed, count), scope))
        count += 1
    return Committed(schemes=sorted(schemes), count=count, root=root_of(cutter.roots()))


def _check_partners(
    request: pb.PrepareRequest, response: pb.PrepareResponse, mandate: query_pb2.Mandate
) -> None:
    asked = {exposure.partner_id for exposure in response.exposures}
    listed = list(response.directory_partners)
    beyond = request.partners and not asked <= set(request.partners)
    shape = len(mandate.partner_digests) == len(response.partner_salts) == len(listed)
    if beyond or not asked <= set(listed) or len(set(listed)) != len(listed) or not shape:
        raise _differs("PARTNERS")
    for partner_id, salt, digest in zip(
        listed, response.partner_salts, mandate.partner_digests, strict=True
    ):
        opened = partner_digest(salt, partner_id, mandate.mandate_id, asked=partner_id in asked)
        if opened != digest:
            raise _differs("PARTNERS")


def _differs(what: str) -> Forged:
    return Forged(
        "your node drafted something other than what you asked; nothing was signed or sent",
        reasons=("DRAFT_DIFFERS", what),
        remedy="tell your security officer",
    )
