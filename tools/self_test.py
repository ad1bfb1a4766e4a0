"""``make policies``, the last part: what an engine must decide before it decides anything else.

``policies/selftest.json`` travels with the kernel, and every engine that starts decides it over
whatever agreements are loaded. So it asks what no agreement changes: an organisation, a purpose, a
scheme and a role that no federation has, a field too many, a number written as text, and another
point's input. Each answer is a whole refusal, to the last reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.engine import POINTS, SELF_TEST, WasmEngine

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
VECTORS = {
    "asking": "asking-baseline",
    "admission": "admission",
    "routing": "routing-demo",
    "sovereignty": "sovereignty",
    "release": "release-police",
    "statistics": "statistics",
}
"""A good input of each point."""
NOBODY = {"partner_id": "nobody", "kind": "no-such-kind", "sector": "no-such-sector"}
NOTHING = {"purpose": "no-such-purpose", "legal_basis": "no-such-basis", "schemes": ["none"]}

NO_FIGURES = {"cube": "no-such-cube", "purpose": "no-such-purpose"}


def inputs(point: str) -> Iterator[dict[str, Any]]:
    """What a point is asked."""
    name = f"{VECTORS[point]}.json"
    good = json.loads((ROOT / "tests" / "vectors" / "policy" / name).read_bytes())["input"]
    if "candidates" in good:
        good["candidates"] = dict([*good["candidates"].items()][:2])
    if "records" in good:
        good["records"] = good["records"][:2]
    yield {}
    strange = {**good, "asker": {**good["asker"], **NOBODY}}
    if "question" in good:
        strange["question"] = {**good["question"], **NO_FIGURES}
    else:
        strange["query"] = {**good["query"], **NOTHING}
    if "user" in good:
        strange["user"] = {**good["user"], "roles": ["no-such-role"]}
    yield strange
    yield {**strange, "more": "λόγος · 物流 · \u0130"}
    yield {**strange, "now": str(good["now"])}
    yield {**strange, "point": "curiosity"}


def vectors(wasm: bytes) -> bytes:
    """The file, as the WebAssembly decides; the conformance suite holds OPA to the same."""
    data = {"data/agreements.yaml": (POLICIES / "data" / "agreements.yaml").read_bytes()}
    engine = WasmEngine(wasm, identified(federation_data(data), "self-test"), deadline_s=10)
    found = []
    for point in POINTS:
        for document in inputs(point):
            expect = json.loads(engine.evaluate(point, document))
            expect.pop("policy", None)
            found.append({"point": point, "input": document, "expect": expect})
    return (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()


def main() -> int:
    """Write it."""
    written = vectors((POLICIES / "policy.wasm").read_bytes())
    (POLICIES / SELF_TEST).write_bytes(written)
    print(f"policies/{SELF_TEST}: {len(json.loads(written))} vectors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
