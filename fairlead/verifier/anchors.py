"""Trust anchors, and the directories that rest on them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.verifier.finding import EvidenceFailed, naming, reading, require
from fairlead.verifier.note import signed_by
from fairlead.verifier.wire import Content, read_message

SKEW = 120
"""Seconds that two clocks may differ."""
_UNREADABLE = "cannot be read as trust anchors"


@dataclass(frozen=True)
class Anchors:
    """What was compared out of band: operators' Ed25519 keys, SHA-256 of each partner's root."""

    federation: str
    operators: tuple[bytes, ...]
    roots: Mapping[str, bytes]

    def fingerprint(self) -> str:
        """One number for all of them, 64 hexadecimal digits, to be read aloud."""
        lines = [self.federation, *sorted(key.hex() for key in self.operators)]
        lines += [f"{partner} {pin.hex()}" for partner, pin in sorted(self.roots.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Listing:
    """A verified directory; ``partners`` are those whose root is among the anchors."""

    federation: str
    serial: int
    issued_at: int
    expires_at: int
    listed: tuple[str, ...]
    partners: Mapping[str, Content]
    gateways: tuple[Content, ...]
    witnesses: tuple[str, ...]

    def partner(self, partner_id: str) -> Content:
        """:raises EvidenceFailed: not listed, or its root is none of the anchors."""
        require(partner_id in self.partners, "names a partner whose root is none of the anchors")
        return self.partners[partner_id]

    def gateway(self, spiffe_id: str = "") -> Content:
        """The one of that name, or any: their log, in which everything stands, is one.

        :raises EvidenceFailed: there is none."""
        found = [one for one in self.gateways if spiffe_id in {"", one["spiffe_id"]}]
        require(found, "is under a directory without that gateway")
        return found[0]

    def place(self, partner_id: str) -> int:
        """A partner's place in every list of digests."""
        require(partner_id in self.listed, "names a partner that the directory does not list")
        return self.listed.index(partner_id)

    def require_in_force(self, moment: int) -> None:
        """:raises EvidenceFailed: it was not in force then (unix seconds)."""
        require(
            self.issued_at - SKEW <= moment < self.expires_at,
            "is under a directory that was not in force then",
        )


def sha256(data: bytes) -> bytes:
    """Its digest."""
    return hashlib.sha256(data).digest()


def committed(nonce: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, as commitments are."""
    return hmac.digest(nonce, data, "sha256")


def in_domain(domain: str, data: bytes) -> bytes:
    """The octets that are signed for ``data``."""
    return b"fairlead/v1/" + domain.encode() + b"\x00" + data


def require_signed(public: bytes, domain: str, data: bytes, signature: bytes, who: str) -> None:
    """:raises EvidenceFailed: ``who`` did not sign it."""
    require(signed_by(public, in_domain(domain, data), signature), f"is not signed by {who}")


def unpacked(text: Any) -> bytes:
    """Octets of base64 in its one spelling. :raises EvidenceFailed: anything else."""
    found: bytes = reading(lambda: base64.b64decode(text, validate=True), "has malformed base64")
    require(base64.b64encode(found).decode() == text, "has malformed base64")
    return found


def read_anchors(data: bytes) -> Anchors:
    """A trust file (TOML), as every participant keeps it.

    :raises EvidenceFailed: it is none.
    """
    content = reading(lambda: tomllib.loads(data.decode()), _UNREADABLE)
    return anchors_of(content | {"roots": content.get("partners")})


def anchors_of(content: Mapping[str, Any]) -> Anchors:
    """The same from names: ``federation``, ``operators``, ``roots``."""

    def read() -> Anchors:
        roots = {str(partner): bytes.fromhex(pin) for partner, pin in content["roots"].items()}
        operators = tuple(bytes.fromhex(key) for key in content["operators"])
        if {len(octets) for octets in (*operators, *roots.values())} != {32}:
            raise ValueError
        return Anchors(str(content["federation"]), operators, roots)

    found: Anchors = reading(read, _UNREADABLE)
    return found


def listing(data: bytes, anchors: Anchors) -> Listing:
    """Verify a directory as transmitted.

    1. Two of the operators signed it. 2. It is of the anchors' federation and in order. 3. Every
    entry whose root is an anchor is signed by that root.

    :raises EvidenceFailed: any of it is wrong.
    """
    # 1
    signed = read_message("SignedDirectory", data)
    _require_operators(signed, anchors)
    # 2
    content = read_message("Directory", signed["directory"])
    require(content["federation"] == anchors.federation, "is of another federation")
    listed: list[str] = []
    partners = {}
    for wrapped in content["partners"]:
        entry = read_message("PartnerEntry", wrapped["entry"])
        name = entry["partner_id"]
        require(not listed or name > listed[-1], "is not in order")
        listed.append(name)
        # 3
        pin = anchors.roots.get(name)
        if pin is None:
            continue
        with naming(f"entry of {name}"):
            require(sha256(entry["root_key"]) == pin, "has a root key that is none of the anchors")
            signature = wrapped["root_signature"]
            root = entry["root_key"]
            require_signed(root, "partner-entry", wrapped["entry"], signature, "its root key")
        partners[name] = entry
    return Listing(
        federation=content["federation"],
        serial=content["serial"],
        issued_at=content["issued_at"],
        expires_at=content["expires_at"],
        listed=tuple(listed),
        partners=partners,
        gateways=tuple(content["gateways"]),
        witnesses=tuple(content["witnesses"]) or tuple(listed),
    )


def _require_operators(signed: Content, anchors: Anchors) -> None:
    known = {sha256(key): key for key in anchors.operators}
    signers = set()
    for item in signed["signatures"][:16]:
        key = known.get(item["key_id"])
        if key is not None:
            require_signed(key, "directory", signed["directory"], item["signature"], "an operator")
            signers.add(item["key_id"])
    if len(signers) < 2:
        raise EvidenceFailed("is not signed by two of the anchors' operators")
