"""Policy bundles: files under a manifest that two different people signed.

OPA's own signed bundles accept an older one (FACTS: OPA); ours carry a serial that only grows, an
end, and the identity of the one before (:mod:`fairlead.policy.manifest`). A bundle is a folder
with ``manifest.json`` and the files it names; only octets whose digest was signed are ever used.
The federation's has the kernel, as WebAssembly and as the sources it was compiled from, and its
agreements. A partner's own has agreements, and a kernel if it wants: it becomes a second layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fairlead.errors import FairleadError, Misconfigured, PolicyUnavailable
from fairlead.officers import Officer
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.compiling import identified
from fairlead.policy.cubes import CUBES
from fairlead.policy.documents import InvalidAgreements, Registry, parse_document
from fairlead.policy.engine import SELF_TEST, EngineMaker, Program, wasm_engine
from fairlead.policy.manifest import (
    FUTURE_S,
    MANIFEST,
    REQUIRED_CHECKS,
    WASM,
    Manifest,
    SignedManifest,
    approved,
    is_name,
    parse_manifest,
    unavailable,
)
from fairlead.policy.narrowing import is_wider
from fairlead.policy.points import Layer
from fairlead.policy.reports import check_about, check_justified, check_passed
from fairlead.policy.validity import RefusingEngine, ValidEngine, Validity

MAX_BUNDLE = 3 * 1024 * 1024
"""Octets of all files together: a release travels in one message."""
INCOMING = ".incoming"
"""Folder beside the files in which those of the next release wait, named by digest, until its
manifest is in place (:mod:`fairlead.policy.store`)."""

Files = Mapping[str, bytes]
"""A bundle as it travels: file names, ``manifest.json`` among them, and their octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle: its manifest and exactly the octets that were signed.

    ``reviewed``: two people approved it, as every release but an emergency needs from the start.
    """

    signed: SignedManifest
    files: Files
    reviewed: bool

    @property
    def manifest(self) -> Manifest:
        """What was approved."""
        return self.signed.manifest

    @property
    def serial(self) -> int:
        """The serial; keep the highest one seen and pass it to :func:`load_bundle`."""
        return self.manifest.serial

    @property
    def identity(self) -> str:
        """SHA-256 of what was signed, in hexadecimal."""
        return self.manifest.identity

    def as_files(self) -> dict[str, bytes]:
        """All of it, as it travels."""
        return {**self.files, MANIFEST: self.signed.to_bytes()}

    def layers(
        self,
        local: Bundle | None = None,
        make: EngineMaker = wasm_engine,
        *,
        validity: Validity | None = None,
        lenient: bool = False,
    ) -> list[Layer]:
        """The layers, the federation's first, then that of a partner's ``local`` bundle. Takes
        about half a second: not on the event loop. Who takes them closes them.

        :param validity: how long the federation's decides, where somebody confirms it.
        :param lenient: a partner's own policy that no longer fits becomes a layer that permits
            nothing, so that it cannot keep the federation's newest from taking effect.
        :raises Misconfigured: the agreements are wrong (every problem at once).
        :raises PolicyUnavailable: the module does not start.
        """
        program = self.program()
        if program is None:
            raise Misconfigured("a policy has no kernel", reasons=("POLICY_EMPTY",))
        validity = validity or Validity(self.manifest, since=0)
        first = ValidEngine(make(program, self.document()), validity)
        made = [Layer(first, self.identity)]
        if local is None:
            return made
        try:
            document = local.local_document(self)
            own = ValidEngine(
                make(local.program() or program, document), Validity(local.manifest, since=0)
            )
            return [*made, Layer(own, local.identity)]
        except InvalidAgreements:
            if lenient:
                return [*made, Layer(RefusingEngine(), local.identity)]
            first.close()
            raise
        except FairleadError:
            first.close()
            raise

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

    def program(self) -> Program | None:
        """The kernel; None for a partner's own bundle that uses the federation's."""
        if WASM not in self.files:
            return None
        return program_of(self.files)

    def document(self) -> dict[str, Any]:
        """The federation's agreements, compiled, with the identity that every decision names.

        :raises Misconfigured: the agreements are wrong (every problem at once).
        """
        return self._named(federation_data(self._data(), self.files.get(CUBES)))

    def local_document(self, federation: Bundle) -> dict[str, Any]:
        """A partner's own agreements, compiled over the federation's.

        :raises Misconfigured: the agreements are wrong (every problem at once).
        """
        (name,) = self.manifest.data
        compiled = federation_data(federation._data(), federation.files.get(CUBES))
        return self._named(local_data(compiled, federation._data(), name, self.files[name]))

    def _data(self) -> dict[str, bytes]:
        return {name: self.files[name] for name in self.manifest.data}

    def _named(self, document: dict[str, Any]) -> dict[str, Any]:
        return identified(document, self.identity)


def load_bundle(
    directory: Path,
    officers: Sequence[Officer],
    minimum_serial: int,
    now: float,
    *,
    before: Bundle | None = None,
    local: bool = False,
) -> Bundle:
    """Verify the bundle in ``directory``; nothing in the folder but what it names is read.

    :param before: and :param local: see :func:`verify_bundle`.
    :raises PolicyUnavailable: as :func:`verify_bundle`; POLICY_MISSING.
    """

    def read(name: str, digest: str) -> bytes:
        waiting = directory / INCOMING / digest
        return _read(waiting if waiting.is_file() else directory / name)

    return verify_bundle(
        _read(directory / MANIFEST),
        read,
        officers=officers,
        minimum_serial=minimum_serial,
        now=now,
        before=before,
        local=local,
    )


def verify_files(
    files: Files,
    *,
    officers: Sequence[Officer],
    now: float,
    minimum_serial: int = 0,
    before: Bundle | None = None,
    local: bool = False,
) -> Bundle:
    """Verify a bundle that arrived as files; see :func:`verify_bundle`.

    :raises PolicyUnavailable: also for files that it does not name.
    """

    def read(name: str, _digest: str) -> bytes:
        if name not in files:
            raise unavailable("POLICY_MISSING", "a policy file is missing or unreadable")
        return files[name]

    found = verify_bundle(
        files.get(MANIFEST, b""), read, officers=officers, minimum_serial=minimum_serial,
        now=now, before=before, local=local,
    )  # fmt: skip
    if files.keys() - {MANIFEST} != found.files.keys():
        raise unavailable("POLICY_MALFORMED", "a policy bundle has a file of no policy")
    return found


def verify_bundle(
    content: bytes,
    read: Callable[[str, str], bytes],
    *,
    officers: Sequence[Officer],
    minimum_serial: int,
    now: float,
    before: Bundle | None = None,
    local: bool = False,
) -> Bundle:
    """Verify a bundle from its manifest's octets.

    1. The manifest is well formed.
    2. Two different people approved it; an emergency may have one for a while.
    3. Its serial is not below ``minimum_serial``.
    4. It was issued, and has not expired.
    5. Every file it names has the signed digest, and the kernel's sources the signed revision.
    6. It demands exactly the checks that this program demands.
    7. The reports that it names are about its files; its tests passed, and every widening that a
       replay found is justified.
    8. An emergency that one person signed only tightens the release before it.

    :param read: a file's octets, by its name and the digest it should have.
    :param before: the release before it, for an emergency.
    :param local: it is a partner's own: its officers may work for one organisation.
    :raises PolicyUnavailable: ``POLICY_MISSING``, ``POLICY_MALFORMED``, ``POLICY_UNDERSIGNED``,
        ``POLICY_SAME_PERSON``, ``POLICY_SAME_ORGANISATION``, ``POLICY_OLDER``,
        ``POLICY_NOT_YET``, ``POLICY_EXPIRED``, ``POLICY_TAMPERED``, ``POLICY_CHECKS``,
        ``POLICY_REPORT``, ``POLICY_UNJUSTIFIED``, ``POLICY_EMERGENCY``.
    """
    # 1
    signed = parse_manifest(content)
    manifest = signed.manifest
    if not local and WASM not in manifest.files:
        raise unavailable("POLICY_MALFORMED", "a policy manifest is not well formed")
    if local and len(manifest.data) != 1:
        raise unavailable("POLICY_MALFORMED", "a partner's own policy has one file of agreements")
    # 2
    approval = approved(signed, officers, two_organisations=not local)
    # 3
    if manifest.serial < minimum_serial:
        raise unavailable("POLICY_OLDER", "a policy bundle is older than one already used")
    # 4
    if manifest.issued_at > now + FUTURE_S:
        raise unavailable("POLICY_NOT_YET", "a policy bundle is issued in the future")
    if now >= manifest.not_after:
        raise unavailable("POLICY_EXPIRED", "a policy bundle has expired")
    # 5
    files = _files(manifest, read)
    # 6
    if manifest.required_checks != REQUIRED_CHECKS:
        raise unavailable(
            "POLICY_CHECKS",
            "a policy demands other checks than this program",
            "install the release of Fairlead that the policy was made for",
        )
    # 7
    check_reports(manifest, files, officers, local=local)
    # 8
    bundle = Bundle(signed=signed, files=MappingProxyType(files), reviewed=approval.complete)
    if not approval.complete:
        _check_tightening(bundle, before)
    return bundle


def check_reports(
    manifest: Manifest, files: Files, officers: Sequence[Officer], *, local: bool = False
) -> None:
    """What the reports say that a release names.

    :param officers: who may justify a widening.
    :param local: a partner's own agreements are replayed over the federation's, so that the report
        is not about them alone.
    :raises PolicyUnavailable: POLICY_REPORT, POLICY_UNJUSTIFIED.
    """
    for name in manifest.replays:
        check_justified(files[name], officers)
    if manifest.tests:
        check_passed(files[manifest.tests])
    for name in () if local else (*manifest.replays, *filter(None, [manifest.tests])):
        check_about(files[name], manifest.files, manifest.data)


def program_of(files: Files) -> Program:
    """What an engine runs of a bundle's files: the kernel, its sources and its self-test."""
    test = {name: files[name] for name in (SELF_TEST,) if name in files}
    return Program(wasm=files[WASM], sources={**kernel_sources(files), **test})


