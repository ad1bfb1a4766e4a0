"""The procedure: a file of evidence, the trust anchors, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from fairlead.verifier.anchors import (
    Anchors,
    Listing,
    anchors_of,
    listing,
    require_signed,
    sha256,
    unpacked,
)
from fairlead.verifier.chunks import QueryCheck
from fairlead.verifier.finding import MISSHAPEN, Findings, naming, reading, require
from fairlead.verifier.pages import FileParts, parts_of
from fairlead.verifier.summary import summary_of

CASE_KEYS = frozenset(
    {"case_id", "purpose", "legal_basis", "opened_at", "opened_by", "expires_at", "closed_at",
     "tlp", "pap", "retention_days", "instrument", "nonce"}
)  # fmt: skip
INSTRUMENT_KEYS = frozenset({"kind", "authority", "reference", "valid_until"})
ALL_OF_THEM = "that no query of the case is left out: that is the word of the asker's node"
"""What no file can prove of itself."""


def verify_page(page: bytes, anchors: Anchors | None, own: bytes) -> Findings:
    """Verify a file of evidence. The numbers are those of docs/protocol.md.

    1. The file has its form, and every part is the one its first line names.
    2. The directories are signed by the anchors' operators, each entry by its partner's root.
    3. The asker's node signed the first line: this collection is its work, and it is its word that
       nothing it keeps of the case is left out.
    4. Each query: its front (8 steps of its own), and it is of this case.
    5. Each chunk: INTENT, OUTCOME and the owners' answers, in one history of the gateway's log.
    6. The terms, their scope and the partners asked are what the user signed for.
    7. The reply key is the one the query's header names, and opens each answer to its plaintext.
    8. Blind: elements, evaluations, manifests, and what was found or was not there.
    9. The summary is what this program writes from the items.

    :param anchors: compared out of band; None believes those in the file, which proves nothing
        about them, and says so.
    :param own: this verifier's own source as one file; a summary by another one is not compared.
    :raises EvidenceFailed: an item does not verify; it is named.
    """
    findings = Findings()
    # 1
    parts = parts_of(page)
    items = parts.read_items()
    require({"anchors", "case"} <= items.keys(), "lacks an item")
    with naming("case"):
        reading(partial(_require_case, items["case"]), MISSHAPEN)
    findings.proved.append("the file is whole: every item is the one its first line names")
    # 2
    trusted = _trusted(items, anchors, findings)
    listings = _listings(items, trusted)
    serials = ", ".join(map(str, sorted(listings)))
    findings.proved.append(f"directory {serials}: signed by two operators, each entry by its root")
    # 3
    with naming("contents"):
        reading(partial(_require_node, parts, items, listings), MISSHAPEN)
    findings.proved.append("the asker's node signed this collection")
    findings.unproved.append(ALL_OF_THEM)
    # 4 to 8
    for name in parts.names:
        if name.startswith("query "):
            check = QueryCheck(name, items[name], items, listings, findings)
            with naming(name):
                reading(check.run, MISSHAPEN)
    # 9
    with naming("summary"):
        _require_summary(parts, items, own, findings)
    findings.facts |= {
        "case": str(items["case"]["case_id"]),
        "partner": items["about"]["partner"],
        "made_at": items["about"]["made_at"],
        "queries": sum(name.startswith("query ") for name in items),
        "anchors": trusted.fingerprint(),
        "verifier": parts.said["verifier"],
    }
    return findings


def _require_case(case: Mapping[str, Any]) -> None:
    """Nothing else stands there than the page and the rules look at."""
    require(case.keys() == CASE_KEYS, MISSHAPEN)
    instrument = case["instrument"]
    require(instrument is None or instrument.keys() == INSTRUMENT_KEYS, MISSHAPEN)


def _trusted(items: Mapping[str, Any], anchors: Anchors | None, findings: Findings) -> Anchors:
    with naming("anchors"):
        claimed: Anchors = reading(lambda: anchors_of(items["anchors"]), MISSHAPEN)
    if anchors is not None:
        findings.proved.append("everything rests on the trust anchors that were given")
        if claimed.fingerprint() != anchors.fingerprint():
            findings.unproved.append(
                "the trust anchors that the page shows: they are not those that were given"
            )
        return anchors
    findings.unproved.append(
        f"the trust anchors: compare their fingerprint {claimed.fingerprint()} with one that "
        "somebody you trust reads to you, or give their file: --trust FILE"
    )
    return claimed


def _listings(items: Mapping[str, Any], anchors: Anchors) -> dict[int, Listing]:
    found = {}
    for name, item in items.items():
        if name.startswith("directory "):
            with naming(name):
                listed = listing(
                    unpacked(reading(partial(_octets_signed, item), MISSHAPEN)), anchors
                )
                require(name == f"directory {listed.serial}", "has another number")
                found[listed.serial] = listed
    return found


def _octets_signed(item: Mapping[str, Any]) -> Any:
    return item["signed"]


def _require_node(
    parts: FileParts, items: Mapping[str, Any], listings: Mapping[int, Listing]
) -> None:
    about = items["about"]
    require(about["directory"] in listings, "is under a directory that is not in this file")
    listed = listings[about["directory"]]
    require(about["federation"] == listed.federation, "is of another federation")
    listed.require_in_force(about["made_at"])
    key = listed.partner(about["partner"])["signing_key"]
    signature = unpacked(json.loads(parts.signature)["signature"])
    require_signed(key, "case-evidence", parts.contents, signature, "the asker's node")


def _require_summary(
    parts: FileParts, items: Mapping[str, Any], own: bytes, findings: Findings
) -> None:
    if sha256(own).hex() == parts.said["verifier"]:
        require(parts.head_is_ours, "stands under other words than this program writes")
        again = reading(partial(summary_of, items), MISSHAPEN)
        require(again == parts.summary, "does not say what the items say")
        findings.proved.append("the readable summary says what the items say")
        return
    findings.unproved.append(
        "that the readable summary says what the items say: the page was written by another "
        "version of this verifier; run the one in the file, once its fingerprint is compared"
    )
