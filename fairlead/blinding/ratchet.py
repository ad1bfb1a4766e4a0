"""An owner's keys for blind queries: one seed an epoch, turned forward and never back.

``seed(e + 1) = HKDF(seed(e))``: whoever finds today's seed cannot compute yesterday's, so once an
epoch's overlap is over and its seed erased (and kept out of backups), that epoch's index and
everything asked of it stay closed. Tomorrow's can be computed: a stolen seed is good until a new
one is drawn, not derived.

From an epoch's seed follows one key for each node, audience and scheme. The scheme needs a key of
its own because the owner cannot see it inside a blinded term: under one key for all, a budget for
containers could be spent on persons. Pure; where seeds are kept is for others to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fairlead.blinding.suite import SEED_SIZE, PrivateKey, derive_key, framed
from fairlead.errors import InvalidInput
from fairlead.names import check_code, check_partner_id

AUDIENCE_SIZE = 32
"""Octets that name an audience class: the digest of its partners, purposes, agreement serial."""

MAX_EPOCH = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EpochSeed:
    """The secret of one epoch: its number, and 32 octets.

    :raises InvalidInput: ``EPOCH`` or ``SEED``.
    """

    epoch: int
    secret: bytes

    def __post_init__(self) -> None:
        check_epoch(self.epoch)
        if len(self.secret) != SEED_SIZE:
            raise InvalidInput("a seed has 32 octets", reasons=("SEED",))


def next_seed(seed: EpochSeed) -> EpochSeed:
    """The next epoch's seed (RFC 5869, SHA-512). :raises InvalidInput: ``EPOCH``, the last one."""
    epoch = seed.epoch + 1
    check_epoch(epoch)
    secret = _hkdf(seed.secret, b"fairlead/v1/blind-seed\x00" + _number(epoch))
    return EpochSeed(epoch=epoch, secret=secret)


def epoch_key(seed: EpochSeed, *, node: str, audience: bytes, scheme: str) -> PrivateKey:
    """The key of one node, epoch, audience and scheme (RFC 5869, then RFC 9497 §3.2.1).

    :param node: the node's SPIFFE path below the federation, ``partner/<p>/node/<name>``.
    :param audience: 32 octets.
    :param scheme: as in :func:`fairlead.blinding.encode_terms`.
    :raises InvalidInput: ``NODE``, ``AUDIENCE`` or ``CODE``.
    """
    check_audience(audience)
    parts = (_node(node), _number(seed.epoch), audience, check_code(scheme).encode())
    info = b"fairlead/v1/blind-key\x00" + b"".join(map(framed, parts))
    return derive_key(_hkdf(seed.secret, info), info)


def check_epoch(epoch: int) -> None:
    """:raises InvalidInput: ``EPOCH``, not from 0 to 2³² - 1."""
    if not 0 <= epoch <= MAX_EPOCH:
        raise InvalidInput("no such epoch", reasons=("EPOCH",))


def check_audience(audience: bytes) -> None:
    """:raises InvalidInput: ``AUDIENCE``, not 32 octets."""
    if len(audience) != AUDIENCE_SIZE:
        raise InvalidInput("an audience is named by 32 octets", reasons=("AUDIENCE",))


def _hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA512(), length=SEED_SIZE, salt=None, info=info).derive(secret)


def _number(epoch: int) -> bytes:
    return epoch.to_bytes(4, "big")


def _node(path: str) -> bytes:
    """The path's octets, when it is one."""
    match path.split("/"):
        case ["partner", partner, "node", name]:
            return f"partner/{check_partner_id(partner)}/node/{check_code(name)}".encode()
    raise InvalidInput("a node is named partner/<id>/node/<name>", reasons=("NODE",))
