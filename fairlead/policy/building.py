"""From rules to ``policy.wasm``, and the unsigned list of what was built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from fairlead.errors import Misconfigured
from fairlead.policy import folder as folders
from fairlead.policy.compiler import Opa
from fairlead.policy.draft import WASM, Draft

MANIFEST = "manifest.json"


def revision(sources: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and the digests of the sources."""
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(f"{name} {hashlib.sha256(sources[name]).hexdigest()}\n".encode())
    return total.hexdigest()


def build_manifest(draft: Draft, wasm: bytes) -> bytes:
    """The list of what was built, unsigned: no bundle yet."""
    files = {**draft.data, WASM: wasm}
    content = {
        "schema": 1,
        "revision": revision(draft.sources),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def build(folder: Path, opa: Opa) -> tuple[bytes, str]:
    """Compile the draft in ``folder`` and write what was built into it.

    :returns: the module and the revision of its sources.
    :raises Misconfigured: no draft, a bundle that is signed, or rules that do not compile.
    """
    draft = Draft.read(folder)
    if not draft.sources:
        raise Misconfigured(
            "the folder holds no rules to build",
            reasons=("DRAFT_WITHOUT_RULES",),
            remedy="fairlead policy init DIR",
        )
    if is_signed(folder):
        raise Misconfigured(
            "the folder is a signed bundle, which nobody changes",
            reasons=("BUNDLE_SIGNED",),
            remedy="fairlead policy init DIR --from BUNDLE",
        )
    wasm = opa.build(draft.sources, revision(draft.sources))
    folders.write(folder, WASM, wasm)
    folders.write(folder, MANIFEST, build_manifest(draft, wasm))
    return wasm, revision(draft.sources)


def is_signed(folder: Path) -> bool:
    """Whether a folder is a bundle that somebody signed, rather than a draft.

    :raises Misconfigured: DRAFT_UNREADABLE: what would say so cannot be read.
    """
    try:
        content = json.loads(folders.read(folder, MANIFEST))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        raise folders.unreadable() from None
    return isinstance(content, dict) and "signatures" in content


def is_stale(draft: Draft) -> bool:
    """Whether the module of a draft is not the one its rules were last built into."""
    try:
        built = json.loads(folders.read(draft.root, MANIFEST))
        inner = built.get("manifest", built)
        digest = hashlib.sha256(draft.wasm or b"").hexdigest()
        same = inner["files"][WASM] == digest
        return not same or bool(draft.sources and inner["revision"] != revision(draft.sources))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
