"""What a user signs to have a blind query stand."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fairlead import signing
from fairlead.errors import Forged, InvalidInput, Refused
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch

DOMAIN = "watch"
MAX_FOR_S = 31 * 86_400
MAX_TERMS = 256


def check_order(batch: Batch, now: float) -> pb.WatchOrder:
    """Read the order of a query that is to stand.

    1. The user signed it, for this mandate.
    2. The query is blind and not too large.
    3. It ends, and not too late.

    :raises Forged: ``SIGNATURE`` or ``WATCH_ORDER``. :raises Refused: ``WATCH_SIZE``.
    :raises InvalidInput: ``WATCH_UNTIL``, or it is no order.
    """
    # 1
    order = signing.parse_canonical(pb.WatchOrder, batch.watch)
    public = x509.load_der_x509_certificate(batch.certificate).public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise Forged("a user's key is of another kind", reasons=("SIGNATURE",))
    signing.verify_as_user(public, DOMAIN, batch.watch, batch.watch_signature)
    if order.mandate_digest != signing.digest(batch.mandate):
        raise Forged("a watch is ordered for another mandate", reasons=("WATCH_ORDER",))
    # 2
    if batch.mode != query_pb2.MODE_BLIND or len(batch.terms) > MAX_TERMS:
        raise Refused(
            "only a blind query of few terms can stand",
            reasons=("WATCH_SIZE",),
            remedy=f"watch at most {MAX_TERMS} terms at a time: fairlead watch add --help",
        )
    # 3
    if not now < order.until <= now + MAX_FOR_S:
        raise InvalidInput(
            "a watch ends in the future, within 31 days",
            reasons=("WATCH_UNTIL",),
            remedy="fairlead watch add … --for 7d",
        )
    return order
