"""One token: asked for over a checkpoint, and verified against it.

The library's parser and OpenSSL judge; this file decides what they are asked, and that nothing they
raise gets out. What is kept is the authority's whole response, octet for octet, which
``openssl ts -verify`` reads too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from fairlead.errors import FairleadError, Forged, InvalidInput, Misconfigured
from fairlead.timestamping.order import in_order

MAX_RESPONSE = 64 * 1024
"""Octets of a response: a token with a long chain of certificates has some 10,000."""
SKEW_S = 600.0
"""Seconds by which an authority's clock and this log's may differ."""
SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent: the DER octets, and the nonce that has to come back."""

    octets: bytes
    nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A verified token: when the authority says it saw the checkpoint (Unix seconds), under which
    serial number of its own, and who it is."""

    stamped_at: float
    serial: int
    authority: str


def request(checkpoint: str) -> Request:
    """Ask for a token over the octets of a signed checkpoint."""
    made = (
        TimestampRequestBuilder()
        .data(checkpoint.encode())
        .hash_algorithm(HashAlgorithm.SHA256)
        .cert_request(cert_request=True)
        .nonce(nonce=True)
        .build()
    )
    return Request(octets=made.as_bytes(), nonce=made.nonce or 0)


def load_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates (PEM) that a token's signer must lead to.

    :raises Misconfigured: TIMESTAMP_CA: none can be read.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        found = []
    if not found:
        raise Misconfigured(
            "the timestamp authority's certificates cannot be read",
            reasons=("TIMESTAMP_CA",),
            remedy="name a PEM file of the certificates that issued the authority's own",
        )
    return tuple(found)


def verify(
    response: bytes,
    checkpoint: str,
    authorities: Sequence[x509.Certificate],
    *,
    nonce: int | None = None,
) -> Token:
    """Verify a response over a checkpoint.

    1. Its size, and that it is a response that grants a token.
    2. The token is over the SHA-256 of exactly this checkpoint.
    3. It answers this request; None where nobody knows that any more.
    4. It is signed by a certificate for timestamping alone, which leads to ``authorities`` and was
       valid when it says it signed.

    :raises InvalidInput: TIMESTAMP_MALFORMED. :raises Forged: TIMESTAMP_REFUSED, _IMPRINT, _NONCE
        or _SIGNATURE.
    """
    # 1
    if not 0 < len(response) <= MAX_RESPONSE:
        raise _malformed()
    found = _ours(lambda: decode_timestamp_response(in_order(response)), _malformed)
    if _ours(lambda: found.status, _malformed) != PKIStatus.GRANTED:
        raise _wrong("the timestamp authority granted no token", "TIMESTAMP_REFUSED")
    info = _ours(lambda: found.tst_info, _malformed)
    imprint = _ours(
        lambda: (info.message_imprint.hash_algorithm, info.message_imprint.message), _malformed
    )
    # 2
    if imprint != (SHA256, hashlib.sha256(checkpoint.encode()).digest()):
        raise _wrong("the timestamp is of something else", "TIMESTAMP_IMPRINT")
    # 3
    if nonce is not None and _ours(lambda: info.nonce, _malformed) != nonce:
        raise _wrong("the timestamp answers another request", "TIMESTAMP_NONCE")
    # 4
    builder = VerifierBuilder()
    for certificate in dict.fromkeys(authorities):
        builder = builder.add_root_certificate(certificate)
    _ours(lambda: builder.build().verify_message(found, checkpoint.encode()), _unsigned)
    return _ours(lambda: _token(found), _malformed)


def _token(found: TimeStampResponse) -> Token:
    info = found.tst_info
    moment = info.gen_time
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    (signer,) = found.signed_data.signer_infos
    certificates = map(x509.load_der_x509_certificate, found.signed_data.certificates)
    (name,) = (
        c.subject.rfc4514_string()
        for c in certificates
        if (c.issuer, c.serial_number) == (signer.issuer, signer.serial_number)
    )
    return Token(stamped_at=aware.timestamp(), serial=info.serial_number, authority=name)


def require_plausible(token: Token, *, newest: float, stamped: float) -> None:
    """An authority's time must agree with the log's own, as far as clocks do.

    :param newest: of the leaves under the checkpoint, the time of the last (Unix seconds).
    :param stamped: when the token was written down, by the log's clock.
    :raises Forged: TIMESTAMP_TIME: the token is older than what it is of, or the leaves that follow
        it claim another time.
    """
    if token.stamped_at < newest - SKEW_S or abs(token.stamped_at - stamped) > SKEW_S:
        raise _wrong("the timestamp and the log's clock contradict each other", "TIMESTAMP_TIME")


def _ours(attempt: Callable[[], T], error: Callable[[], FairleadError]) -> T:
    """Whatever the library raises, in our words."""
    try:
        return attempt()
    except (
        ValueError, TypeError, LookupError, AttributeError, OverflowError, ArithmeticError,
        NotImplementedError, AssertionError, VerificationError, x509.ExtensionNotFound,
    ):  # fmt: skip
        raise error() from None
    except BaseException as panic:
        if type(panic).__name__ not in {"PanicException", "UnsupportedAlgorithm"}:
            raise
        raise error() from None


def _malformed() -> InvalidInput:
    return InvalidInput(
        "this is no response of a timestamp authority",
        reasons=("TIMESTAMP_MALFORMED",),
        remedy="check [timestamps] url: openssl ts -reply -in FILE -text shows what it sent",
    )


def _unsigned() -> Forged:
    return _wrong("the timestamp is not signed by the configured authority", "TIMESTAMP_SIGNATURE")


def _wrong(message: str, code: str) -> Forged:
    return Forged(
        message,
        reasons=(code,),
        remedy="keep the token as evidence, and ask the authority's operator",
    )
