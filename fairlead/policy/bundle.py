"""Policy bundles: files under a manifest that two different people signed.

OPA's own signed bundles accept an older one (FACTS: OPA); ours carry a serial that only grows,
and an end. A bundle is a folder with ``manifest.json``::

    {"manifest":   {"schema": 1, "serial": …, "revision": "<SHA-256 of the Rego sources>",
                    "not_after": <Unix s>, "data": ["data/agreements.yaml", …],
                    "files": {"policy.wasm": "<SHA-256>", "data/agreements.yaml": …}},
     "signatures": [{"key": "<SHA-256 of the public key>", "signature": "<hex>"}, …]}

Signed are, in domain ``policy``, the octets of :func:`canonical` over the inner object: JSON
with sorted keys, no white space, ASCII. Only octets whose digest was signed are ever used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged, Misconfigured, PolicyUnavailable
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.compiling import identified
from fairlead.policy.documents import InvalidAgreements, Registry, parse_document
from fairlead.policy.engine import (
    SELF_TEST,
    EngineMaker,
    ExpiringEngine,
    Program,
    wasm_engine,
)
from fairlead.policy.points import Layer

DOMAIN = "policy"
APPROVALS = 2
"""Different people whose signatures a bundle needs."""
MANIFEST = "manifest.json"
WASM = "policy.wasm"
MAX_FILE = 8 * 1024 * 1024
MAX_FILES = 64

_NAME = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63}/)?[a-z0-9][a-z0-9_.-]{0,63}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_KEYS = {"schema", "serial", "revision", "not_after", "data", "files"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the two people approve."""

    serial: int
    revision: str
    not_after: int
    data: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle: its manifest and exactly the octets that were signed."""

    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def serial(self) -> int:
        """The serial; keep the highest one seen and pass it to :func:`load_bundle`."""
        return self.manifest.serial

    def registry(self) -> Registry:
        """The words of the federation's policy, with their titles.

        :raises Misconfigured: the agreements are wrong, or none has the registry.
        """
        problems: list[str] = []
        for name in self.manifest.data:
            document = parse_document(name, self.files[name], problems)
            if document is not None and document.registry is not None:
                return document.registry
        raise InvalidAgreements(problems or ["registry: exactly one file of the federation has it"])

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of what was signed: every decision under it says so."""
        return hashlib.sha256(canonical(self.manifest)).hexdigest()

    def program(self) -> Program:
        """What the engines run."""
        sources = {
            name: octets
            for name, octets in self.files.items()
            if name.endswith(".rego") or name == SELF_TEST
        }
        return Program(wasm=self.files[WASM], sources=sources)

    def layers(
        self, local: tuple[str, bytes] | None = None, make: EngineMaker = wasm_engine
    ) -> list[Layer]:
        """The engines, the federation's first. ``local`` is the name and the octets of a
        partner's own agreements, which become a second layer of the same kernel.

        :raises Misconfigured: the agreements are wrong (every problem at once).
        :raises PolicyUnavailable: the module does not start.
        """
        program = self.program()
        data = {name: self.files[name] for name in self.manifest.data}
        federation = federation_data(data)
        found = {self.identity: federation}
        if local is not None:
            found[hashlib.sha256(local[1]).hexdigest()] = local_data(federation, data, *local)
        return [
            Layer(
                ExpiringEngine(make(program, identified(d, i)), self.manifest.not_after),
                i,
            )
            for i, d in found.items()
        ]


def load_bundle(
    directory: Path, trusted_keys: Sequence[bytes], minimum_serial: int, now: float
) -> Bundle:
    """Verify the bundle in ``directory``.

    Steps: 1. the manifest is there and well formed, 2. two different trusted keys signed it,
    3. its serial is not below ``minimum_serial``, 4. it has not expired, 5. every file it names
    has the signed digest. Nothing else in the folder is read.

    :param trusted_keys: raw Ed25519 keys of the people who may approve policy.
    :raises PolicyUnavailable: reasons ``POLICY_MISSING``, ``POLICY_MALFORMED``,
        ``POLICY_UNDERSIGNED``, ``POLICY_OLDER``, ``POLICY_EXPIRED``, ``POLICY_TAMPERED``.
    """
    # 1
    manifest, signatures = _parse(_read(directory / MANIFEST))
    # 2
    _check_approvals(manifest, signatures, trusted_keys)
    # 3
    if manifest.serial < minimum_serial:
        raise _unavailable("POLICY_OLDER", "a policy bundle is older than one already used")
    # 4
    if now >= manifest.not_after:
        raise _unavailable("POLICY_EXPIRED", "a policy bundle has expired")
    # 5
    files = {name: _read(directory / name) for name in manifest.files}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[name]:
            raise _unavailable("POLICY_TAMPERED", "a policy file is not the one that was signed")
    return Bundle(manifest=manifest, files=MappingProxyType(files))


