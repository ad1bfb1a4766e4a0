"""One batch of decision records, from what was decided to octets and back.

Octets (``DecisionBatch`` in protos/fairlead/v1/decisions.proto)::

    records   zlib of JSON {"outcomes": […], "records": [{id, point, engine, serial, time_ms,
              query, digest, outcome}, …]}; an outcome is {place: index in "outcomes"}
    sealed    nonce and AES-256-GCM of zlib, padded, of: salt (32 octets), then framed by their
              length (4 octets, big-endian): such a JSON again, of what was decided over records,
              and every input, those of "records" first

What depends on records (the point *release*) stands in the sealed part alone, because a reader of
the log's file must not learn from it what was a hit. The digest of an input is the SHA-256 of salt
and input: an input is guessable, its digest must not be. The content key of an hour is sealed once
(HPKE) to the replay key, and lives in the process's memory alone. Everything else of the batch is
authenticated with the sealed part, so that neither it nor an input can be moved to another place.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import sealing, signing
from fairlead.errors import Forged, InvalidInput
from fairlead.policy.decision import Decision
from fairlead.policy.engine import POINTS
from fairlead.policy.inputs import Document
from fairlead.policy.recorded import Decisions, Outcome, Recorded, malformed, places
from fairlead.v1 import decisions_pb2 as pb

PRIVATE = frozenset({"release"})
"""Points whose decisions depend on records."""
SALT = 32
NONCE = 12
PAD, PRIVATE_PAD = 256, 4096
"""What is sealed of inputs takes a multiple of so many octets; of more for each query's part that
depends on records."""
SHARE_SPARE = 128
"""More than a query's part may grow by standing beside others."""
LEVEL = 1
MAX_BATCH = 4 * 1024 * 1024 - 4096
"""Octets of a batch: it fits into one message."""
MAX_PLAIN = 64 * 1024 * 1024
"""Octets of a part of it, decompressed."""
MAX_RECORDS = 65_536

Random = Callable[[int], bytes]


class Pending(NamedTuple):
    """One evaluation before it is written down; a tuple, because every query makes several."""

    decision_id: bytes
    point: str
    engine: str
    policy_serial: int
    time_ms: int
    query_id: bytes
    document: Document
    decisions: Decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentKey:
    """The key of one hour, and what of it is written: itself sealed to the replay key."""

    hour: int
    cipher: AESGCM
    sealed: bytes
    key_id: bytes

    @classmethod
    def make(
        cls, log: str, hour: int, replay_key: bytes, random: Random = os.urandom
    ) -> ContentKey:
        """A new one. :raises InvalidInput: ``replay_key`` is not a sealing key."""
        key = random(32)
        sealed = sealing.seal(key, replay_key, info=_info(log))
        return cls(hour=hour, cipher=AESGCM(key), sealed=sealed, key_id=signing.digest(sealed))


def _info(log: str) -> bytes:
    return b"fairlead/v1/decision-key\x00" + log.encode()


# ── Writing ──────────────────────────────────────────────────────────────────────────────────


def write_batch(
    pending: Sequence[Pending],
    *,
    number: int,
    previous: bytes,
    log: str,
    time_ms: int,
    key: ContentKey | None,
    random: Random = os.urandom,
) -> bytes:
    """The octets of a batch. Without a key what depends on records is left out, and every input."""
    shown = [item for item in pending if item.point not in PRIVATE]
    private = [item for item in pending if item.point in PRIVATE]
    salt = random(SALT) if key else b""
    inputs = [orjson.dumps(item.document) for item in (*shown, *private)] if key else []
    digests = [hashlib.sha256(salt + octets).hexdigest() for octets in inputs] or [""] * len(shown)
    batch = pb.DecisionBatch(
        number=number,
        previous=previous,
        log=log,
        time_ms=time_ms,
        records=zlib.compress(_rows(shown, digests[: len(shown)]), LEVEL),
    )
    if key is not None:
        batch.key = key.key_id
        rows = _rows(private, digests[len(shown) :])
        plain = zlib.compress(salt + b"".join(_framed(item) for item in (rows, *inputs)), LEVEL)
        room = _room(salt, inputs[: len(shown)], private, inputs[len(shown) :])
        padded = sealing.pad(plain, max(room, _multiple(len(plain) + 4, PAD)))
        nonce = random(NONCE)
        batch.sealed = nonce + key.cipher.encrypt(nonce, padded, signing.canonical(batch))
    return signing.canonical(batch)


