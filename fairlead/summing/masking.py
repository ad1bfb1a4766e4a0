"""Vectors of integers mod 2¹²⁸, and masks that cancel when all participants' vectors are added.

A vector is little-endian words of 16 octets. Each pair of participants has a stream of words,
AES-256-CTR under HMAC-SHA256(seed, binding); the participant whose id comes first adds it, the
other subtracts it (Bonawitz et al. 2017, without its recovery of drop-outs: who could unmask a
missing node's vector could unmask one that is only said to be missing).

Words are added many at a time: even and odd ones lie in two integers of 256-bit lanes, in which
carries have room.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fairlead.errors import Forged, InvalidInput, OperatorError
from fairlead.summing.binding import Binding
from fairlead.summing.pairs import SEED_SIZE

WORD_SIZE = 16
MAX_WORDS = 2**17


class ParticipantMissing(OperatorError):
    """One of the list has sent nothing: nothing is summed, for parts of a list are nobody's."""

    status = "UNAVAILABLE"
    default_code = "PARTICIPANT_MISSING"
    exit_code = 7


def mask(
    values: Sequence[int],
    own: str,
    others: Collection[str],
    seeds: Mapping[str, bytes],
    binding: Binding,
) -> bytes:
    """The vector of ``values`` under the masks of ``own`` with each of ``others``.

    A binding is used for one vector only, or the difference of two shows: that is for whoever
    keeps what was sent (:mod:`fairlead.summing.rounds`).

    :param seeds: of each of ``others``, what :func:`fairlead.summing.pair_seed` gives.
    :raises InvalidInput: VECTOR: too many words, or a value outside ±2¹²⁷; PARTICIPANTS.
    """
    if own in others or not others:
        raise InvalidInput("a vector is masked against all others", reasons=("PARTICIPANTS",))
    lanes, context = _Lanes(len(values)), binding.to_bytes()
    lanes.add(pack(values))
    for other in others:
        stream = _stream(seeds[other], context, lanes.size)
        (lanes.add if own < other else lanes.subtract)(stream)
    return lanes.to_bytes()


def sum_of(
    vectors: Mapping[str, bytes], length: int, participants: Collection[str]
) -> tuple[int, ...]:
    """The sum of exactly the participants' vectors, word by word, from -2¹²⁷ up.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS: one of somebody else, or of another length.
    """
    if not participants or not vectors.keys() >= {*participants}:
        raise ParticipantMissing(
            "a participant of the list has not sent its vector",
            remedy="ask again once all participants' nodes run: fairlead partners",
        )
    lanes = _Lanes(length)
    if len(vectors) != len({*participants}) or {len(v) for v in vectors.values()} != {lanes.size}:
        raise Forged("a masked vector is of another length or node", reasons=("VECTORS",))
    for vector in vectors.values():
        lanes.add(vector)
    return unpack(lanes.to_bytes())


def pack(values: Sequence[int]) -> bytes:
    """Words of integers from -2¹²⁷ up.

    :raises InvalidInput: VECTOR.
    """
    try:
        return b"".join(value.to_bytes(WORD_SIZE, "little", signed=True) for value in values)
    except OverflowError:
        raise InvalidInput("a value is too large to be summed", reasons=("VECTOR",)) from None


def unpack(vector: bytes) -> tuple[int, ...]:
    """Undo :func:`pack` of whole words."""
    places = range(0, len(vector), WORD_SIZE)
    return tuple(
        int.from_bytes(vector[at : at + WORD_SIZE], "little", signed=True) for at in places
    )


def _stream(seed: bytes, context: bytes, size: int) -> bytes:
    """So many octets of a pair's mask. The key is used once, hence the counter begins at 0."""
    if len(seed) != SEED_SIZE:
        raise InvalidInput("a pair's seed has 32 octets", reasons=("SEED",))
    key = hmac.digest(seed, context, "sha256")
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))


class _Lanes:
    """A sum of vectors: even words in one integer, odd ones in another, 256 bits a word."""

    __slots__ = ("_carry", "_even", "_low", "_odd", "size")

    def __init__(self, words: int) -> None:
        if not 0 <= words <= MAX_WORDS:
            raise InvalidInput("a vector has too many words", reasons=("VECTOR",))
        self.size = words * WORD_SIZE
        self._low, self._carry = _constants((words + 1) // 2)
        self._even = self._odd = 0

    def add(self, vector: bytes) -> None:
        """Add a vector of :attr:`size` octets; up to 2¹²⁶ of them have room."""
        even, odd = self._split(vector)
        self._even += even
        self._odd += odd

    def subtract(self, vector: bytes) -> None:
        """Add 2¹²⁸ less each word: no lane borrows from its neighbour."""
        even, odd = self._split(vector)
        self._even += self._carry - even
        self._odd += self._carry - odd

    def _split(self, vector: bytes) -> tuple[int, int]:
        whole = int.from_bytes(vector, "little")
        return whole & self._low, whole >> 128 & self._low

    def to_bytes(self) -> bytes:
        """The sum's words, each mod 2¹²⁸."""
        whole = self._even & self._low | (self._odd & self._low) << 128
        return whole.to_bytes(self.size, "little")


@lru_cache(maxsize=8)
def _constants(lanes: int) -> tuple[int, int]:
    """In each lane 2¹²⁸ - 1, and in each 2¹²⁸."""
    low, zero = b"\xff" * WORD_SIZE, bytes(WORD_SIZE)
    one = (1).to_bytes(WORD_SIZE, "little")
    return int.from_bytes((low + zero) * lanes, "little"), int.from_bytes(
        (zero + one) * lanes, "little"
    )
