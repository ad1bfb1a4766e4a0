"""The references of an owner's decoys, as one reader's oversight learns them.

An owner sends this with every manifest, at one size: also when it has no decoy, so that nobody on
the way, nor the reader's node, can tell who has any. The reader's oversight alone opens it.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.errors import Forged, InvalidInput
from fairlead.notice import DIGEST_SIZE, MAX_DELIVERED, REF_SIZE, open_with, verify_by_one
from fairlead.partners import Partner

MAX_DECOYS = 1_000
"""Decoys of one node."""
PADDED = 16 * 1024
"""Octets before sealing."""

_DOMAIN = "decoy-list"
_SIGNATURE = 64
_UNTIL = struct.Struct(">Q")
_MAX_UNTIL = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoyList:
    """References of entries that are decoys, and when their key stops answering (unix seconds)."""

    refs: frozenset[bytes]
    until: int


def seal_decoys(
    found: DecoyList, *, owner: str, manifest: bytes, reader: Partner, key: Ed25519PrivateKey
) -> bytes:
    """Sign and seal the decoys of a manifest (its SHA-256) for one reader's oversight.

    :param key: the owner's signing key. :raises InvalidInput: ``DECOYS``, too many, or no digest.
    """
    if len(found.refs) > MAX_DECOYS or len(manifest) != DIGEST_SIZE:
        raise InvalidInput("a list of decoys cannot be written", reasons=("DECOYS",))
    body = _UNTIL.pack(found.until) + b"".join(sorted(found.refs))
    bound = _bound(owner, manifest, reader.partner_id)
    framed = signing.sign(key, _DOMAIN, bound + body) + body
    return sealing.seal(sealing.pad(framed, PADDED), reader.oversight_key, info=_info(bound))


def open_decoys(
    sealed: bytes,
    *,
    owner: str,
    manifest: bytes,
    reader: str,
    keys: Sequence[sealing.SealingKey],
    signers: Collection[bytes],
) -> DecoyList:
    """Open what an owner sent for this reader's oversight.

    1. It opens, for this owner, manifest and reader. 2. It has the one size. 3. The owner signed it
    for them. 4. It is a list of references.

    :raises Forged: ``UNSEALABLE``, ``PADDING``, ``SIGNATURE`` or ``DECOYS``.
    """
    bound = _bound(owner, manifest, reader)
    # 1
    padded = open_with(keys, sealed, info=_info(bound), limit=MAX_DELIVERED)
    # 2
    framed = sealing.unpad(padded, PADDED)
    # 3
    signature, body = framed[:_SIGNATURE], framed[_SIGNATURE:]
    verify_by_one(signers, _DOMAIN, bound + body, signature)
    # 4
    head, refs = body[: _UNTIL.size], body[_UNTIL.size :]
    count, rest = divmod(len(refs), REF_SIZE)
    if len(head) != _UNTIL.size or rest or count > MAX_DECOYS:
        raise Forged("a list of decoys is not one", reasons=("DECOYS",))
    (until,) = _UNTIL.unpack(head)
    if until >= _MAX_UNTIL:
        raise Forged("a list of decoys is not one", reasons=("DECOYS",))
    found = frozenset(refs[at : at + REF_SIZE] for at in range(0, len(refs), REF_SIZE))
    return DecoyList(refs=found, until=until)


def _bound(owner: str, manifest: bytes, reader: str) -> bytes:
    return manifest + owner.encode("ascii") + b"\x00" + reader.encode("ascii") + b"\x00"


def _info(bound: bytes) -> bytes:
    return b"fairlead/v1/decoy-list\x00" + bound
