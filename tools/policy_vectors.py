"""The golden vectors: a product of everything a decision turns on, and every near miss.

``python tools/policy_vectors.py`` says whether ``tests/vectors/policy/golden.jsonl`` is what this
program makes and what OPA decides; ``--write`` writes it, with OPA's decisions as expectations.
What a person has to review are not four hundred lines but the invariants that
``tests/test_policy_golden.py`` holds against every one of them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from build_policies import ROOT, sources
from get_opa import VERSION, find_opa
from opa_server import Reference
from vector_facts import DATA, Vector, data_of
from vector_families import countries, countries_at_once, handling, kinds, purposes, schemes
from vector_figures import figures, treaty_figures
from vector_misses import ill_formed, near_general, near_particular, near_whole, sizes
from vector_treaty import across, instruments, records_across, second_approvers

GOLDEN = ROOT / "tests" / "vectors" / "policy" / "golden.jsonl"
NOTHING: tuple[object, ...] = (0, [], "none")
"""The values of duties that a denial has none of."""
FAMILIES = (
    kinds, purposes, schemes, countries, countries_at_once, handling, sizes, near_general,
    near_particular, near_whole, ill_formed, across, records_across, instruments, second_approvers,
    figures, treaty_figures,
)  # fmt: skip


def product() -> Iterator[Vector]:
    """All vectors, those under the same agreements together."""
    vectors = [v for family in FAMILIES for v in family()]
    if len({vector.name for vector in vectors}) != len(vectors):
        raise ValueError("two vectors have one name")
    for data in DATA:
        yield from (vector for vector in vectors if vector.data == data)


def main() -> int:
    """Compare, or with ``--write`` write."""
    opa = find_opa()
    if opa is None:
        print(f"OPA {VERSION} is missing\nnext: make tools", file=sys.stderr)
        return 1
    if "--write" in sys.argv[1:]:
        lines = list(decided(opa, product()))
        GOLDEN.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        counts = Counter(json.loads(line)["point"] for line in lines)
        print(f"{len(lines)} vectors: " + ", ".join(f"{n} {p}" for p, n in counts.items()))
        return 0
    return 0 if compared(opa) else 1


def compared(opa: Path) -> bool:
    """Whether the file is what this program makes, and OPA decides each as expected."""
    committed = GOLDEN.read_text(encoding="ascii").splitlines()
    fresh = list(decided(opa, product()))
    for line, expected in zip(fresh, committed, strict=False):
        if line != expected:
            print(f"{json.loads(line)['name']}: is not as committed", file=sys.stderr)
    print(f"{len(fresh)} golden vectors by one OPA")
    return fresh == committed


def decided(opa: Path, vectors: Iterable[Vector]) -> Iterator[str]:
    """Each vector's line, decided by OPA; one process for all."""
    with Reference(opa, sources()) as reference:
        loaded = ""
        for vector in vectors:
            if vector.data != loaded:
                reference.load(data_of(vector.data))
                loaded = vector.data
            value = reference.evaluate(vector.point, vector.document)
            if value is None:
                raise RuntimeError(f"{vector.name}: OPA has no decision")
            yield line_of(vector, condensed(value))


def line_of(vector: Vector, expect: Mapping[str, Any]) -> str:
    """One line of the file."""
    content = {
        "name": vector.name, "point": vector.point, "data": vector.data,
        "input": vector.document, "expect": expect,
    }  # fmt: skip
    return json.dumps(content, separators=(",", ":"))


def condensed(value: Mapping[str, Any]) -> dict[str, Any]:
    """An output without what follows from the rest: checks that hold, and reasons' texts.

    Lists that stand for sets are in order.
    """
    decisions = {name: _decision(decision) for name, decision in value.get("decisions", {}).items()}
    if "records" in value:
        return {"records": [decisions[name] for name in value["records"]]}
    short = _decision(value)
    if "candidates" in value:
        candidates = sorted(value["candidates"].items())
        short["candidates"] = {who: decisions[name] for who, name in candidates}
    return short


def _decision(value: Mapping[str, Any]) -> dict[str, Any]:
    permit = value["effect"] == "permit"
    duties = {k: _in_order(v) for k, v in sorted(value["obligations"].items())}
    short = {
        "effect": value["effect"],
        "failed": sorted(name for name, ok in value["checks"].items() if ok is not True),
        "facets": sorted(value["facets"]),
        "obligations": duties
        if permit
        else {k: v for k, v in duties.items() if v not in (0, [], "none")},
        "reasons": [reason["code"] for reason in value["reasons"]],
        "rules": sorted(value["rules"]),
    }
    return {name: part for name, part in short.items() if part}


def _in_order(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
