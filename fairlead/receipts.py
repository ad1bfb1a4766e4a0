"""Signed log heads and the receipts that prove a leaf under them, in the C2SP formats.

A *checkpoint* (c2sp.org/tlog-checkpoint) is a signed note (c2sp.org/signed-note) of origin, tree
size and root. A *tlog-proof* (c2sp.org/tlog-proof) is a leaf's index, its inclusion proof and
the checkpoint. A *receipt* adds the leaf itself and a consistency proof from the head that its
reader accepted last, so that a log which forks cannot show its readers two histories.

Notes are signed over their own text (Ed25519, signature type 0x01), not in a Fairlead domain.
Every parser here is total: whatever the input, it raises InvalidInput or Forged.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fairlead import errors, merkle
from fairlead.appointed import MAX_WITNESSES
from fairlead.v1 import audit_pb2

MAX_LEAF = 64 * 1024
"""Octets of a leaf."""
MAX_TEXT = 32 * 1024
"""Octets of a note or a proof in UTF-8: every witness under the longest name, and then some."""
MAX_HASHES = 64
"""Hashes in one proof: enough for any 64-bit tree size."""
MAX_FOREIGN_SIGNATURES = MAX_WITNESSES + 16
"""Signature lines by other keys that a note may carry beside ours: of all witnesses, and of keys
that are being rotated."""
MAX_SIZE = 2**63 - 1
PROOF_HEADER = "c2sp.org/tlog-proof@v1"

_ED25519 = b"\x01"
_DASH = "\N{EM DASH}"
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class CheckpointStale(errors.Stale):
    """The receipt does not start from the head this reader holds.

    :ivar size: the size of that head; a new receipt must prove consistency from it.
    """

    def __init__(self, size: int) -> None:
        super().__init__(
            "the receipt does not connect to the log head accepted last",
            reasons=("CHECKPOINT_STALE",),
            remedy="send a receipt with a consistency proof from the size named in the answer",
        )
        self.size = size


class CheckpointFork(errors.Forked):
    """Two heads of one log, both signed by it, that cannot both be true.

    :ivar checkpoints: the signed checkpoint accepted earlier, and the one that contradicts it.
    """

    def __init__(self, *, accepted: str, offered: str) -> None:
        super().__init__(
            "the log has signed two contradicting heads",
            reasons=("CHECKPOINT_FORK",),
            remedy="keep both checkpoints and tell the federation's operators",
        )
        self.checkpoints = (accepted, offered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log signs: its origin, tree size and 32-byte root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A verified checkpoint and the signed text that proved it."""

    origin: str
    size: int
    root: bytes
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A parsed, not yet verified, tlog-proof; ``checkpoint`` is the signed note verbatim."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def key_id(name: str, public_key: bytes, kind: bytes = _ED25519) -> bytes:
    """The 4-byte id of a note key (c2sp.org/signed-note, "Signatures").

    :param kind: the signature's type, one octet.
    """
    return hashlib.sha256(name.encode() + b"\n" + kind + public_key).digest()[:4]


def require_origin(origin: str) -> None:
    """Check that an origin can serve as a note's key name.

    :raises InvalidInput: empty, longer than 255 characters, or with a space, a plus sign or a
        control character.
    """
    plain = origin.isprintable() and not any(sign.isspace() or sign == "+" for sign in origin)
    if not plain or not 0 < len(origin) <= 255:
        raise errors.InvalidInput("a log origin is malformed", reasons=("ORIGIN",))


def sign_note(text: str, *, name: str, private_key: Ed25519PrivateKey) -> str:
    """Return ``text`` (which ends in a newline) as a note signed under the key name ``name``."""
    public_key = private_key.public_key().public_bytes_raw()
    blob = key_id(name, public_key) + private_key.sign(text.encode())
    return f"{text}\n{signature_line(name, blob)}\n"


def open_note(note: str, *, name: str, public_key: bytes) -> str:
    """Verify a signed note and return its text.

    :raises InvalidInput: malformed or beyond the limits.
    :raises Forged: not signed by this key under this name, or the signature is wrong.
    """
    # 1. Limits and characters; 2. text and signatures; 3. every signature line is well formed.
    text, lines = read_note(note)
    wanted = key_id(name, public_key)
    signatures = [blob[4:] for signer, blob in lines if signer == name and blob[:4] == wanted]
    if len(lines) - len(signatures) > MAX_FOREIGN_SIGNATURES or len(signatures) > 1:
        raise errors.InvalidInput("a note has too many signatures", reasons=("NOTE_SIGNATURES",))
    if not signatures:
        raise errors.Forged("the note is not signed by the expected key", reasons=("NOTE_KEY",))
    # 4. The one signature by the known key verifies.
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(signatures[0], text.encode())
    except (InvalidSignature, ValueError):
        raise errors.Forged(
            "the note's signature does not verify", reasons=("NOTE_SIGNATURE",)
        ) from None
    return text


