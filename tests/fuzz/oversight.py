"""Oversight: notices and lists of decoys, sealed by a stranger or signed by a node taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import decoys, notice, sealing, signing
from tests.fuzz.target import Target

PARTNER, OWNER = "customs", "terminal-north"
MANIFEST = bytes(32)


class _Reader:
    """As much of a partner as is sealed to."""

    def __init__(self, key: sealing.SealingKey) -> None:
        self.partner_id = PARTNER
        self.oversight_key = key.public_bytes()


def targets() -> Iterator[Target]:
    """Both parsers, each from outside and behind seal and signature."""
    key, signer = sealing.SealingKey(bytes(range(96))), Ed25519PrivateKey.generate()
    reader: Any = _Reader(key)
    trusted: dict[str, Any] = {"keys": [key], "signers": [signing.public_bytes(signer)]}
    read = partial(notice.open_notice, partner_id=PARTNER, **trusted)
    said = [
        notice.Notice(series=bytes(16), number=1, at=1, content=content) for content in _contents()
    ]
    yield Target(
        name="notice", seeds=[notice.seal_notice(item, reader, signer) for item in said],
        attempt=read,
    )  # fmt: skip
    bodies = [key.open(notice.seal_notice(i, reader, signer), info=_NOTICE) for i in said]
    yield Target(
        name="notice-body",
        seeds=[sealing.unpad(body, len(body))[64:] for body in bodies],
        attempt=lambda data: read(_signed(data, "oversight-notice", b"", reader, signer, _NOTICE)),
    )
    named: dict[str, Any] = {"owner": OWNER, "manifest": MANIFEST}
    opened = partial(decoys.open_decoys, reader=PARTNER, **named, **trusted)
    found = decoys.DecoyList(refs=frozenset({bytes(16)}), until=9)
    listed = decoys.seal_decoys(found, reader=reader, key=signer, **named)
    yield Target(name="decoy-list", seeds=[listed], attempt=opened)
    yield Target(
        name="decoy-list-body",
        seeds=[bytes(8) + bytes(32)],
        attempt=lambda data: opened(_signed(data, "decoy-list", _BOUND, reader, signer, _LIST)),
    )


_NOTICE = b"fairlead/v1/oversight-notice\x00" + PARTNER.encode()
_BOUND = MANIFEST + OWNER.encode() + b"\x00" + PARTNER.encode() + b"\x00"
_LIST = b"fairlead/v1/decoy-list\x00" + _BOUND
_SIZES: dict[str, Callable[[int], int]] = {
    "oversight-notice": lambda size: next((r for r in notice.RUNGS if size + 68 <= r), 0),
    "decoy-list": lambda _: decoys.PADDED,
}


def _signed(
    data: bytes, domain: str, bound: bytes, reader: _Reader, signer: Ed25519PrivateKey, info: bytes
) -> bytes:
    """``data`` as somebody with the right key would send it."""
    framed = signing.sign(signer, domain, bound + data) + data
    padded = sealing.pad(framed, _SIZES[domain](len(data)))
    return sealing.seal(padded, reader.oversight_key, info=info)


def _contents() -> Iterator[notice.Content]:
    asked = notice.Asked(
        query_id=bytes(16), partner=PARTNER, user="u-c01", purpose="drug-trafficking",
        case_commitment=bytes(32), at=1,
    )  # fmt: skip
    hit = notice.Hit(owner=OWNER, manifest=MANIFEST, ref=bytes(16))
    yield notice.Hits(asked=asked, hits=(hit, hit))
    yield notice.FollowUps(found=(notice.FollowUp(asked=asked, decoys=(bytes(8),)),))
    yield notice.Delivered(owner=OWNER, manifest=MANIFEST, sealed=b"sealed")
