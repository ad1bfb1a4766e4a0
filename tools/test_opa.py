"""``make test-opa``: everything about the policies that needs a real OPA.

1. rebuild and compare with what is committed, 2. ``opa check --strict`` and ``opa fmt``,
3. ``opa test``, 4. the vectors a person wrote and reviewed, to the last field, 5. the product of
``tools/policy_vectors.py``. One OPA decides all of them. (That the WebAssembly gives the same is
in ``tests/conformance``, which needs no OPA.) With ``--write`` the expectations of both are
written from OPA's answers, for a person to review.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from build_policies import POLICIES, ROOT, compile_wasm, manifest, sources
from get_opa import VERSION, find_opa
from opa_server import Reference

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified

VECTORS = ROOT / "tests" / "vectors" / "policy"
POLICY = "golden"
"""The identity of the policy that decides the vectors."""
IGNORE = [
    "--ignore", "data", "--ignore", "tests", "--ignore", "*.json", "--ignore", "*.wasm",
]  # fmt: skip


def ordered(value: Any) -> Any:
    """The same document with lists that stand for sets in order: facets, rules and the like.

    Records are in an order of their own, the input's.
    """
    if isinstance(value, dict):
        return {k: v if k == "records" else ordered(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        items = [ordered(item) for item in value]
        return sorted(items) if all(isinstance(item, str) for item in items) else items
    return value


def rebuilt(opa: Path) -> bool:
    """What is committed is what the sources give, octet for octet."""
    wasm = compile_wasm(opa)
    same = (POLICIES / "policy.wasm").read_bytes() == wasm
    return same and (POLICIES / "manifest.json").read_bytes() == manifest(wasm)


def checked(opa: Path) -> bool:
    """Strict compilation, and the house's formatting."""
    strict = [str(opa), "check", "--strict", "--schema", "policies/schema", *IGNORE, "policies"]
    formatted = [str(opa), "fmt", "--list", "--fail", "policies"]
    return all(
        subprocess.run(c, cwd=ROOT, check=False).returncode == 0 for c in (strict, formatted)
    )


def tested(opa: Path) -> bool:
    """The tests beside the rules; a run without a test fails."""
    command = [str(opa), "test", "--timeout", "300s", "policies", *IGNORE]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    print(run.stdout.strip(), run.stderr.strip())
    return run.returncode == 0 and "PASS:" in run.stdout


def vectors(opa: Path, *, write: bool = False) -> bool:
    """Each vector's decision by OPA is the expected one."""
    files = sorted(VECTORS.glob("*.json"))
    good = bool(files)
    with Reference(opa, sources()) as reference:
        for path in files:
            vector = json.loads(path.read_bytes())
            reference.load(compiled(vector["data"]))
            got = ordered(reference.evaluate(vector["point"], vector["input"]))
            if write:
                vector["expect"] = got
                path.write_text(json.dumps(vector, indent=1) + "\n")
            elif got != vector["expect"]:
                print(f"{path.name}: OPA decides otherwise", file=sys.stderr)
                good = False
    print(f"{len(files)} vectors")
    return good


def evaluate(opa: Path, vector: dict[str, Any]) -> Any:
    """One decision by the real OPA; None when undefined."""
    with tempfile.TemporaryDirectory() as folder:
        data = data_file(Path(folder), vector["data"])
        (Path(folder) / "input.json").write_text(json.dumps(vector["input"]))
        rego = [part for p in POLICIES.rglob("*.rego") for part in ("-d", str(p.relative_to(ROOT)))]
        run = subprocess.run(
            [str(opa), "eval", "--format", "json", *rego, "-d", str(data),
             "-i", str(Path(folder) / "input.json"), f"data.fairlead.{vector['point']}.decision"],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
    result = json.loads(run.stdout).get("result")
    return result[0]["expressions"][0]["value"] if result else None


def golden(opa: Path) -> bool:
    """The product's vectors are what OPA decides."""
    import policy_vectors  # it imports the tests' facts, which compiling alone does not need

    return policy_vectors.compared(opa)


def compiled(names: list[str]) -> dict[str, Any]:
    """The data document of these files of agreements."""
    files = {name: (POLICIES / name).read_bytes() for name in names}
    cubes = (POLICIES / "cubes" / "registry.yaml").read_bytes()
    return identified(federation_data(files, cubes), POLICY)


def data_file(folder: Path, names: list[str]) -> Path:
    """The compiled agreements as the JSON that OPA loads."""
    path = folder / "data.json"
    path.write_text(json.dumps(compiled(names)))
    return path


def main() -> int:
    """Run all of it; every failure is told."""
    opa = find_opa()
    if opa is None:
        print(f"OPA {VERSION} is missing\nnext: make tools", file=sys.stderr)
        return 1
    if "--write" in sys.argv[1:]:
        import policy_vectors

        return 0 if vectors(opa, write=True) and policy_vectors.main() == 0 else 1
    steps: dict[str, Callable[[Path], bool]] = {
        "policy.wasm and manifest.json are what the sources give (else: make policies)": rebuilt,
        "opa check --strict, opa fmt": checked,
        "opa test": tested,
        "vectors": vectors,
        "golden vectors (else: python tools/policy_vectors.py --write)": golden,
    }
    failed = False
    for name, step in steps.items():
        good = step(opa)
        failed = failed or not good
        print(f"{'ok    ' if good else 'FAILED'} {name}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