def read_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text, and name and octets of each signature line; nothing is verified.

    :raises InvalidInput: malformed or beyond the limits.
    """
    # 1. Limits and characters.
    _require_text(note)
    # 2. The last empty line parts text and signatures.
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not text or not separator or lines.pop() != "" or not lines:
        raise _malformed_note()
    # 3. Every signature line is well formed.
    return f"{text}\n", [_signature_line(line) for line in lines]


def own_note(note: str, *, name: str, public_key: bytes) -> str:
    """A verified note with the signature of this key alone: what is kept as evidence is small,
    however many lines of others came with it."""
    text, lines = read_note(note)
    wanted = key_id(name, public_key)
    own = [signature_line(n, blob) for n, blob in lines if n == name and blob[:4] == wanted]
    return "\n".join([text, *own, ""])


def signature_line(name: str, blob: bytes) -> str:
    """A signature as a line of a note, without its newline (c2sp.org/signed-note)."""
    return f"{_DASH} {name} {_encode(blob)}"


def sign_checkpoint(checkpoint: Checkpoint, private_key: Ed25519PrivateKey) -> str:
    """Sign a tree head under its origin as key name (c2sp.org/tlog-checkpoint).

    :raises InvalidInput: the origin, the size or the root is malformed.
    """
    require_origin(checkpoint.origin)
    if not 0 <= checkpoint.size <= MAX_SIZE or len(checkpoint.root) != merkle.HASH_SIZE:
        raise _malformed_checkpoint()
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{_encode(checkpoint.root)}\n"
    return sign_note(body, name=checkpoint.origin, private_key=private_key)


def open_checkpoint(text: str, origin: str, public_key: bytes) -> Checkpoint:
    """Verify a signed checkpoint of the log ``origin``.

    Extension lines are refused: no log of this federation writes any, and nobody audits them.

    :raises InvalidInput: malformed or beyond the limits.
    :raises Forged: another key, a wrong signature, or another origin.
    """
    require_origin(origin)
    found = _checkpoint(open_note(text, name=origin, public_key=public_key))
    if found.origin != origin:
        raise errors.Forged("the checkpoint is of another log", reasons=("CHECKPOINT_ORIGIN",))
    return found


def read_checkpoint(note: str) -> Checkpoint:
    """What a checkpoint says; nothing is verified.

    :raises InvalidInput: malformed or beyond the limits.
    """
    return _checkpoint(read_note(note)[0])


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0]:
        raise _malformed_checkpoint()
    return Checkpoint(origin=lines[0], size=_number(lines[1]), root=_hash(lines[2]))


def open_checkpoint_of(text: str, origin: str, public_keys: Sequence[bytes]) -> Checkpoint:
    """Verify a checkpoint under whichever of a log's keys, its own and former ones, signed it.

    :raises InvalidInput: :raises Forged: as :func:`open_checkpoint` under the first key.
    """
    for former in public_keys[1:]:
        with contextlib.suppress(errors.Forged):
            return open_checkpoint(text, origin, former)
    return open_checkpoint(text, origin, public_keys[0])


def format_proof(proof: TlogProof) -> str:
    """Write a tlog-proof as text."""
    extra = [] if proof.extra is None else [f"extra {_encode(proof.extra)}"]
    lines = [PROOF_HEADER, *extra, f"index {proof.index}", *map(_encode, proof.hashes)]
    return "\n".join(lines) + "\n\n" + proof.checkpoint


def parse_proof(text: str) -> TlogProof:
    """Read a tlog-proof. Nothing of the result is trusted until verified; ``extra`` never is.

    :raises InvalidInput: malformed or beyond the limits.
    """
    _require_text(text)
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != PROOF_HEADER:
        raise _malformed_proof()
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _decode(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise _malformed_proof()
    index = _number(lines.pop(0).removeprefix("index "))
    if len(lines) > MAX_HASHES:
        raise _malformed_proof()
    return TlogProof(
        index=index, hashes=tuple(map(_hash, lines)), checkpoint=checkpoint, extra=extra
    )


def make_receipt(
    *,
    leaf: bytes,
    index: int,
    inclusion: Sequence[bytes],
    checkpoint: str,
    consistency_from: int = 0,
    consistency: Sequence[bytes] = (),
) -> audit_pb2.Receipt:
    """Put a receipt together from proofs that end in one signed ``checkpoint``."""
    proof = TlogProof(index=index, hashes=tuple(inclusion), checkpoint=checkpoint)
    return audit_pb2.Receipt(
        leaf=leaf,
        tlog_proof=format_proof(proof),
        consistency_from=consistency_from,
        consistency=consistency,
    )


def verify_receipt(
    receipt: audit_pb2.Receipt, *, origin: str, public_key: bytes, head: Head | None
) -> Head:
    """Verify a receipt of the log ``origin`` and return the head it proves.

    :param public_key: the log's Ed25519 key, 32 bytes, from the directory.
    :param head: the head of this log accepted last; None only on first contact.
    :raises InvalidInput: malformed or beyond the limits.
    :raises Forged: signature, origin or inclusion is wrong.
    :raises CheckpointStale: the receipt does not start from ``head``; ask for another.
    :raises CheckpointFork: the log contradicts ``head``; carries both signed checkpoints.
    """
    # 1. Limits.
    _require_limits(receipt)
    # 2. Parse.
    proof = parse_proof(receipt.tlog_proof)
    # 3. Signature, and 4. origin, of the checkpoint.
    offered = open_checkpoint(proof.checkpoint, origin, public_key)
    checkpoint = own_note(proof.checkpoint, name=origin, public_key=public_key)
    # 5. Inclusion of the leaf.
    merkle.verify_inclusion(
        leaf=merkle.leaf_hash(receipt.leaf),
        index=proof.index,
        size=offered.size,
        proof=proof.hashes,
        root=offered.root,
    )
    # 6. Consistency with the head accepted last.
    if head is None:
        if receipt.consistency_from or receipt.consistency:
            raise CheckpointStale(0)
    else:
        _require_extension(receipt, offered, head, checkpoint)
    # 7. The new head; what was proved under an older one, which witnesses cosigned, moves nothing.
    if head is not None and offered.size < head.size:
        return head
    return Head(origin=origin, size=offered.size, root=offered.root, checkpoint=checkpoint)


def _require_extension(
    receipt: audit_pb2.Receipt, offered: Checkpoint, head: Head, checkpoint: str
) -> None:
    if head.origin != offered.origin:
        raise errors.Forged("the head is of another log", reasons=("CHECKPOINT_ORIGIN",))
    if offered.size == head.size:
        # Equal roots are the strongest consistency there is, whatever the receipt starts from:
        # answers of one group commit share a head.
        if offered.root != head.root:
            raise CheckpointFork(accepted=head.checkpoint, offered=checkpoint)
        return
    unproved = offered.size < head.size and not receipt.consistency
    if receipt.consistency_from != head.size or unproved:
        raise CheckpointStale(head.size)
    known = Checkpoint(origin=head.origin, size=head.size, root=head.root)
    older, newer = (known, offered) if head.size < offered.size else (offered, known)
    try:
        merkle.verify_consistency(
            old_size=older.size,
            old_root=older.root,
            new_size=newer.size,
            new_root=newer.root,
            proof=receipt.consistency,
        )
    except errors.Forged:
        raise CheckpointFork(accepted=head.checkpoint, offered=checkpoint) from None


def _require_limits(receipt: audit_pb2.Receipt) -> None:
    too_much = (
        not 0 < len(receipt.leaf) <= MAX_LEAF
        or len(receipt.consistency) > MAX_HASHES
        or any(len(value) != merkle.HASH_SIZE for value in receipt.consistency)
        or receipt.consistency_from > MAX_SIZE
    )
    if too_much:
        raise errors.InvalidInput("a receipt breaks a limit", reasons=("RECEIPT_LIMIT",))


def _require_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise errors.InvalidInput("a note is not UTF-8 text", reasons=("NOTE_TEXT",)) from None
    if size > MAX_TEXT or _CONTROL.search(text):
        raise errors.InvalidInput(
            "a note is too long or has control characters", reasons=("NOTE_TEXT",)
        )


def _signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not parts[1] or "+" in parts[1]:
        raise _malformed_note()
    if any(sign.isspace() for sign in parts[1]):
        raise _malformed_note()
    blob = _decode(parts[2])
    if len(blob) < 5:
        raise _malformed_note()
    return parts[1], blob


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    """Standard base64, accepted in its one canonical spelling only."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.InvalidInput("base64 is malformed", reasons=("BASE64",)) from None
    if _encode(data) != text:
        raise errors.InvalidInput("base64 is not canonical", reasons=("BASE64",))
    return data


def _number(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise errors.InvalidInput("a size or an index is malformed", reasons=("DECIMAL",))
    return int(text)


def _hash(text: str) -> bytes:
    value = _decode(text)
    if len(value) != merkle.HASH_SIZE:
        raise errors.InvalidInput("a hash has not 32 bytes", reasons=("HASH",))
    return value


def _malformed_note() -> errors.InvalidInput:
    return errors.InvalidInput("a signed note is malformed", reasons=("NOTE",))


def _malformed_checkpoint() -> errors.InvalidInput:
    return errors.InvalidInput("a checkpoint is malformed", reasons=("CHECKPOINT",))


def _malformed_proof() -> errors.InvalidInput:
    return errors.InvalidInput("a proof is malformed", reasons=("TLOG_PROOF",))
