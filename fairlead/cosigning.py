"""Cosignatures: a witness's timestamped signature on another log's checkpoint.

The format is cosignature/v1 of c2sp.org/tlog-cosignature with Ed25519 (signature type 0x04): a
signature line of the checkpoint's note under the name ``<federation>/witness/<partner>``. It says
that at that time the witness knew no larger tree of this log, and that this one contradicts
nothing it accepted before.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fairlead import receipts
from fairlead.errors import Forged, InvalidInput
from fairlead.partners import Directory

_COSIGNATURE = b"\x04"
_KEY, _TIME, _SIGNATURE = 4, 8, 64
MAX_LINE = 512
"""Octets of one line in UTF-8."""


def witness_name(federation: str, partner_id: str) -> str:
    """The key name of a partner's cosignatures."""
    return f"{federation}/witness/{partner_id}"


def cosign(checkpoint: str, name: str, key: Ed25519PrivateKey, now: float) -> str:
    """The signature line, without its newline, that adds ``name`` to a checkpoint's note.

    :param checkpoint: the note, whose own signature the caller has verified.
    :param now: unix seconds. :raises InvalidInput: no note.
    """
    text, _ = receipts.read_note(checkpoint)
    moment = int(now)
    public = key.public_key().public_bytes_raw()
    blob = receipts.key_id(name, public, _COSIGNATURE) + moment.to_bytes(_TIME, "big")
    return receipts.signature_line(name, blob + key.sign(_message(text, moment)))


def verify_cosignature(line: str, checkpoint: str, *, name: str, public_key: bytes) -> int:
    """Verify that one line is ``name``'s cosignature of a checkpoint's note.

    :returns: when it says it was made, unix seconds.
    :raises InvalidInput: no such line, or no note.
    :raises Forged: another name or key, or the signature is wrong.
    """
    text, _ = receipts.read_note(checkpoint)
    if len(line.encode(errors="replace")) > MAX_LINE:
        raise InvalidInput("a cosignature is too long", reasons=("NOTE",))
    (signer, blob), *more = receipts.read_note(f"{text}\n{line}\n")[1]
    if more:
        raise InvalidInput("a cosignature is more than a line", reasons=("NOTE",))
    return _verify(text, signer, blob, name=name, public_key=public_key)


def cosigners(checkpoint: str, directory: Directory) -> frozenset[str]:
    """The ids of the directory's witnesses whose cosignature on this note verifies.

    Lines of anybody else, and wrong ones, are nobody's. The log's own signature is not looked at.

    :raises InvalidInput: no note.
    """
    text, lines = receipts.read_note(checkpoint)
    names = {witness_name(directory.federation, p): p for p in directory.appointed.witnesses}
    found = set()
    for signer, blob in lines[: receipts.MAX_FOREIGN_SIGNATURES + 1]:
        partner = directory.partners.get(names.get(signer, ""))
        if partner is None or partner.partner_id in found:
            continue
        try:
            _verify(text, signer, blob, name=signer, public_key=partner.witness_key)
        except Forged:
            continue
        found.add(partner.partner_id)
    return frozenset(found)


def with_lines(checkpoint: str, lines: Iterable[str]) -> str:
    """The note with more signature lines, each once, those it has first.

    :raises InvalidInput: no note, or too large with them.
    """
    text, held = receipts.read_note(checkpoint)
    all_lines = [receipts.signature_line(name, blob) for name, blob in held]
    all_lines += lines
    note = "\n".join([text, *dict.fromkeys(all_lines), ""])
    receipts.read_note(note)
    return note


def _verify(text: str, signer: str, blob: bytes, *, name: str, public_key: bytes) -> int:
    wanted = receipts.key_id(name, public_key, _COSIGNATURE)
    moment = int.from_bytes(blob[_KEY : _KEY + _TIME], "big")
    whole = len(blob) == _KEY + _TIME + _SIGNATURE and moment <= receipts.MAX_SIZE
    if signer != name or blob[:_KEY] != wanted or not whole:
        raise Forged("a cosignature is not of the expected key", reasons=("NOTE_KEY",))
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(blob[_KEY + _TIME :], _message(text, moment))
    except (InvalidSignature, ValueError):
        raise Forged("a cosignature does not verify", reasons=("NOTE_SIGNATURE",)) from None
    return moment


def _message(text: str, moment: int) -> bytes:
    return f"cosignature/v1\ntime {moment}\n{text}".encode()
