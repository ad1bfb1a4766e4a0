"""Making a release: from a tree of policy files to a manifest that somebody signed.

The one way in which manifests come about: the command, the recipe of development certificates,
the demo, the tests and the benchmarks all take it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Misconfigured
from fairlead.officers import key_id
from fairlead.policy import folder
from fairlead.policy.bundle import MAX_BUNDLE, kernel_sources, revision_of
from fairlead.policy.cubes import CUBES
from fairlead.policy.engine import SELF_TEST
from fairlead.policy.manifest import MANIFEST, WASM, Kind, Manifest, SignedManifest, is_name

LIFETIME_S = 365 * 86_400
MAX_AGE_S = 365 * 86_400
EXAMPLE = ".example.yaml"
"""How the names of files end that show a partner's own agreements and are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a release is to say beside its files. ``previous``: identity of the one before."""

    serial: int = 1
    previous: str = ""
    kind: Kind = Kind.RELEASE
    issued_at: int
    not_after: int
    max_age_s: int = MAX_AGE_S
    tests: str = ""
    replays: tuple[str, ...] = ()
    note: str = ""


def make_release(
    source: Path,
    directory: Path,
    wishes: Wishes,
    *,
    signers: Sequence[Ed25519PrivateKey],
    data: Sequence[str] = (),
    local: bool = False,
) -> Manifest:
    """Make a release in ``directory`` from a tree such as ``policies/``, signed by ``signers``,
    of whom the first is its author.

    :param data: names of the agreement files; none: every one of the tree.
    :param local: a partner's own, which needs no kernel.
    :raises Misconfigured: POLICY_SOURCES: a file is missing, or ``policy.wasm`` is not the built
        one.
    """
    files = tree(source, data=data, local=local)
    manifest = draft(files, wishes, author=signing.public_bytes(signers[0]), data=data)
    signed = SignedManifest(manifest=manifest)
    for key in signers:
        signed = signed.signed_by(key)
    for name, content in {**files, MANIFEST: signed.to_bytes()}.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return manifest


def draft(
    files: dict[str, bytes], wishes: Wishes, *, author: bytes, data: Sequence[str] = ()
) -> Manifest:
    """The manifest of some files, unsigned. :param author: raw Ed25519 key."""
    return Manifest(
        serial=wishes.serial,
        previous=wishes.previous,
        kind=wishes.kind,
        revision=revision_of(kernel_sources(files)),
        issued_at=wishes.issued_at,
        not_after=wishes.not_after,
        max_age_s=wishes.max_age_s,
        data=tuple(data) or tuple(name for name in sorted(files) if _is_agreement(name)),
        files={n: hashlib.sha256(content).hexdigest() for n, content in sorted(files.items())},
        author=key_id(author),
        tests=wishes.tests,
        replays=wishes.replays,
        note=wishes.note,
    )


def tree(source: Path, *, data: Sequence[str] = (), local: bool = False) -> dict[str, bytes]:
    """The files of a release that lie in ``source``: the kernel and its sources with their tests,
    agreements, the registry of cubes, tables of tests, and reports; nothing else is taken along,
    and no link followed.

    :raises Misconfigured: POLICY_SOURCES.
    """
    try:
        names = [p.relative_to(source).as_posix() for p in source.glob("*/*")]
        wanted = [name for name in names if _belongs(name, data)]
        if local and CUBES in wanted:  # a partner counts by the federation's
            wanted.remove(CUBES)
        if os.path.lexists(source / WASM) or not local:
            wanted.append(WASM)
        if os.path.lexists(source / SELF_TEST):
            wanted.append(SELF_TEST)
        files = {n: folder.read(source, n, largest=MAX_BUNDLE) for n in [*wanted, *data]}
    except OSError:
        raise _incomplete() from None
    agreements = [name for name in files if _is_agreement(name)]
    if not agreements or sum(map(len, files.values())) > MAX_BUNDLE:
        raise _incomplete()
    if WASM in files:
        _check_built(source, files)
    return dict(sorted(files.items()))


def _belongs(name: str, data: Sequence[str]) -> bool:
    top, _, rest = name.partition("/")
    if not is_name(name):
        return False
    if rest.endswith(".rego"):  # with their tests, for whoever drafts the next release of it
        return True
    if top == "data":
        return _is_agreement(name) and (not data or name in data)
    return (
        name == CUBES
        or (top == "tests" and rest.endswith(".yaml"))
        or (top == "reports" and rest.endswith(".json"))
    )


def _is_agreement(name: str) -> bool:
    return name.startswith("data/") and name.endswith(".yaml") and not name.endswith(EXAMPLE)


def _check_built(source: Path, files: dict[str, bytes]) -> None:
    """Where the list of what was built lies beside, the module is the one built of these sources;
    a manifest of a release in its place was such a list once."""
    try:
        built = json.loads(folder.read(source, MANIFEST))
        built = built.get("manifest", built)
        fresh = built["files"][WASM] == hashlib.sha256(files[WASM]).hexdigest() and built[
            "revision"
        ] == revision_of(kernel_sources(files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        fresh = False
    if not fresh:
        raise _incomplete()


def _incomplete() -> Misconfigured:
    return Misconfigured(
        "the policy sources are incomplete or not built",
        reasons=("POLICY_SOURCES",),
        remedy="make policies   (or fetch the release in force: fairlead policy fetch DIR)",
    )
