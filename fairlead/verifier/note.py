"""C2SP signed notes, checkpoints, tlog-proofs and cosignatures."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fairlead.verifier.finding import EvidenceFailed, reading, require
from fairlead.verifier.tree import HASH, leaf_of, require_included
from fairlead.verifier.wire import Content

MAX_NOTE = 32 * 1024
MAX_STRANGERS = 64 + 16
"""Witnesses, and keys nobody here knows."""
MAX_PATH = 64
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NOTE, _PROOF = "has a malformed note", "has a malformed tlog-proof"
_DASH = "\N{EM DASH}"


@dataclass(frozen=True)
class LogHead:
    """A verified checkpoint, and the note it stands in."""

    origin: str
    size: int
    root: bytes
    note: str


def signed_by(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature verifies (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def note_text(note: str, name: str, public: bytes) -> str:
    """The text of a note that ``public`` signed under ``name``.

    :raises EvidenceFailed: malformed, or not signed by it.
    """
    text, lines = _parted(note)
    wanted, ours = _key_id(name, b"\x01", public), []
    for signer, blob in map(_signature, lines):
        if signer == name and blob[:4] == wanted:
            ours.append(blob[4:])
    require(len(lines) - len(ours) <= MAX_STRANGERS and len(ours) <= 1, _NOTE)
    require(ours, "is not signed by the log it names")
    require(signed_by(public, text.encode(), ours[0]), "has a log's signature that is wrong")
    return text


def checkpoint(note: str, origin: str, public: bytes) -> LogHead:
    """A log's signed head. :raises EvidenceFailed: it is none of this log."""
    lines = note_text(note, origin, public).split("\n")
    require(len(lines) == 4 and lines[0] == origin, "has a checkpoint of another log")
    return LogHead(origin, _size(lines[1]), _hash(lines[2]), note)


def proven(receipt: Content, origin: str, public: bytes) -> LogHead:
    """The head under which a receipt proves its leaf.

    :raises EvidenceFailed: it does not.
    """
    leaf, text = receipt["leaf"], receipt["tlog_proof"]
    require(0 < len(leaf) <= 64 * 1024, "is larger than allowed")
    index, path, note = read_proof(text)
    head = checkpoint(note, origin, public)
    require_included(leaf_of(leaf), index, head.size, path, head.root)
    return head


def read_proof(text: str) -> tuple[int, list[bytes], str]:
    """Index, path and checkpoint of a tlog-proof; nothing of them is verified."""
    _check_text(text)
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    require(separator and lines.pop(0) == "c2sp.org/tlog-proof@v1", _PROOF)
    if lines and lines[0].startswith("extra "):
        _octets_of(lines.pop(0)[6:])
    require(lines and lines[0].startswith("index ") and len(lines) <= MAX_PATH + 1, _PROOF)
    return _size(lines[0][6:]), [_hash(line) for line in lines[1:]], note


def cosigned_by(note: str, keys: dict[str, bytes]) -> set[str]:
    """Those of some witnesses, by key name, whose cosignature (type 4) verifies."""
    text, lines = _parted(note)
    found = set()
    for signer, blob in map(_signature, lines):
        public = keys.get(signer)
        if public is None or len(blob) != 76 or blob[:4] != _key_id(signer, b"\x04", public):
            continue
        moment = int.from_bytes(blob[4:12], "big")
        said = f"cosignature/v1\ntime {moment}\n{text}"
        if signed_by(public, said.encode(), blob[12:]):
            found.add(signer)
    return found


def _parted(note: str) -> tuple[str, list[str]]:
    _check_text(note)
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    require(text and separator and lines.pop() == "" and lines, _NOTE)
    return f"{text}\n", lines


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    require(len(parts) == 3 and parts[0] == _DASH and parts[1], _NOTE)
    require("+" not in parts[1] and not any(map(str.isspace, parts[1])), _NOTE)
    blob = _octets_of(parts[2])
    require(len(blob) >= 5, _NOTE)
    return parts[1], blob


def _key_id(name: str, kind: bytes, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def _check_text(text: str) -> None:
    size = len(reading(text.encode, _NOTE))
    require(size <= MAX_NOTE and not _FORBIDDEN.search(text), _NOTE)


def _octets_of(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        raise EvidenceFailed("has base64 that is malformed") from None
    require(base64.b64encode(found).decode() == text, "has base64 that is malformed")
    return found


def _size(text: str) -> int:
    require(_SIZE.fullmatch(text) and int(text) < 2**63, "has a malformed size or index")
    return int(text)


def _hash(text: str) -> bytes:
    found = _octets_of(text)
    require(len(found) == HASH, "has a hash that has not 32 octets")
    return found
