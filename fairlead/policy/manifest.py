"""The release manifest: what a policy consists of, and who said that it shall decide.

``manifest.json`` is ``{"manifest": {…}, "signatures": [{"key", "signature"}, …]}``. Signed are, in
domain ``policy``, the octets of :func:`canonical` over the inner object: JSON with sorted keys, no
white space, ASCII. Signatures are beside it, so a second person may sign later without changing
what was signed. A release's identity is the SHA-256 of those octets.

::

    {"schema": 2, "serial": 7, "previous": "<identity of the one before, empty for the first>",
     "kind": "release" | "emergency" | "revert", "revision": "<SHA-256 of the kernel's sources>",
     "issued_at": <Unix s>, "not_after": <Unix s>, "max_age_s": …, "author": "<key id>",
     "data": ["data/agreements.yaml", …], "files": {"policy.wasm": "<SHA-256>", …},
     "tests": "reports/tests.json" | "", "replays": ["reports/replay-customs.json", …],
     "required_checks": {"asking": ["asker_known", …], …}, "note": "one line"}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged, PolicyUnavailable
from fairlead.officers import Officer, key_id
from fairlead.policy.engine import SELF_TEST
from fairlead.policy.reading import REQUIRED

DOMAIN = "policy"
SCHEMA = 2
MANIFEST = "manifest.json"
WASM = "policy.wasm"
MAX_MANIFEST = 256 * 1024
MAX_FILES = 128
MAX_SIGNATURES = 16
MAX_TIME = 2**53
MAX_NOTE = 200
FUTURE_S = 120
"""Seconds by which a release may seem to be issued in the future."""

NAME = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63}/)?[a-z0-9][a-z0-9_.-]{0,63}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")

REQUIRED_CHECKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {kind: tuple(sorted(checks)) for kind, checks in sorted(REQUIRED.items())}
)
"""What every decision has to bring here; a kernel that demands anything else is refused."""


class Kind(StrEnum):
    """Why there is a release. ``emergency``: one person may put it in force, and it may only
    tighten. ``revert``: the files of an older one under a new serial."""

    RELEASE = "release"
    EMERGENCY = "emergency"
    REVERT = "revert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is approved; times are Unix seconds."""

    serial: int
    previous: str
    kind: Kind
    revision: str
    issued_at: int
    not_after: int
    max_age_s: int
    data: tuple[str, ...]
    files: Mapping[str, str]
    author: str
    tests: str = ""
    replays: tuple[str, ...] = ()
    required_checks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: REQUIRED_CHECKS)
    note: str = ""

    @property
    def identity(self) -> str:
        """SHA-256 of what is signed, in hexadecimal."""
        return hashlib.sha256(canonical(self)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifest:
    """A manifest with the signatures it has so far: key id → signature, both in hexadecimal."""

    manifest: Manifest
    signatures: tuple[tuple[str, str], ...] = ()

    def signed_by(self, private: Ed25519PrivateKey) -> SignedManifest:
        """With one more signature; the same key signs once."""
        own = key_id(signing.public_bytes(private))
        others = tuple(item for item in self.signatures if item[0] != own)
        made = signing.sign(private, DOMAIN, canonical(self.manifest)).hex()
        return SignedManifest(manifest=self.manifest, signatures=(*others, (own, made)))

    def with_signatures(self, signatures: Sequence[tuple[str, str]]) -> SignedManifest:
        """With others' signatures of the same manifest; of one key the one it has."""
        merged = {**dict(signatures), **dict(self.signatures)}
        return SignedManifest(manifest=self.manifest, signatures=tuple(sorted(merged.items())))

    def to_bytes(self) -> bytes:
        """The octets of ``manifest.json``."""
        document = {
            "manifest": _plain(self.manifest),
            "signatures": [{"key": k, "signature": s} for k, s in sorted(self.signatures)],
        }
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who approved: the author, and everybody else, one officer for each person."""

    author: Officer
    others: tuple[Officer, ...]
    complete: bool
    """Two people (for the federation's policy: of two organisations) approved."""


def canonical(manifest: Manifest) -> bytes:
    """The octets that are signed."""
    return json.dumps(_plain(manifest), sort_keys=True, separators=(",", ":")).encode("ascii")


def parse_manifest(content: bytes) -> SignedManifest:
    """Read ``manifest.json``; what it says is not believed yet.

    :raises PolicyUnavailable: POLICY_MALFORMED.
    """
    try:
        if len(content) > MAX_MANIFEST:
            raise ValueError
        document = json.loads(content, object_pairs_hook=_no_repetition)
        if document.keys() != {"manifest", "signatures"}:
            raise ValueError
        return SignedManifest(
            manifest=_manifest(document["manifest"]),
            signatures=_signatures(document["signatures"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise unavailable("POLICY_MALFORMED", "a policy manifest is not well formed") from None


def approved(
    signed: SignedManifest, officers: Sequence[Officer], *, two_organisations: bool
) -> Approval:
    """Who approved a manifest. Two people must, and each counts once, however many keys it holds.

    1. Every signature of a listed officer verifies; strangers' are nobody's.
    2. The author is an officer, and signed.
    3. A second person signed; for the federation's policy one of another organisation.
    4. Only an emergency goes without, and is then not complete.

    :raises PolicyUnavailable: POLICY_TAMPERED, POLICY_UNDERSIGNED (nobody, or one signature),
        POLICY_SAME_PERSON, POLICY_SAME_ORGANISATION.
    """
    # 1
    content = canonical(signed.manifest)
    known = {officer.key_id: officer for officer in officers}
    signers = [(known[name], made) for name, made in signed.signatures if name in known]
    for officer, made in signers:
        try:
            signing.verify(officer.key, DOMAIN, content, bytes.fromhex(made))
        except Forged:
            raise unavailable(
                "POLICY_TAMPERED", "a signature on the policy manifest does not verify"
            ) from None
    # 2
    author = next((o for o, _ in signers if o.key_id == signed.manifest.author), None)
    if author is None:
        raise unavailable("POLICY_UNDERSIGNED", "the author of a policy has not signed it")
    # 3
    others = {o.person: o for o, _ in signers if o.person != author.person}
    apart = [o for o in others.values() if o.organisation != author.organisation]
    found = tuple(others.values())
    if apart or (found and not two_organisations):
        return Approval(author=author, others=found, complete=True)
    # 4
    if signed.manifest.kind is Kind.EMERGENCY:
        return Approval(author=author, others=found, complete=False)
    if found:
        raise unavailable(
            "POLICY_SAME_ORGANISATION", "both people who approved a policy work for one partner"
        )
    if len({officer.key for officer, _ in signers}) > 1:
        raise unavailable("POLICY_SAME_PERSON", "one person approved a policy with several keys")
    raise unavailable("POLICY_UNDERSIGNED", "two different people must approve a policy")


def unavailable(code: str, message: str, remedy: str = "") -> PolicyUnavailable:
    """A policy that is none."""
    remedy = remedy or _REMEDIES.get(
        code, "install the bundle the security officers published last"
    )
    return PolicyUnavailable(message, reasons=(code,), remedy=remedy)


_REMEDIES = {
    "POLICY_UNDERSIGNED": "have a second officer run: fairlead policy sign DIR --key FILE",
    "POLICY_SAME_PERSON": "have another person run: fairlead policy sign DIR --key FILE",
    "POLICY_SAME_ORGANISATION": "have an officer of another partner run: "
    "fairlead policy sign DIR --key FILE",
}


# ── Parsing ──────────────────────────────────────────────────────────────────────────────────


def _plain(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "serial": manifest.serial,
        "previous": manifest.previous,
        "kind": manifest.kind.value,
        "revision": manifest.revision,
        "issued_at": manifest.issued_at,
        "not_after": manifest.not_after,
        "max_age_s": manifest.max_age_s,
        "data": list(manifest.data),
        "files": dict(manifest.files),
        "author": manifest.author,
        "tests": manifest.tests,
        "replays": list(manifest.replays),
        "required_checks": {k: list(v) for k, v in manifest.required_checks.items()},
        "note": manifest.note,
    }


_KEYS = {
    "schema", "serial", "previous", "kind", "revision", "issued_at", "not_after", "max_age_s",
    "data", "files", "author", "tests", "replays", "required_checks", "note",
}  # fmt: skip


def _manifest(inner: dict[str, Any]) -> Manifest:
    if inner.keys() != _KEYS or type(inner["schema"]) is not int or inner["schema"] != SCHEMA:
        raise ValueError
    files = _files(inner["files"])
    data, replays = _names(inner["data"], files), _names(inner["replays"], files)
    tests, serial, previous = inner["tests"], _number(inner["serial"]), inner["previous"]
    if not data or (tests != "" and tests not in files):
        raise ValueError
    if previous != "" and not _DIGEST.match(previous):
        raise ValueError
    return Manifest(
        serial=serial,
        previous=previous,
        kind=Kind(inner["kind"]),
        revision=_digest(inner["revision"]),
        issued_at=_number(inner["issued_at"]),
        not_after=_number(inner["not_after"]),
        max_age_s=_number(inner["max_age_s"]),
        data=data,
        files=files,
        author=_digest(inner["author"]),
        tests=tests,
        replays=replays,
        required_checks=_checks(inner["required_checks"]),
        note=_note(inner["note"]),
    )


def _files(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_FILES:
        raise ValueError
    if not all(is_name(name) and _DIGEST.match(digest) for name, digest in value.items()):
        raise ValueError
    return MappingProxyType(value)


def is_name(name: str) -> bool:
    """Whether a bundle may have a file of this name beside its manifest: one in a folder, or one of
    the two that stand beside the folders, so that none has a folder's name."""
    if ".." in name or not NAME.match(name):
        return False
    return "/" in name or name in (WASM, SELF_TEST)


def _names(value: object, files: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError
    if not set(value) <= files.keys() or len(set(value)) != len(value):
        raise ValueError
    return tuple(value)


def _checks(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict) or len(value) > MAX_FILES:
        raise ValueError
    for kind, checks in value.items():
        if not _WORD.match(kind) or not isinstance(checks, list) or len(checks) > MAX_FILES:
            raise ValueError
        if checks != sorted(set(checks)) or not all(_WORD.match(check) for check in checks):
            raise ValueError
    return MappingProxyType({kind: tuple(checks) for kind, checks in value.items()})


def _number(value: object) -> int:
    if type(value) is not int or not 0 < value < MAX_TIME:
        raise ValueError
    return value


def _digest(value: str) -> str:
    if not _DIGEST.match(value):
        raise ValueError
    return value


def _note(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NOTE or not value.isprintable():
        raise ValueError
    return value


def _signatures(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or len(value) > MAX_SIGNATURES:
        raise ValueError
    found = []
    for item in value:
        if item.keys() != {"key", "signature"}:
            raise ValueError
        if not _DIGEST.match(item["key"]) or not _SIGNATURE.match(item["signature"]):
            raise ValueError
        found.append((item["key"], item["signature"]))
    return tuple(found)


def _no_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
