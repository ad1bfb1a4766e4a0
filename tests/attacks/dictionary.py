"""A dictionary attack: every candidate, under every public key and nonce, against every octet."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

HASHES = (16, 32)
"""Octets a digest, a commitment or a token may have."""


def values(message: Message) -> Iterator[tuple[str, bytes]]:
    """Every text and octet field anywhere in a message, with its path; nested octets too."""
    for field, value in message.ListFields():
        items = value if field.is_repeated else [value]
        for item in items:
            if isinstance(item, Message):
                yield from ((f"{field.name}.{name}", inner) for name, inner in values(item))
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield field.name, item.encode()
            elif isinstance(item, bytes):
                yield field.name, item


def windows(blobs: Iterable[bytes]) -> set[bytes]:
    """Every run of 16 or 32 octets in any blob: where a digest could hide."""
    return {
        blob[start : start + size]
        for blob in blobs
        for size in HASHES
        for start in range(len(blob) - size + 1)
    }


def salts(blobs: Iterable[bytes]) -> set[bytes]:
    """What could have been a key, salt or nonce: no key, zeroes, and every short field seen."""
    fixed = {b"", bytes(16), bytes(32), b"\x01" * 32}
    return fixed | {blob for blob in blobs if len(blob) in HASHES}


def spellings(term: str, scheme: str = "container") -> list[bytes]:
    """How one term could have been written before hashing."""
    forms = [term, term.lower(), f"{term[:4]} {term[4:10]} {term[10:]}", f"{term[:4]}{term[4:10]}"]
    return [
        *(form.encode() for form in forms),
        f"{scheme}:{term}".encode(),
        f"{scheme}|{term}".encode(),
        scheme.encode() + b"\x00" + term.encode(),
        scheme.encode() + term.encode(),
    ]


def guesses(texts: Iterable[bytes], keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(guess, text) for every text under every key, by every construction in use anywhere."""
    for text, key in itertools.product(texts, keys):
        yield hashlib.sha256(key + text).digest(), text
        yield hashlib.sha256(text + key).digest(), text
        yield hashlib.sha256(b"\x00" + key + text).digest(), text
        yield hashlib.sha256(b"\x00" + text + key).digest(), text
        yield hmac.digest(key, text, "sha256"), text
        yield hmac.digest(text, key, "sha256"), text
        if len(key) <= 64:
            for size in HASHES:
                yield hashlib.blake2b(text, digest_size=size, key=key).digest(), text


def found(
    texts: Iterable[bytes], *, seen: Iterable[bytes], keys: Iterable[bytes] = ()
) -> set[bytes]:
    """The texts that some octets of ``seen`` give away, in clear or as a digest.

    :param keys: what the attacker knows besides; every short field seen is tried anyway.
    """
    blobs = list(seen)
    texts = list(texts)
    targets = windows(blobs)
    shown = {text for text in texts if any(text in blob for blob in blobs)}
    tried = salts(blobs) | set(keys)
    return shown | {
        text for guess, text in guesses(texts, tried) if guess in targets or guess[:16] in targets
    }