def canonical(manifest: Manifest) -> bytes:
    """The octets that are signed."""
    content = {
        "schema": 1,
        "serial": manifest.serial,
        "revision": manifest.revision,
        "not_after": manifest.not_after,
        "data": list(manifest.data),
        "files": dict(manifest.files),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def sign_manifest(manifest: Manifest, signers: Sequence[Ed25519PrivateKey]) -> bytes:
    """The octets of ``manifest.json``. A second person may sign later: signatures add up."""
    content = canonical(manifest)
    signatures = [
        {
            "key": signing.digest(signing.public_bytes(key)).hex(),
            "signature": signing.sign(key, DOMAIN, content).hex(),
        }
        for key in signers
    ]
    document = {"manifest": json.loads(content), "signatures": signatures}
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("ascii")


def publish(
    source: Path,
    directory: Path,
    *,
    data: Sequence[str],
    serial: int,
    not_after: int,
    signers: Sequence[Ed25519PrivateKey],
) -> Manifest:
    """Make a signed bundle in ``directory`` from a source tree such as ``policies/``.

    :param data: names of the agreement files, such as ``data/agreements.yaml``, in any order.
    :raises Misconfigured: a source file is missing, or ``policy.wasm`` is not the built one.
    """
    try:
        built = json.loads((source / MANIFEST).read_bytes())
        files = {name: (source / name).read_bytes() for name in (WASM, *data, *rego(source))}
        fresh = built["files"][WASM] == hashlib.sha256(files[WASM]).hexdigest()
        revision = str(built["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        fresh = False
    if not fresh:
        raise Misconfigured(
            "the policy sources are incomplete or not built",
            reasons=("POLICY_SOURCES",),
            remedy="make policies",
        )
    manifest = Manifest(
        serial=serial,
        revision=revision,
        not_after=not_after,
        data=tuple(data),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    for name, content in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (directory / MANIFEST).write_bytes(sign_manifest(manifest, signers))
    return manifest


def rego(source: Path) -> list[str]:
    """Names of the kernel's sources in a source tree, and its self-test's: no tests."""
    found = sorted(path.relative_to(source).as_posix() for path in source.glob("*/*.rego"))
    own = [SELF_TEST] if (source / SELF_TEST).exists() else []
    return [*own, *(name for name in found if not name.endswith("_test.rego"))]


def write_bundle(files: Mapping[str, bytes], directory: Path) -> None:
    """Write a bundle that arrived as files; :func:`load_bundle` then says whether it is one.

    :raises PolicyUnavailable: POLICY_MALFORMED: too many, or a name that a bundle cannot have.
    """
    if len(files) > MAX_FILES or not all(_NAME.match(n) and ".." not in n for n in files):
        raise _unavailable("POLICY_MALFORMED", "a policy bundle has a file of no policy")
    for name, content in files.items():
        target = directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(content)


# ── Parsing ──────────────────────────────────────────────────────────────────────────────────


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError:
        raise _unavailable("POLICY_MISSING", "a policy file is missing or unreadable") from None
    if len(content) > MAX_FILE:
        raise _unavailable("POLICY_MALFORMED", "a policy file is larger than allowed")
    return content


def _parse(content: bytes) -> tuple[Manifest, list[tuple[str, str]]]:
    try:
        document = json.loads(content, object_pairs_hook=_no_repetition)
        return _manifest(document["manifest"]), _signatures(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unavailable("POLICY_MALFORMED", "a policy manifest is not well formed") from None


def _signatures(document: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    signatures = document["signatures"]
    if document.keys() != {"manifest", "signatures"} or len(signatures) > MAX_FILES:
        raise ValueError
    signed = [(item["key"], item["signature"]) for item in signatures]
    if not all(_DIGEST.match(key) and _SIGNATURE.match(value) for key, value in signed):
        raise ValueError
    return signed


def _manifest(inner: dict[str, object]) -> Manifest:
    serial, not_after, files, data = (inner[k] for k in ("serial", "not_after", "files", "data"))
    if inner.keys() != _KEYS or inner["schema"] != 1:
        raise ValueError
    if type(serial) is not int or type(not_after) is not int or serial < 1:
        raise ValueError
    if not isinstance(files, dict) or not isinstance(data, list) or len(files) > MAX_FILES:
        raise ValueError
    if not all(_NAME.match(n) and ".." not in n and _DIGEST.match(d) for n, d in files.items()):
        raise ValueError
    if WASM not in files or MANIFEST in files or not data or not set(data) <= files.keys():
        raise ValueError
    revision = inner["revision"]
    if not isinstance(revision, str) or not _DIGEST.match(revision):
        raise ValueError
    return Manifest(
        serial=serial, revision=revision, not_after=not_after, data=tuple(data), files=files
    )


def _no_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _check_approvals(
    manifest: Manifest, signatures: Sequence[tuple[str, str]], trusted_keys: Sequence[bytes]
) -> None:
    content = canonical(manifest)
    trusted = {signing.digest(key).hex(): key for key in trusted_keys}
    approved: set[str] = set()
    for name, signature in signatures:
        if name in trusted:
            try:
                signing.verify(trusted[name], DOMAIN, content, bytes.fromhex(signature))
            except Forged:
                raise _unavailable(
                    "POLICY_TAMPERED", "a signature on the policy manifest does not verify"
                ) from None
            approved.add(name)
    if len(approved) < APPROVALS:
        raise _unavailable("POLICY_UNDERSIGNED", "two different people must approve a policy")


def _unavailable(code: str, message: str) -> PolicyUnavailable:
    return PolicyUnavailable(
        message, reasons=(code,), remedy="install the bundle the security officers published last"
    )
