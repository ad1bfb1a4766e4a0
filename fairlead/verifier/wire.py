"""Canonical protobuf, read and written by tables of our own.

A signed message has one encoding only (docs/protocol.md): fields ascend, none is unknown, none has
its default value. What is read is written again and must come out the same, octet by octet.
"""

from __future__ import annotations

from typing import Any

from fairlead.verifier.finding import EvidenceFailed, require

MAX_SIGNED = 4 * 1024 * 1024
"""Octets; no signed message is larger."""

TABLES: dict[str, dict[int, tuple[str, str]]] = {
    "SignedDirectory": {1: ("directory", "bytes"), 2: ("signatures", "*OperatorSignature")},
    "OperatorSignature": {1: ("key_id", "bytes"), 2: ("signature", "bytes")},
    "Directory": {
        1: ("federation", "string"), 2: ("serial", "u64"), 3: ("issued_at", "i64"),
        4: ("expires_at", "i64"), 5: ("partners", "*SignedPartnerEntry"),
        6: ("gateways", "*GatewayEntry"), 7: ("federation_ca", "bytes"),
        8: ("release_tick_ms", "u32"), 9: ("audit_committee", "*string"),
        10: ("audit_threshold", "u32"), 11: ("witnesses", "*string"),
        12: ("tolerated_witnesses", "u32"),
    },
    "SignedPartnerEntry": {1: ("entry", "bytes"), 2: ("root_signature", "bytes")},
    "PartnerEntry": {
        1: ("partner_id", "string"), 2: ("display_name", "string"), 3: ("kind", "enum"),
        4: ("country", "string"), 5: ("nodes", "*NodeEntry"), 6: ("signing_key", "bytes"),
        7: ("sealing_key", "bytes"), 8: ("mask_key", "bytes"), 9: ("witness_key", "bytes"),
        10: ("user_authority", "bytes"), 11: ("oversight_key", "bytes"),
        12: ("schemes", "*string"), 13: ("cubes", "*string"), 14: ("protocol_versions", "*u32"),
        15: ("sequence", "u64"), 16: ("previous_digest", "bytes"), 17: ("root_key", "bytes"),
        18: ("contact_desk", "string"),
    },
    "NodeEntry": {1: ("spiffe_id", "string"), 2: ("endpoint", "string")},
    "GatewayEntry": {
        1: ("spiffe_id", "string"), 2: ("endpoint", "string"), 3: ("signing_key", "bytes"),
        4: ("log_key", "bytes"), 5: ("log_origin", "string"),
        6: ("former_checkpoint", "string"),
    },
    "SignedQuery": {
        1: ("mandate", "bytes"), 2: ("mandate_signature", "bytes"),
        3: ("user_certificate", "bytes"), 4: ("header", "bytes"),
        5: ("session_signature", "bytes"), 6: ("statement", "bytes"),
        7: ("statement_signature", "bytes"), 8: ("approvals", "*SignedApproval"),
    },
    "Mandate": {
        1: ("federation", "string"), 2: ("mandate_id", "bytes"), 3: ("partner_id", "string"),
        4: ("user_certificate_digest", "bytes"), 5: ("purpose", "string"),
        6: ("legal_basis", "string"), 7: ("case_commitment", "bytes"), 8: ("mode", "enum"),
        9: ("schemes", "*string"), 10: ("term_count", "u32"), 11: ("terms_root", "bytes"),
        12: ("partner_digests", "*bytes"), 13: ("issued_at", "i64"), 14: ("expires_at", "i64"),
        15: ("session_key", "bytes"), 16: ("required_approvals", "u32"),
    },
    "QueryHeader": {
        1: ("query_id", "bytes"), 2: ("mandate_digest", "bytes"), 3: ("chunk", "u32"),
        4: ("term_count", "u32"), 5: ("issued_at", "i64"), 6: ("reply_key", "bytes"),
        7: ("part_digests", "*bytes"), 8: ("directory_serial", "u64"),
        9: ("chunk_root", "bytes"), 10: ("chunk_path", "*bytes"), 11: ("element_count", "u32"),
        12: ("detail_digest", "bytes"),
    },
    "NodeStatement": {
        1: ("query_id", "bytes"), 2: ("header_digest", "bytes"), 3: ("mandate_digest", "bytes"),
        4: ("partner_id", "string"), 5: ("case_commitment", "bytes"), 6: ("case_open", "bool"),
        7: ("user_assigned", "bool"), 8: ("policy_serial", "u64"), 9: ("issued_at", "i64"),
        10: ("guard_passed", "bool"), 11: ("instrument", "Instrument"),
    },
    "Instrument": {
        1: ("kind", "string"), 2: ("authority", "string"), 3: ("valid_until", "i64"),
        4: ("commitment", "bytes"),
    },
    "Approval": {
        1: ("mandate_digest", "bytes"), 2: ("partner_id", "string"),
        3: ("approver_certificate_digest", "bytes"), 4: ("issued_at", "i64"),
        5: ("expires_at", "i64"), 6: ("urgent", "bool"),
    },
    "SignedApproval": {
        1: ("approval", "bytes"), 2: ("signature", "bytes"), 3: ("certificate", "bytes"),
    },
    "TermLeaf": {
        1: ("scheme", "string"), 2: ("value", "string"), 3: ("nonce", "bytes"),
        4: ("since", "i64"), 5: ("until", "i64"), 6: ("events", "*string"), 7: ("tlp", "enum"),
        8: ("pap", "enum"),
    },
    "SignedAnswer": {1: ("header", "bytes"), 2: ("signature", "bytes"), 3: ("body", "bytes")},
    "AnswerHeader": {
        1: ("query_id", "bytes"), 2: ("partner_id", "string"), 3: ("status", "enum"),
        4: ("reason", "string"), 5: ("policy_serial", "u64"), 6: ("index_age_s", "i64"),
        7: ("index_root", "bytes"), 8: ("body_digest", "bytes"), 9: ("header_digest", "bytes"),
        10: ("paused_since", "i64"),
    },
    "AnswerBody": {
        1: ("query_id", "bytes"), 2: ("partner_id", "string"), 3: ("answers", "*TermAnswer"),
        4: ("retention_days", "u32"), 5: ("evaluated", "*EvaluatedTerms"),
        6: ("onward", "string"),
    },
    "EvaluatedTerms": {1: ("elements", "bytes"), 2: ("proofs", "bytes"), 3: ("manifest", "bytes")},
    "TermAnswer": {
        1: ("index", "u32"), 2: ("hit", "bool"), 3: ("count_band", "string"),
        4: ("contact_desk", "string"), 5: ("records", "*Record"), 6: ("more", "bool"),
        7: ("grade", "string"), 8: ("outside", "bool"),
    },
    "Record": {
        1: ("record_type", "string"), 2: ("event", "string"), 3: ("occurred_at", "i64"),
        4: ("fields", "*Field"), 5: ("handling", "Handling"), 6: ("ref", "bytes"),
        7: ("withheld", "*string"),
    },
    "Field": {1: ("name", "string"), 2: ("value", "string")},
    "Handling": {
        1: ("tlp", "enum"), 2: ("pap", "enum"), 3: ("europol", "string"),
        4: ("source_grade", "string"), 5: ("information_grade", "string"),
    },
    "Outcome": {
        1: ("query_id", "bytes"), 2: ("header_digest", "bytes"),
        3: ("partners", "*PartnerOutcome"), 4: ("intent_leaf_hash", "bytes"),
        5: ("closed_at", "i64"), 6: ("gateway", "string"), 7: ("policy_serial", "u64"),
    },
    "PartnerOutcome": {
        1: ("partner_id", "string"), 2: ("status", "enum"), 3: ("reason", "string"),
        4: ("answer_digest", "bytes"),
    },
    "AuditLeaf": {
        1: ("type", "enum"), 2: ("query_id", "bytes"), 3: ("time_ms", "i64"), 4: ("log", "string"),
        5: ("partner_id", "string"), 6: ("user", "string"), 7: ("mandate_digest", "bytes"),
        8: ("header_digest", "bytes"), 9: ("purpose", "string"), 10: ("legal_basis", "string"),
        11: ("mode", "enum"), 12: ("schemes", "*string"), 13: ("term_count", "u32"),
        14: ("policy_serial", "u64"), 15: ("rules", "*string"), 16: ("reasons", "*string"),
        17: ("partners", "*PartnerOutcome"), 18: ("released", "*ReleasedAnswer"),
        19: ("commitment", "bytes"), 20: ("detail_digest", "bytes"),
        21: ("intent_leaf_hash", "bytes"), 22: ("subject", "string"), 23: ("signatures", "*bytes"),
        24: ("checkpoints", "*string"), 25: ("manifest_digest", "bytes"),
        26: ("approvers", "*string"), 40: ("decision_batch", "u64"),
        55: ("request_digest", "bytes"), 56: ("opened_count", "u32"), 57: ("opened_since", "i64"),
        58: ("opened_until", "i64"), 60: ("erased_class", "string"),
        61: ("erased_until_ms", "i64"), 62: ("erased_count", "u64"), 63: ("erased_digest", "bytes"),
        64: ("erased_held", "u64"), 65: ("entries_listed", "u64"), 66: ("entries_met", "u64"),
        67: ("entries_excused", "u64"), 70: ("selection", "LeafSelection"),
        71: ("figures", "FiguresLeaf"),
    },
    "FiguresLeaf": {
        1: ("cube", "string"), 2: ("cube_version", "u32"), 3: ("level", "string"),
        4: ("period", "string"), 5: ("version", "u32"), 6: ("list_digest", "bytes"),
        7: ("participants", "u32"), 8: ("statement_digest", "bytes"),
    },
    "LeafSelection": {
        1: ("first", "u64"), 2: ("stop", "u64"), 3: ("since_ms", "i64"), 4: ("until_ms", "i64"),
        5: ("types", "*enum"), 6: ("partners", "*string"), 7: ("purposes", "*string"),
        8: ("users", "*string"), 9: ("query_id", "bytes"), 10: ("reasons", "*string"),
    },
    "ReleasedAnswer": {
        1: ("query_id", "bytes"), 2: ("partner_id", "string"), 3: ("status", "enum"),
        4: ("answer_digest", "bytes"),
    },
    "Receipt": {
        1: ("leaf", "bytes"), 2: ("tlog_proof", "string"), 3: ("consistency_from", "u64"),
        4: ("consistency", "*bytes"),
    },
    "SignedBlindManifest": {1: ("manifest", "bytes"), 2: ("signature", "bytes")},
    "BlindManifest": {
        1: ("federation", "string"), 2: ("owner", "string"), 3: ("node", "string"),
        4: ("audience", "BlindAudience"), 5: ("epoch", "u32"), 6: ("begins_at", "i64"),
        7: ("ends_at", "i64"), 8: ("answers_until", "i64"), 9: ("scheme", "string"),
        10: ("norm_version", "u32"), 11: ("serial", "u64"), 12: ("predecessor", "bytes"),
        13: ("public_key", "bytes"), 14: ("entry_count", "u64"), 15: ("snapshot_digest", "bytes"),
        16: ("contact_desks", "*string"), 17: ("made_at", "i64"), 18: ("pages_root", "bytes"),
    },
    "BlindAudience": {
        1: ("partners", "*string"), 2: ("purposes", "*string"), 3: ("policy_serial", "u64"),
    },
}  # fmt: skip
"""Message to field number to name and kind; ``*`` is repeated, a capital letter another message."""

