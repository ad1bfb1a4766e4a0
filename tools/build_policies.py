"""``make policies``: compile ``policies/`` into ``policies/policy.wasm``, byte-reproducibly.

OPA runs from the repository root with relative paths only: absolute ones leak into the module
(FACTS: OPA). ``policies/manifest.json`` lists what was built; it is unsigned. A bundle that a
node accepts is made from it by ``fairlead.policy.bundle.publish``. The form of an agreements
file is written beside it, for editors.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from get_opa import find_opa

from fairlead.policy.documents import json_schema

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
SCHEMA = POLICIES / "schema" / "agreements.schema.json"
POINTS = ("asking", "admission", "routing", "sovereignty", "release")


def sources() -> list[Path]:
    """The Rego files that are compiled, in order: no tests."""
    return sorted(p for p in POLICIES.rglob("*.rego") if not p.name.endswith("_test.rego"))


def revision() -> str:
    """SHA-256 over the names and the digests of the sources."""
    total = hashlib.sha256()
    for path in sources():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(POLICIES).as_posix()} {digest}\n".encode())
    return total.hexdigest()


def compile_wasm(opa: Path) -> bytes:
    """The octets of ``policy.wasm``."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle.tar.gz"
        entries = [part for p in POINTS for part in ("-e", f"fairlead/{p}/decision")]
        subprocess.run(
            [str(opa), "build", "-t", "wasm", "-b", "policies", "--ignore", "*_test.rego",
             "--ignore", "data", "--ignore", "*.json", "--ignore", "*.wasm", *entries,
             "--revision", revision(), "-o", str(bundle)],
            cwd=ROOT,
            check=True,
        )  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(bundle.read_bytes())) as archive:
            member = archive.extractfile("/policy.wasm")
            if member is None:
                raise FileNotFoundError("policy.wasm")
            return member.read()


def manifest(wasm: bytes) -> bytes:
    """The unsigned list of what was built."""
    files = {p: (POLICIES / p).read_bytes() for p in ("data/agreements.yaml", "data/demo.yaml")}
    files["policy.wasm"] = wasm
    content = {
        "schema": 1,
        "revision": revision(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def main() -> int:
    """Build and write."""
    opa = find_opa()
    if opa is None:
        print("the pinned OPA is missing\nnext: make tools", file=sys.stderr)
        return 1
    wasm = compile_wasm(opa)
    (POLICIES / "policy.wasm").write_bytes(wasm)
    (POLICIES / "manifest.json").write_bytes(manifest(wasm))
    SCHEMA.write_text(json.dumps(json_schema(), indent=1) + "\n")
    print(f"policies/policy.wasm: {len(wasm)} octets, revision {revision()[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
