"""User certificates that verified, remembered by their octets: the signature check is done once.

Only what can never change is remembered: these octets, under this directory, are that person's
certificate. Whether it is in force is looked at on every call, and so are deny lists, by whoever
calls (:func:`fairlead.envelope.query.verify_query`, step 2).
"""

from __future__ import annotations

from cryptography import x509

from fairlead.certificates import Identity, identity_from_certificate, issuer_of
from fairlead.partners import Directory

CAPACITY = 4096
"""Certificates; one takes about 3 KiB."""


class RememberedCertificates:
    """Certificate → identity, as :func:`identity_from_certificate` says it, only sooner."""

    __slots__ = ("_capacity", "_directory", "_known")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._directory: Directory | None = None
        self._known: dict[bytes, tuple[Identity, float, float]] = {}

    def __call__(self, der: bytes, *, directory: Directory, now: float) -> Identity:
        """Verify one certificate (DER octets) at ``now`` (Unix seconds).

        1. Another directory than last time forgets everything.
        2. Octets that verified before are the same person's; others are verified in full.
        3. Outside the time in which both certificate and issuer are in force, the full procedure
           decides again, and says why not.

        :raises Unauthenticated: as :func:`identity_from_certificate`.
        """
        # 1
        if directory is not self._directory:
            self._known.clear()
            self._directory = directory
        # 2
        known = self._known.get(der)
        if known is not None:
            identity, begins, ends = known
            # 3
            if begins <= now < ends:
                return identity
        identity = identity_from_certificate(der, directory=directory, now=now)
        if len(self._known) >= self._capacity:
            self._known.clear()
        self._known[der] = (identity, *_in_force(der, identity, directory))
        return identity


def _in_force(der: bytes, identity: Identity, directory: Directory) -> tuple[float, float]:
    """When certificate and issuer are both in force (Unix seconds), for one that verified."""
    both = (x509.load_der_x509_certificate(der), issuer_of(identity, directory))
    return (
        max(item.not_valid_before_utc.timestamp() for item in both),
        min(item.not_valid_after_utc.timestamp() for item in both),
    )
