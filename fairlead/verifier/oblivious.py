"""RFC 9497 in verifiable mode, ristretto255-SHA512, as far as a reader needs it: blinds, proofs of
evaluation and outputs; and the entries of a blind index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from fairlead.verifier.finding import EvidenceFailed, require
from fairlead.verifier.group import (
    BASE_POINT,
    GROUP_ORDER,
    NEUTRAL,
    Point,
    add_points,
    decode_point,
    encode_point,
    point_of_hash,
    times,
)

ELEMENT = 32
PROOF_BATCH = 1000
ENTRY, TAG, ENTRIES_PER_PAGE = 96, 16, 16
_SUITE_NAME = b"OPRFV1-\x01-ristretto255-SHA512"
_UNPROVED = "holds evaluations that are not proved under the manifest's key"


def oprf_input(norm_version: int, scheme: str, value: str) -> bytes:
    """What a term becomes before it is hashed."""
    text, name = value.encode("utf-8", "surrogatepass"), scheme.encode()
    head = norm_version.to_bytes(2, "big") + bytes([len(name)]) + name
    return head + len(text).to_bytes(2, "big") + text


def blinds_of(seed: bytes, owner: str, chunk: int, count: int) -> list[int]:
    """The blinds of a chunk for one owner, which follow from the query's seed."""
    place, person = chunk.to_bytes(4, "big") + owner.encode(), b"fairlead blind 1"
    key = hashlib.blake2b(place, key=seed, person=person).digest()
    found = []
    for index in range(count):
        data = index.to_bytes(4, "big")
        octets = hashlib.blake2b(data, key=key, person=person).digest()
        found.append(int.from_bytes(octets, "little") % GROUP_ORDER)
    return found


def blinded_element(data: bytes, blind: int) -> bytes:
    """An input hidden behind its blind: 32 octets."""
    return encode_point(times(blind, point_of_hash(_expanded(data, b"HashToGroup-"))))


def oprf_output(data: bytes, blind: int, element: bytes) -> bytes:
    """What an evaluated element becomes without its blind: 64 octets."""
    point = encode_point(times(pow(blind, -1, GROUP_ORDER), decode_point(element)))
    return hashlib.sha512(_sized(data) + _sized(point) + b"Finalize").digest()


def require_evaluated(
    public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proofs: bytes
) -> None:
    """Every batch of elements is multiplied by the secret of ``public``: VerifyProof (2.2.2).

    :raises EvidenceFailed: it is not proved.
    """
    starts = range(0, len(blinded), PROOF_BATCH)
    require(len(evaluated) == len(blinded) and len(proofs) == 64 * len(starts), _UNPROVED)
    for number, at in enumerate(starts):
        proof = proofs[64 * number : 64 * number + 64]
        one, other = blinded[at : at + PROOF_BATCH], evaluated[at : at + PROOF_BATCH]
        _require_proof(public, one, other, proof)


def _require_proof(
    public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes
) -> None:
    challenge = int.from_bytes(proof[:32], "little")
    response = int.from_bytes(proof[32:], "little")
    require(0 < challenge < GROUP_ORDER and 0 < response < GROUP_ORDER, _UNPROVED)
    key = decode_point(public)
    seed = hashlib.sha512(_sized(public) + _sized(b"Seed-" + _SUITE_NAME)).digest()
    asked: Point = NEUTRAL
    answered: Point = NEUTRAL
    for index, (one, other) in enumerate(zip(blinded, evaluated, strict=True)):
        said = _sized(seed) + index.to_bytes(2, "big") + _sized(one) + _sized(other)
        weight = _scalar(said + b"Composite")
        asked = add_points(asked, times(weight, decode_point(one)))
        answered = add_points(answered, times(weight, decode_point(other)))
    first = add_points(times(response, BASE_POINT), times(challenge, key))
    second = add_points(times(response, asked), times(challenge, answered))
    points = [public, *map(encode_point, (asked, answered, first, second))]
    require(_scalar(b"".join(map(_sized, points)) + b"Challenge") == challenge, _UNPROVED)


def entry_key(audience: bytes, epoch: int, output: bytes) -> tuple[bytes, bytes]:
    """The tag of a term's entry, and the key of what it says."""
    bound = audience + epoch.to_bytes(4, "big")
    derived = hashlib.blake2b(bound, digest_size=48, key=output, person=b"fairlead entry 1")
    return derived.digest()[:TAG], derived.digest()[TAG:]


def open_entry(entry: bytes, key: bytes) -> bytes:
    """The 64 octets that an entry says. :raises EvidenceFailed: it does not open."""
    try:
        return AESGCMSIV(key).decrypt(bytes(12), entry[TAG:], entry[:TAG])
    except (InvalidTag, ValueError):
        raise EvidenceFailed("has an index entry that does not open for its term") from None


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part


def _scalar(message: bytes) -> int:
    return int.from_bytes(_expanded(message, b"HashToScalar-"), "little") % GROUP_ORDER


def _expanded(message: bytes, tag: bytes) -> bytes:
    """expand_message_xmd with SHA-512 to 64 octets (RFC 9380, 5.3.1)."""
    tag += _SUITE_NAME
    suffix = tag + bytes([len(tag)])
    first = hashlib.sha512(bytes(128) + message + b"\x00\x40\x00" + suffix).digest()
    return hashlib.sha512(first + b"\x01" + suffix).digest()
