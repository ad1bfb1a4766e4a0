"""A leaf in words: every field by its name, its value as a person reads it, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from fairlead.v1 import audit_pb2 as pb

MEANINGS: Mapping[str, str] = {
    "type": "what kind of event this is",
    "query_id": "the query it is about",
    "time_ms": "when it was written, by this log's clock (Unix milliseconds)",
    "log": "whose log this is",
    "partner_id": "the partner it is about: who asks, or as the event says",
    "user": "the pseudonym of the person who acted",
    "mandate_digest": "SHA-256 of what the user signed",
    "header_digest": "SHA-256 of the signed header of the query, or of the feedback",
    "purpose": "what the question is for",
    "legal_basis": "the law it rests on",
    "mode": "sealed: owners read the terms; blind: they learn their number alone",
    "schemes": "the kinds of identifiers asked about",
    "term_count": "how many terms",
    "policy_serial": "the policy, directory or index in force (of a certificate, its end)",
    "rules": "the rules of policy that the decision rests on",
    "reasons": "why, as codes: fairlead policy reasons",
    "partners": "each asked partner, its status, the reason, and the digest of its answer",
    "released": "each answer that leaves: query, partner, status, digest",
    "commitment": "HMAC-SHA256 that binds what the leaf does not show",
    "detail_digest": "SHA-256 of what is kept beside the leaf, or elsewhere",
    "intent_leaf_hash": "the gateway's INTENT that this one answers to",
    "subject": "what happened, from a fixed list",
    "signatures": "the user's, the node's and the approvers' signatures",
    "checkpoints": "signed log heads: the evidence of an alarm, or the head that was stamped",
    "manifest_digest": "SHA-256 of the manifest of a blind index",
    "approvers": "the pseudonyms of the second persons who let the query go",
    "decision_batch": "the number of the batch of decision records",
    "request_digest": "SHA-256 of the signed request to open sealed detail",
    "opened_count": "how many leaves' details it is about",
    "opened_since": "where a search begins (Unix seconds)",
    "opened_until": "where it ends",
    "erased_class": "the class of the leaves erased or held: whose question made them",
    "erased_until_ms": "they are older than this (Unix milliseconds)",
    "erased_count": "how many were erased",
    "erased_digest": "SHA-256 over the leaves erased; of a hold that ended, its first leaf's hash",
    "erased_held": "how many a legal hold kept",
    "entries_listed": "what this log said it did with the other one, since the last time",
    "entries_met": "what the other log said",
    "entries_excused": "what of it needs no counterpart: a log lost its tail or began anew",
    "figures": "which cube, level and period; of a release its version, its list and its digest",
    "selection": "what an auditor looked for, and among which leaves; or what a hold keeps",
}
"""Every field of a leaf, in words; a test keeps this whole."""


def values(message: Message) -> dict[str, Any]:
    """The fields of a message that are set, for JSON: octets as hexadecimal digits, choices as
    lower-case words, times of a leaf also as ISO 8601 (``time``)."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if _repeats(field):
            found[field.name] = [_value(field, item) for item in value]
        else:
            found[field.name] = _value(field, value)
        if field.name == "time_ms":
            found["time"] = iso_ms(value)
    return found


def iso_ms(milliseconds: int) -> str | None:
    """Unix milliseconds in ISO 8601, UTC; None where it is no time."""
    try:
        moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def type_word(number: int) -> str:
    """A type as it is written: ``INTENT``; a number where this release does not know it."""
    known = pb.LeafType.values()
    return _name(pb.LeafType, number, "LEAF_TYPE_") if number in known else str(number)


def gist(leaf: pb.AuditLeaf) -> str:
    """What a leaf says beside who, when and why, in a few words for a table."""
    parts = [leaf.subject, " ".join(leaf.reasons)]
    if leaf.type == pb.LEAF_TYPE_INTENT:
        mode = "blind" if leaf.mode == 2 else "sealed"
        parts = [f"{mode}, {leaf.term_count} × {', '.join(leaf.schemes)}"]
    elif leaf.type == pb.LEAF_TYPE_FIGURES:
        about = leaf.figures
        parts = [leaf.subject, about.cube, about.level.replace(",", " "), about.period]
    elif leaf.erased_count:
        counts = f"{leaf.erased_count} leaves of {leaf.erased_class}", f"{leaf.erased_held} held"
        parts = [leaf.subject, *counts]
    elif leaf.partners:
        parts = [
            f"{p.partner_id} {status_word(p.status)} {p.reason}".strip() for p in leaf.partners
        ]
    elif leaf.released:
        parts = [f"{a.partner_id} {status_word(a.status)}" for a in leaf.released]
    return ", ".join(part for part in parts if part)


def status_word(number: int) -> str:
    """A status as it is written: ``answered``; also where none was stated."""
    field = pb.ReleasedAnswer.DESCRIPTOR.fields_by_name["status"]
    return str(_value(field, number))


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return values(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.hex()
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _choice(field.enum_type, value)
    return value


def _choice(kind: EnumDescriptor | None, number: int) -> str | int:
    known = kind.values_by_number.get(number) if kind else None
    if kind is None or known is None:
        return number
    return str(known.name).removeprefix(kind.values[0].name.removesuffix("UNSPECIFIED")).lower()


def _name(kind: Any, number: int, prefix: str) -> str:
    return str(kind.Name(number)).removeprefix(prefix)


def _repeats(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)
