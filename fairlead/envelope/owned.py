"""What an owner's sealed detail holds: what it was asked, and that the user signed for it."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import signing
from fairlead.envelope.asked import question_terms, terms_slack
from fairlead.envelope.blinded import BlindedTerms
from fairlead.envelope.question import Question
from fairlead.v1 import opening_pb2 as pb
from fairlead.v1 import query_pb2


def owned_detail(
    signed: query_pb2.SignedQuery,
    question: Question,
    blinded: Sequence[BlindedTerms],
    *,
    notice_delay_s: int,
) -> tuple[bytes, int]:
    """The content, and how many octets of slack hide the lengths of its terms.

    :param signed: a query that verified. :param question: its part as it was opened.
    :param notice_delay_s: how long the owner's policy delays that the subject is told.
    """
    header = query_pb2.QueryHeader.FromString(signed.header)
    terms = [(term.scheme, term.value) for term in question.terms]
    content = pb.OwnedDetail(
        mandate=signed.mandate,
        user_certificate=signed.user_certificate,
        chunk=header.chunk,
        chunk_path=header.chunk_path,
        partner_salt=question.salt,
        terms=question_terms(terms, question.nonces),
        since=question.scope.since,
        until=question.scope.until,
        events=question.scope.events,
        tlp=question.scope.tlp,  # type: ignore[arg-type]
        pap=question.scope.pap,  # type: ignore[arg-type]
        blinded=[pb.BlindCount(scheme=item.scheme, terms=item.terms) for item in blinded],
        notice_delay_s=notice_delay_s,
        directory_serial=header.directory_serial,
    )
    return signing.canonical(content), terms_slack(terms)
