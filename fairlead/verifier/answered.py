"""What became of a query: the gateway's log, its outcome, and the owners' signed answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.verifier.anchors import SKEW, require_signed, sha256, unpacked
from fairlead.verifier.asked import Front
from fairlead.verifier.finding import naming, require
from fairlead.verifier.note import LogHead, cosigned_by, proven
from fairlead.verifier.sealed import body_octets
from fairlead.verifier.tree import leaf_of, require_extends
from fairlead.verifier.wire import Content, read_message

ANSWERED, REFUSED, OVERLOADED = 1, 2, 6
_SILENT = {3, 4, 5, 6, 7}
"""Statuses without an owner's signature: not asked, unreachable, timeout, overloaded, invalid."""
_INTENT_LEAF, _OUTCOME_LEAF = 1, 3
_LOGGED_WITHIN = 2 * SKEW
"""Seconds between a query's own time and that of its INTENT."""


@dataclass(frozen=True)
class SignedAnswerOf:
    """One owner's answer whose signature and binding verified; ``body`` may not be kept."""

    partner_id: str
    header: Content
    body: bytes


@dataclass(frozen=True)
class Closed:
    """The end of a chunk: every partner asked with its status, and the answers by partner."""

    states: Mapping[str, Content]
    answers: Mapping[str, SignedAnswerOf]
    heads: tuple[LogHead, LogHead]
    cosigners: frozenset[str]
    outcome: Content


def closed_of(front: Front, chunk: Mapping[str, Any]) -> Closed:
    """Verify what the gateway and the owners signed about one chunk.

    1. The INTENT leaf is of this query and in the gateway's log.
    2. The gateway's outcome is of this query and names that leaf.
    3. The OUTCOME leaf says the same, in a later state of the same log.
    4. Each answer is signed by its owner, and they are exactly those the outcome names.

    :raises EvidenceFailed: any of it is wrong.
    """
    gateway = front.listing.gateway()
    origin, log_key = gateway["log_origin"], gateway["log_key"]
    # 1
    with naming("INTENT"):
        intent = read_message("Receipt", unpacked(chunk["intent"]))
        opened = proven(intent, origin, log_key)
        _require_intent(read_message("AuditLeaf", intent["leaf"]), front)
    # 2
    with naming("OUTCOME"):
        outcome = _outcome(front, chunk, intent["leaf"])
        # 3
        closing = read_message("Receipt", unpacked(chunk["closing"]))
        ended = proven(closing, origin, log_key)
        _require_closing(read_message("AuditLeaf", closing["leaf"]), outcome)
        _require_later(opened, ended, closing)
    # 4
    states = {item["partner_id"]: item for item in outcome["partners"]}
    answers = _answers(front, chunk["answers"], states)
    keys = {
        f"{front.listing.federation}/witness/{name}": front.listing.partners[name]["witness_key"]
        for name in front.listing.witnesses
        if name in front.listing.partners
    }
    cosigners = cosigned_by(opened.note, keys) & cosigned_by(ended.note, keys)
    return Closed(states, answers, (opened, ended), frozenset(cosigners), outcome)


def _require_intent(leaf: Content, front: Front) -> None:
    mandate, header, signed = front.mandate, front.header, front.signed
    meant = {
        "type": _INTENT_LEAF, "query_id": header["query_id"],
        "header_digest": front.header_digest, "mandate_digest": sha256(signed["mandate"]),
        "partner_id": mandate["partner_id"], "user": front.user.spiffe_id,
        "purpose": mandate["purpose"], "legal_basis": mandate["legal_basis"],
        "mode": mandate["mode"], "schemes": mandate["schemes"],
        "term_count": header["term_count"],
        "detail_digest": header["detail_digest"], "approvers": list(front.approvers),
        "signatures": [signed["mandate_signature"], signed["statement_signature"],
                       *(item["signature"] for item in signed["approvals"])],
    }  # fmt: skip
    require(all(leaf[key] == value for key, value in meant.items()), "is of another query")
    late = abs(leaf["time_ms"] // 1000 - header["issued_at"]) > _LOGGED_WITHIN
    require(not late, "was logged at another time than the query says")


def _outcome(front: Front, chunk: Mapping[str, Any], intent_leaf: bytes) -> Content:
    octets, signature = unpacked(chunk["outcome"]), unpacked(chunk["outcome_signature"])
    outcome = read_message("Outcome", octets)
    gateway = front.listing.gateway(outcome["gateway"])
    require_signed(gateway["signing_key"], "outcome", octets, signature, "the gateway")
    bound = (outcome["query_id"], outcome["header_digest"], outcome["gateway"])
    meant = (front.header["query_id"], front.header_digest, gateway["spiffe_id"])
    require(bound == meant, "is of another query")
    require(outcome["intent_leaf_hash"] == leaf_of(intent_leaf), "names another INTENT")
    names = [item["partner_id"] for item in outcome["partners"]]
    require(names == sorted(set(names)), "is not well formed")
    for item in outcome["partners"]:
        require(item["answer_digest"] or item["status"] in _SILENT, "speaks in an owner's name")
    return outcome


def _require_closing(leaf: Content, outcome: Content) -> None:
    told = (leaf["type"], leaf["query_id"], leaf["partners"])
    require(
        told == (_OUTCOME_LEAF, outcome["query_id"], outcome["partners"]), "is logged otherwise"
    )


def _require_later(opened: LogHead, ended: LogHead, closing: Content) -> None:
    require(ended.size >= opened.size, "stands in an earlier state of the log than its INTENT")
    if ended.size == opened.size:
        require(ended.root == opened.root, "stands in another history than its INTENT")
        return
    begins = closing["consistency_from"] == opened.size
    require(begins, "does not extend the state of the log that its INTENT stands in")
    require_extends(opened.size, opened.root, ended.size, ended.root, closing["consistency"])


def _answers(
    front: Front, kept: Sequence[Mapping[str, Any]], states: Mapping[str, Content]
) -> dict[str, SignedAnswerOf]:
    found: dict[str, SignedAnswerOf] = {}
    for item in kept:
        partner = str(item["partner"])
        with naming(f"answer of {partner}"):
            octets = unpacked(item["header"])
            key = front.listing.partner(partner)["signing_key"]
            require_signed(key, "answer", octets, unpacked(item["signature"]), "its owner")
            header = read_message("AnswerHeader", octets)
            bound = (header["query_id"], header["header_digest"], header["partner_id"])
            meant = (front.header["query_id"], front.header_digest, partner)
            require(bound == meant, "is to another query, or another owner's")
            require(partner in states and partner not in found, "is not of the outcome")
            state = states[partner]
            same = (state["answer_digest"], state["status"], state["reason"]) == (
                sha256(octets), header["status"], header["reason"],
            )  # fmt: skip
            require(same, "is not the one that the outcome names")
            require(header["status"] in (ANSWERED, REFUSED, OVERLOADED), "has no owner's status")
            body = b"" if item["body"] is None else unpacked(item["body"])
            if body or item["body"] is not None:
                _require_body(front, header, body)
            found[partner] = SignedAnswerOf(partner, header, body)
    missing = {name for name, state in states.items() if state["answer_digest"]} - found.keys()
    for partner in sorted(missing):
        with naming(f"answer of {partner}"):
            require(not missing, "is missing, and the outcome names it")
    return found


def _require_body(front: Front, header: Content, body: bytes) -> None:
    size = body_octets(front.header["term_count"], front.header["element_count"])
    if header["status"] != ANSWERED:
        size = 0
    require(len(body) == size and sha256(body) == header["body_digest"], "has another body")
