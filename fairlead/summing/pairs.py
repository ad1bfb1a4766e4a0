"""The seed that two nodes share, from their mask keys in the directory (X25519, RFC 7748).

Not post-quantum: who records masked vectors and later breaks X25519 reads what each node sent. The
quarter gives other seeds every quarter; what makes older ones safe from a stolen key is a new mask
key in the directory, and the two public keys are bound in too. So is the node by which each partner
takes part: another node of a partner has its keys, but not what the first one said, and would say
something else under the same masks.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fairlead.errors import InvalidInput
from fairlead.names import check_partner_id
from fairlead.summing.release import framed

SEED_SIZE = 32


def pair_seed(
    own: X25519PrivateKey,
    other: bytes,
    *,
    quarter: str,
    federation: str,
    ids: tuple[str, str],
    nodes: tuple[str, str],
) -> bytes:
    """The 32 octets that both nodes of a pair derive and nobody else (RFC 5869, SHA-256).

    :param other: the other node's mask key, 32 octets.
    :param quarter: the calendar quarter of the seeds' use, as ``2026-Q4``.
    :param ids: own partner id, the other's. :param nodes: SPIFFE ids of the nodes by which these
        take part, the first ones that the directory lists.
    :raises InvalidInput: MASK_KEY: not a point, or one of small order; PARTICIPANTS: not two.
    """
    if ids[0] == ids[1]:
        raise InvalidInput("a pair has two nodes", reasons=("PARTICIPANTS",))
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise InvalidInput("a mask key is not usable", reasons=("MASK_KEY",)) from None
    keys = (own.public_key().public_bytes_raw(), other)
    names = (check_partner_id(name).encode() for name in ids)
    ends = sorted(zip(names, (node.encode() for node in nodes), keys, strict=True))
    parts = (federation.encode(), quarter.encode(), *(part for end in ends for part in end))
    info = b"fairlead/v1/statistics-pair\x00" + framed(*parts)
    return HKDF(algorithm=SHA256(), length=SEED_SIZE, salt=None, info=info).derive(shared)