def kernel_sources(files: Files) -> dict[str, bytes]:
    """The kernel's Rego among a bundle's files: no tests."""
    return {
        name: content
        for name, content in sorted(files.items())
        if name.endswith(".rego") and not name.endswith("_test.rego")
    }


def revision_of(sources: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and the digests of a kernel's sources, in hexadecimal."""
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(f"{name} {hashlib.sha256(sources[name]).hexdigest()}\n".encode())
    return total.hexdigest()


def write_bundle(files: Files, directory: Path) -> None:
    """Write a bundle that arrived as files; :func:`load_bundle` then says whether it is one.

    :raises PolicyUnavailable: POLICY_MALFORMED: too large, or a name that a bundle cannot have.
    """
    names = all(is_name(name) or name == MANIFEST for name in files)
    if not names or sum(map(len, files.values())) > MAX_BUNDLE:
        raise unavailable("POLICY_MALFORMED", "a policy bundle has a file of no policy")
    for name, content in files.items():
        target = directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(content)


def _files(manifest: Manifest, read: Callable[[str, str], bytes]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, digest in manifest.files.items():
        files[name] = read(name, digest)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise unavailable("POLICY_TAMPERED", "a policy file is not the one that was signed")
    if sum(map(len, files.values())) > MAX_BUNDLE:
        raise unavailable("POLICY_MALFORMED", "a policy bundle is larger than allowed")
    if manifest.revision != revision_of(kernel_sources(files)):
        raise unavailable("POLICY_TAMPERED", "a policy's sources are not of its revision")
    return files


def _check_tightening(bundle: Bundle, before: Bundle | None) -> None:
    """:raises PolicyUnavailable: POLICY_EMERGENCY."""
    if (
        before is None
        or before.identity != bundle.manifest.previous
        or before.serial + 1 != bundle.serial
        or not before.reviewed
    ):
        raise unavailable(
            "POLICY_EMERGENCY",
            "an emergency does not follow a release that two people signed and that is here",
            "fetch the release before it, or have a second officer sign: "
            "fairlead policy sign DIR --key FILE",
        )
    old, new = before.manifest, bundle.manifest
    try:
        wider = (
            new.not_after > old.not_after
            or new.max_age_s > old.max_age_s
            or bundle.program() != before.program()
            or bundle.files.get(CUBES) != before.files.get(CUBES)
            or is_wider(before.document(), bundle.document())
        )
    except (Misconfigured, PolicyUnavailable):
        wider = True
    if wider:
        raise unavailable(
            "POLICY_EMERGENCY",
            "an emergency of one person may only tighten, and this one changes more",
            "have a second officer sign: fairlead policy sign DIR --key FILE",
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BUNDLE + 1)
    except OSError:
        raise unavailable("POLICY_MISSING", "a policy file is missing or unreadable") from None
    if len(content) > MAX_BUNDLE:
        raise unavailable("POLICY_MALFORMED", "a policy file is larger than allowed")
    return content