_NUMBERS = {"u32": (0, 2**32), "u64": (0, 2**64), "i64": (-(2**63), 2**63),
            "enum": (-(2**31), 2**31), "bool": (0, 2)}  # fmt: skip
_UNDECODABLE = "is not the one encoding of its content"

Content = dict[str, Any]


def read_message(kind: str, data: bytes) -> Content:
    """Read a message in its one encoding; a message that is absent reads as None.

    :raises EvidenceFailed: anything else.
    """
    require(len(data) <= MAX_SIGNED, "is larger than allowed")
    table = TABLES[kind]
    found: Content = {}
    for name, of in table.values():
        found[name] = [] if of[0] == "*" else None if of[0].isupper() else _default(of)
    at, last = 0, 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        require(number in table and number >= last, _UNDECODABLE)
        name, of = table[number]
        require(number > last or of[0] == "*", _UNDECODABLE)
        last = number
        plain = of.lstrip("*")
        if plain in _NUMBERS and of[0] != "*":
            require(form == 0, _UNDECODABLE)
            value, at = _varint(data, at)
            found[name] = _number_of(plain, value)
            continue
        require(form == 2, _UNDECODABLE)
        size, at = _varint(data, at)
        part, at = data[at : at + size], at + size
        require(at <= len(data), _UNDECODABLE)
        if plain in _NUMBERS:
            require(not found[name], _UNDECODABLE)
            found[name] = _packed(plain, part)
        elif of[0] == "*":
            found[name].append(_value(plain, part))
        else:
            found[name] = _value(plain, part)
    require(write_message(kind, found) == data, _UNDECODABLE)
    return found