def _room(
    salt: bytes, shown: Sequence[bytes], private: Sequence[Pending], inputs: Sequence[bytes]
) -> int:
    """Octets for the sealed part: each query's share in it is rounded up by itself, so that many
    queries with small differences do not add up to one that shows."""
    if not private:
        return 0
    queries: dict[bytes, list[tuple[Pending, bytes]]] = {}
    for item, octets in zip(private, inputs, strict=True):
        queries.setdefault(item.query_id or item.decision_id, []).append((item, octets))
    room = _multiple(len(zlib.compress(salt + b"".join(map(_framed, shown)), LEVEL)) + 4, PAD)
    for share in queries.values():
        rows = _rows([item for item, _ in share], [hashlib.sha256(o).hexdigest() for _, o in share])
        whole = rows + b"".join(_framed(octets) for _, octets in share)
        room += _multiple(len(zlib.compress(whole, LEVEL)) + SHARE_SPARE, PRIVATE_PAD)
    return room


def _multiple(size: int, of: int) -> int:
    return -(-size // of) * of


def _rows(pending: Sequence[Pending], digests: Sequence[str]) -> bytes:
    """Records as JSON; outcomes that are alike stand there once."""
    outcomes: dict[bytes, int] = {}
    known: dict[int, int] = {}  # engines' outputs read lately are the same objects

    def place(decision: Decision) -> int:
        found = known.get(id(decision))
        if found is None:
            octets = orjson.dumps(Outcome.of(decision).to_json())
            found = known[id(decision)] = outcomes.setdefault(octets, len(outcomes))
        return found

    records = [
        {
            "id": item.decision_id.hex(),
            "point": item.point,
            "engine": item.engine,
            "serial": item.policy_serial,
            "time_ms": item.time_ms,
            "query": item.query_id.hex(),
            "digest": digest,
            "outcome": {name: place(decision) for name, decision in places(item.decisions).items()},
        }
        for item, digest in zip(pending, digests, strict=True)
    ]
    return orjson.dumps(
        {"outcomes": [orjson.Fragment(octets) for octets in outcomes], "records": records}
    )


def _framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it is kept: its place in the chain, and the records that are not sealed."""

    octets: bytes
    number: int
    previous: bytes
    log: str
    time_ms: int
    key_id: bytes
    records: tuple[Recorded, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the octets: what the leaf names, and the next batch."""
        return signing.digest(self.octets)


def read_batch(octets: bytes) -> Batch:
    """Read a batch as far as it is not sealed; whether it is the one of a log is not asked here.

    :raises InvalidInput: not a batch.
    """
    batch = signing.parse_canonical(pb.DecisionBatch, octets, limit=MAX_BATCH)
    sealed = len(batch.sealed)
    if len(batch.previous) != 32 or batch.number < 1 or bool(batch.key) != bool(sealed):
        raise malformed()
    if batch.key and (len(batch.key) != 32 or sealed < NONCE + 16 + PAD):
        raise malformed()
    return Batch(
        octets=octets,
        number=batch.number,
        previous=batch.previous,
        log=batch.log,
        time_ms=batch.time_ms,
        key_id=batch.key,
        records=tuple(_records(_inflated(batch.records))),
    )


def open_key(sealed: bytes, log: str, private: sealing.SealingKey) -> AESGCM:
    """The content key behind ``sealed``, of the log it is said to be of.

    :raises Forged: UNSEALABLE: sealed to another replay key, of another log, or altered.
    """
    key = private.open(sealed, info=_info(log))
    if len(key) != 32:
        raise Forged("a content key is none", reasons=("UNSEALABLE",))
    return AESGCM(key)


def open_batch(batch: Batch, key: AESGCM) -> tuple[Recorded, ...]:
    """Every record of a sealed batch with its input, those over records behind the others.

    :raises Forged: UNSEALABLE: another key, or altered; DECISION_INPUT: an input is not the one
        that its record names.
    """
    message = pb.DecisionBatch.FromString(batch.octets)
    sealed, message.sealed = message.sealed, b""
    try:
        padded = key.decrypt(sealed[:NONCE], sealed[NONCE:], signing.canonical(message))
    except (InvalidTag, ValueError):
        raise Forged("sealed decision records do not open", reasons=("UNSEALABLE",)) from None
    plain = _inflated(sealing.unpad(padded, len(padded)))
    salt, rest = plain[:SALT], plain[SALT:]
    rows, *inputs = _frames(rest)
    records = [*batch.records, *_records(rows)]
    if len(records) != len(inputs):
        raise malformed()
    return tuple(
        _with_input(record, salt, octets) for record, octets in zip(records, inputs, strict=True)
    )


def _with_input(record: Recorded, salt: bytes, octets: bytes) -> Recorded:
    if hashlib.sha256(salt + octets).digest() != record.digest:
        raise Forged("a policy input is not the one of its record", reasons=("DECISION_INPUT",))
    document = _json(octets)
    if not isinstance(document, dict) or document.get("point") != record.point:
        raise Forged("a policy input is not the one of its record", reasons=("DECISION_INPUT",))
    return replace(record, document=document)


def _frames(octets: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(octets):
        end = at + 4 + int.from_bytes(octets[at : at + 4], "big")
        if end > len(octets) or len(found) > MAX_RECORDS:
            raise malformed()
        found.append(octets[at + 4 : end])
        at = end
    if not found:
        raise malformed()
    return found


def _inflated(octets: bytes) -> bytes:
    """Decompress, with a limit. :raises InvalidInput: not zlib, cut, followed, or too large."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(octets, MAX_PLAIN)
    except zlib.error:
        raise malformed() from None
    if not inflater.eof or inflater.unused_data:
        raise malformed()
    return plain


def _json(octets: bytes) -> Any:
    try:
        return orjson.loads(octets)
    except orjson.JSONDecodeError:
        raise malformed() from None


def _records(octets: bytes) -> Iterable[Recorded]:
    content = _json(octets)
    try:
        if content.keys() != {"outcomes", "records"} or len(content["records"]) > MAX_RECORDS:
            raise ValueError
        outcomes = [Outcome.from_json(item) for item in content["outcomes"]]
        return [_record(item, outcomes) for item in content["records"]]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise malformed() from None


def _record(item: Any, outcomes: Sequence[Outcome]) -> Recorded:
    by_place = item["outcome"]
    if item["point"] not in POINTS or not by_place or type(item["serial"]) is not int:
        raise ValueError
    if not all(type(n) is int and 0 <= n < len(outcomes) for n in by_place.values()):
        raise ValueError
    found = Recorded(
        decision_id=bytes.fromhex(item["id"]),
        point=item["point"],
        engine=item["engine"],
        policy_serial=item["serial"],
        time_ms=item["time_ms"],
        query_id=bytes.fromhex(item["query"]),
        digest=bytes.fromhex(item["digest"]),
        outcomes={name: outcomes[place] for name, place in by_place.items()},
    )
    whole = len(found.decision_id) == 16 and len(found.digest) in (0, 32)
    if not whole or type(found.time_ms) is not int or not isinstance(found.engine, str):
        raise ValueError
    return found


def check_key(sealed: bytes, key_id: bytes) -> None:
    """:raises InvalidInput: DECISION_KEY: not the content key that a batch names."""
    if signing.digest(sealed) != key_id:
        raise InvalidInput("a content key is not the one of its batch", reasons=("DECISION_KEY",))
