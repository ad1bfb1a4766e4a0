"""``make policies``: compile ``policies/`` into ``policies/policy.wasm``, byte-reproducibly.

What ``fairlead policy build policies`` does, with the OPA of ``make tools``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from get_opa import BIN

from fairlead.errors import FairleadError
from fairlead.policy.building import build, build_manifest, revision
from fairlead.policy.compiler import Opa
from fairlead.policy.draft import Draft

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"


def sources() -> list[Path]:
    """The Rego files that are compiled, in order: no tests."""
    return [POLICIES / name for name in sorted(Draft.read(POLICIES).sources)]


def compile_wasm(opa: Path) -> bytes:
    """The octets that ``policy.wasm`` must have."""
    draft = Draft.read(POLICIES)
    return Opa(opa).build(draft.sources, revision(draft.sources))


def manifest(wasm: bytes) -> bytes:
    """The unsigned list of what was built."""
    return build_manifest(Draft.read(POLICIES), wasm)


def main() -> int:
    """Build and write."""
    try:
        wasm, name = build(POLICIES, Opa.required([BIN]))
    except FairleadError as error:
        print(error.diagnostics(), file=sys.stderr)
        return 1
    print(f"policies/policy.wasm: {len(wasm)} octets, revision {name[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