def write_message(kind: str, content: Content) -> bytes:
    """The one encoding of a message; fields that are left out have their default."""
    out = bytearray()
    for number, (name, of) in TABLES[kind].items():
        value, plain = content.get(name), of.lstrip("*")
        if of[0] == "*" and plain in _NUMBERS:
            if value:
                part = b"".join(_varint_of(item % 2**64) for item in value)
                out += _framed(number, part)
        elif of[0] == "*":
            for item in value or ():
                out += _framed(number, _octets(plain, item))
        elif plain in _NUMBERS:
            if value:
                out += _varint_of(number << 3) + _varint_of(int(value) % 2**64)
        elif plain[0].isupper():
            if value is not None:
                out += _framed(number, _octets(plain, value))
        elif value:
            out += _framed(number, _octets(plain, value))
    return bytes(out)


def _default(of: str) -> Any:
    return {"bytes": b"", "string": "", "bool": False}.get(of, 0)


def _value(plain: str, part: bytes) -> Any:
    if plain == "bytes":
        return part
    if plain == "string":
        try:
            return part.decode()
        except UnicodeDecodeError:
            raise EvidenceFailed(_UNDECODABLE) from None
    return read_message(plain, part)


def _octets(plain: str, value: Any) -> bytes:
    if plain == "bytes":
        return bytes(value)
    if plain == "string":
        return str(value).encode()
    return write_message(plain, value)


def _number_of(plain: str, value: int) -> Any:
    low, high = _NUMBERS[plain]
    signed = value - 2**64 if low < 0 and value >= 2**63 else value
    require(low <= signed < high, _UNDECODABLE)
    return bool(signed) if plain == "bool" else signed


def _packed(plain: str, part: bytes) -> list[Any]:
    found, at = [], 0
    while at < len(part):
        value, at = _varint(part, at)
        found.append(_number_of(plain, value))
    return found


def _framed(number: int, part: bytes) -> bytes:
    return _varint_of(number << 3 | 2) + _varint_of(len(part)) + part


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        require(at < len(data) and shift < 70, _UNDECODABLE)
        octet = data[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            require(value < 2**64, _UNDECODABLE)
            return value, at


def _varint_of(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
