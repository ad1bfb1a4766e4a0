"""What a SIEM is told of a leaf: one JSON object, with the names of the Elastic Common Schema where
that has one.

*Unclassified means secret*: only the fields of :data:`FIELDS` exist, a value that is not of its
field's shape becomes ``•`` (a refused caller's claims stand in a leaf as they were made), and of a
type of leaf that is not in :data:`EVENTS` nothing is told but that there is one. Digests,
signatures, commitments and log heads stay in the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from fairlead import merkle
from fairlead.auditing.fields import iso_ms, type_word, values
from fairlead.auditing.reading import leaf_of
from fairlead.telemetry import SECRET, Shape
from fairlead.v1 import audit_pb2 as pb

ECS_VERSION = "8.17"
_SUBJECT = re.compile(r"/?[A-Za-z]+[0-9]{0,3}(?:[-./,_]{1,2}(?:[A-Za-z]+[0-9]{0,3}|[0-9]{1,3}))*\Z")
_LOG = re.compile(r"(?:gateway|partner)/[a-z]+[0-9]{0,3}(?:-(?:[a-z]+[0-9]{0,3}|[0-9]{1,3}))*\Z")

FIELDS: Mapping[str, str] = {
    "@timestamp": "when the leaf was written, UTC",
    "ecs.version": "the version of the Elastic Common Schema",
    "event.kind": "`alert` for an alarm, else `event`",
    "event.category": "as the table of types says",
    "event.type": "as the table of types says",
    "event.action": "the leaf's type in lower case; `erased` where its hash alone is left",
    "event.outcome": "`failure` for a refusal, `unknown` for an alarm, else `success`",
    "event.module": "always `fairlead`",
    "event.dataset": "always `fairlead.audit`",
    "event.sequence": "the leaf's index: without gaps, the key to tell a repeated line by",
    "event.id": "the leaf's RFC 6962 hash, for `fairlead audit show`",
    "observer.name": "whose log it is: `gateway/<id>` or `partner/<id>`",
    "organization.id": "the partner the event is about",
    "user.id": "the person's pseudonymous SPIFFE id",
    "fairlead.subject": "what happened, from a fixed list",
    "fairlead.reasons": "codes: why it was refused, or what the alarm is",
    "fairlead.query_id": "the query",
    "fairlead.purpose": "the purpose",
    "fairlead.legal_basis": "the legal basis",
    "fairlead.mode": "`sealed` or `blind`",
    "fairlead.schemes": "the kinds of identifiers",
    "fairlead.terms": "how many terms",
    "fairlead.policy_serial": "the policy, directory or index in force",
    "fairlead.partners": "a list of each asked partner's `partner_id`, `status` and `reason`",
    "fairlead.released": "a list of each answer's `query_id`, `partner_id` and `status`",
    "fairlead.approvers": "second persons' SPIFFE ids",
    "fairlead.decision_batch": "the number of the batch of decision records",
    "fairlead.opened": "how many leaves' sealed details were asked for or opened",
    "fairlead.erased.class": "the class of the leaves erased or held",
    "fairlead.erased.count": "how many were erased",
    "fairlead.erased.held": "how many a legal hold kept",
    "fairlead.entries.listed": "what this log said of the other end of the line",
    "fairlead.entries.met": "what the other end said",
    "fairlead.entries.excused": "what of it needed no counterpart",
    "fairlead.figures.cube": "which cube it is about",
    "fairlead.figures.level": "at which level",
    "fairlead.figures.period": "the period asked about, or the unit released or summed",
    "fairlead.figures.version": "the version of the release; 0 in a question",
    "fairlead.figures.participants": "how many partners the release or the list has",
    "fairlead.read.first": "the first leaf an auditor could see",
    "fairlead.read.stop": "the leaf before which that ended",
}
"""Every field that a line can have, and what it holds."""

EVENTS: Mapping[int, tuple[str, str]] = {
    pb.LEAF_TYPE_INTENT: ("database", "access"),
    pb.LEAF_TYPE_RELEASE: ("database", "access"),
    pb.LEAF_TYPE_OUTCOME: ("database", "end"),
    pb.LEAF_TYPE_REFUSAL: ("database", "denied"),
    pb.LEAF_TYPE_ACTIVATION: ("configuration", "change"),
    pb.LEAF_TYPE_ALARM: ("intrusion_detection", "info"),
    pb.LEAF_TYPE_CASE: ("iam", "change"),
    pb.LEAF_TYPE_USER: ("iam", "user"),
    pb.LEAF_TYPE_OWNER: ("configuration", "change"),
    pb.LEAF_TYPE_HISTORY: ("database", "info"),
    pb.LEAF_TYPE_FEEDBACK: ("database", "info"),
    pb.LEAF_TYPE_PUBLICATION: ("database", "info"),
    pb.LEAF_TYPE_APPROVAL: ("iam", "info"),
    pb.LEAF_TYPE_DECISION: ("configuration", "info"),
    pb.LEAF_TYPE_WITNESS: ("intrusion_detection", "info"),
    pb.LEAF_TYPE_OPENING: ("database", "access"),
    pb.LEAF_TYPE_ERASURE: ("database", "deletion"),
    pb.LEAF_TYPE_RECONCILED: ("intrusion_detection", "info"),
    pb.LEAF_TYPE_READ: ("database", "access"),
    pb.LEAF_TYPE_TIMESTAMP: ("database", "info"),
    pb.LEAF_TYPE_FIGURES: ("database", "access"),
}
"""Types of leaves: category and type of the event."""

_PLAIN: Mapping[str, tuple[str, re.Pattern[str] | None]] = {
    "log": ("observer.name", _LOG),
    "partner_id": ("organization.id", Shape.SLUG.value),
    "user": ("user.id", Shape.SPIFFE.value),
    "subject": ("fairlead.subject", _SUBJECT),
    "reasons": ("fairlead.reasons", Shape.CODE.value),
    "query_id": ("fairlead.query_id", Shape.DIGEST.value),
    "purpose": ("fairlead.purpose", Shape.SLUG.value),
    "legal_basis": ("fairlead.legal_basis", Shape.SLUG.value),
    "mode": ("fairlead.mode", Shape.SLUG.value),
    "schemes": ("fairlead.schemes", Shape.SLUG.value),
    "term_count": ("fairlead.terms", None),
    "policy_serial": ("fairlead.policy_serial", None),
    "approvers": ("fairlead.approvers", Shape.SPIFFE.value),
    "decision_batch": ("fairlead.decision_batch", None),
    "opened_count": ("fairlead.opened", None),
    "erased_class": ("fairlead.erased.class", Shape.SLUG.value),
    "erased_count": ("fairlead.erased.count", None),
    "erased_held": ("fairlead.erased.held", None),
    "entries_listed": ("fairlead.entries.listed", None),
    "entries_met": ("fairlead.entries.met", None),
    "entries_excused": ("fairlead.entries.excused", None),
}
_NESTED: Mapping[str, tuple[str, Mapping[str, re.Pattern[str] | None]]] = {
    "partners": (
        "fairlead.partners",
        {
            "partner_id": Shape.SLUG.value,
            "status": Shape.SLUG.value,
            "reason": Shape.CODE.value,
        },
    ),
    "released": (
        "fairlead.released",
        {
            "query_id": Shape.DIGEST.value,
            "partner_id": Shape.SLUG.value,
            "status": Shape.SLUG.value,
        },
    ),
}
_WORD = r"[a-z]+[0-9]{0,3}(?:-(?:[a-z]+[0-9]{0,3}|[0-9]{1,3}))*"
_UNIT = r"[1-9][0-9]{3}(?:-Q[1-4]|-(?:0[1-9]|1[0-2]))?"
_FIGURES: Mapping[str, re.Pattern[str] | None] = {
    "cube": Shape.SLUG.value,
    "level": re.compile(rf"{_WORD}(?:,{_WORD}){{0,7}}\Z"),
    "period": re.compile(rf"{_UNIT}(?:\.\.{_UNIT})?\Z"),
    "version": None,
    "participants": None,
}
"""What is told of a FIGURES leaf; its digests are not."""
_HANDLED = frozenset({"type", "time_ms", "selection", "figures"})
WITHHELD = frozenset(
    {
        "mandate_digest", "header_digest", "rules", "commitment", "detail_digest",
        "request_digest", "erased_until_ms", "erased_digest", "opened_since", "opened_until",
        "intent_leaf_hash", "signatures", "checkpoints", "manifest_digest",
    }
)  # fmt: skip
"""Fields of a leaf that no line shows."""
TOLD = frozenset({*_PLAIN, *_NESTED, *_HANDLED})
"""Fields of a leaf that a line is made of; a test demands that each field is here or withheld."""


def line(index: int, body: bytes) -> bytes:
    """One leaf as a line of JSON with its newline.

    :raises Forged: LOG_CORRUPTED: it is no leaf.
    """
    return orjson.dumps(event(index, body), option=orjson.OPT_APPEND_NEWLINE)


def erased_line(index: int, leaf_hash: bytes) -> bytes:
    """The line of a leaf that was erased before it was told: its place and its hash."""
    found = {
        "ecs.version": ECS_VERSION,
        "event.kind": "event",
        "event.action": "erased",
        "event.module": "fairlead",
        "event.dataset": "fairlead.audit",
        "event.sequence": index,
        "event.id": leaf_hash.hex(),
    }
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)


def event(index: int, body: bytes) -> dict[str, Any]:
    """The object of :func:`line`."""
    leaf = leaf_of(body)
    known = EVENTS.get(leaf.type)
    outcome = {pb.LEAF_TYPE_REFUSAL: "failure", pb.LEAF_TYPE_ALARM: "unknown"}
    found: dict[str, Any] = {
        "@timestamp": iso_ms(leaf.time_ms),
        "ecs.version": ECS_VERSION,
        "event.kind": "alert" if leaf.type == pb.LEAF_TYPE_ALARM else "event",
        "event.action": type_word(leaf.type).lower() if known else "unknown",
        "event.outcome": outcome.get(leaf.type, "success"),
        "event.module": "fairlead",
        "event.dataset": "fairlead.audit",
        "event.sequence": index,
        "event.id": merkle.leaf_hash(body).hex(),
    }
    if known is None:
        return found
    found["event.category"], found["event.type"] = [known[0]], [known[1]]
    said = values(leaf)
    for name, (target, shape) in _PLAIN.items():
        if name in said:
            found[target] = _shaped(said[name], shape)
    for name, (target, shapes) in _NESTED.items():
        if name in said:
            found[target] = [
                {key: _shaped(item[key], shape) for key, shape in shapes.items() if key in item}
                for item in said[name]
            ]
    if leaf.type == pb.LEAF_TYPE_FIGURES:
        about = {"version": 0, "participants": 0, **said.get("figures", {})}
        for name, shape in _FIGURES.items():
            if name in about:
                found[f"fairlead.figures.{name}"] = _shaped(about[name], shape)
    if leaf.type == pb.LEAF_TYPE_READ:
        found["fairlead.read.first"] = leaf.selection.first
        found["fairlead.read.stop"] = leaf.selection.stop
    return found


def _shaped(value: Any, shape: re.Pattern[str] | None) -> Any:
    if isinstance(value, list):
        return [_shaped(item, shape) for item in value]
    if shape is None:
        return value if type(value) is int else SECRET
    fits = isinstance(value, str) and len(value) <= 128 and shape.match(value)
    return value if fits else SECRET
