"""Rotating this partner's own keys: the new key beside the old one, and the next entry.

The old key stays in the folder until no query made under the old directory can arrive any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged, NotFound
from fairlead.keyfile import write_private
from fairlead.keyring import load_mask_key, mask_public
from fairlead.sealing import SealingKey
from fairlead.v1 import directory_pb2 as pb


class Kind(StrEnum):
    """Which of the keys that the directory names."""

    SIGNING = "signing"
    SEALING = "sealing"
    WITNESS = "witness"
    MASK = "mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The next entry, as octets to be signed by the root key, and the key file it names."""

    entry: bytes
    sequence: int
    key_file: Path


def listed_entry(transmitted: bytes, partner_id: str) -> bytes:
    """A partner's entry in a directory as transmitted, which has been verified.

    :raises NotFound: not listed.
    """
    signed = signing.parse_canonical(pb.SignedDirectory, transmitted)
    for item in signing.parse_canonical(pb.Directory, signed.directory).partners:
        if signing.parse_canonical(pb.PartnerEntry, item.entry).partner_id == partner_id:
            return item.entry
    raise NotFound("the directory does not list this partner", reasons=("UNKNOWN_PARTNER",))


def rotate(keys: Path, listed: bytes, kind: Kind) -> Rotated:
    """Make the next key of ``kind`` and the next entry that names it.

    A second call before the directory has the entry returns the same key; another kind joins the
    same entry.

    :param listed: the entry in the directory in force.
    """
    current = signing.parse_canonical(pb.PartnerEntry, listed)
    sequence = current.sequence + 1
    place = keys / f"entry-{sequence}.bin"
    base = pb.PartnerEntry.FromString(listed)
    if place.exists():
        pending = signing.parse_canonical(pb.PartnerEntry, place.read_bytes())
        if pending.previous_digest == signing.digest(listed):
            base = pending
    base.sequence, base.previous_digest = sequence, signing.digest(listed)
    if kind in {Kind.SIGNING, Kind.WITNESS}:
        path = keys / f"{kind}-{sequence}.key"
        if not path.exists():
            write_private(path, _pem(Ed25519PrivateKey.generate()))
        public = signing.public_bytes(signing.load_signing_key(path))
        if kind is Kind.SIGNING:
            base.signing_key = public
        else:
            base.witness_key = public
    elif kind is Kind.MASK:
        path = keys / f"mask-{sequence}.key"
        if not path.exists():
            write_private(path, _pem(X25519PrivateKey.generate()))
        base.mask_key = mask_public(load_mask_key(path))
    else:
        path = keys / f"sealing-{sequence}.seed"
        if not path.exists():
            SealingKey.generate().save(path)
        base.sealing_key = SealingKey.load(path).public_bytes()
    entry = signing.canonical(base)
    write_private(place, entry)
    return Rotated(entry=entry, sequence=sequence, key_file=path)


def sign(entry: bytes, root: Ed25519PrivateKey) -> bytes:
    """The entry under the root key, as ``fairlead-gateway partner update`` takes it.

    :raises Forged: another root than the entry's.
    """
    content = signing.parse_canonical(pb.PartnerEntry, entry)
    if content.root_key != signing.public_bytes(root):
        raise Forged("the root key is not this entry's", reasons=("ROOT_KEY",))
    return signing.canonical(
        pb.SignedPartnerEntry(
            entry=entry, root_signature=signing.sign(root, "partner-entry", entry)
        )
    )


def _pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
