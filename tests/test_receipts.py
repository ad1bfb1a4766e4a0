"""Checkpoints and receipts: the C2SP formats byte for byte, and what a log could try."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from fairlead import errors, merkle, receipts
from fairlead.v1 import audit_pb2

ORIGIN = "gateway.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))

# A published note, key and signature (golang.org/x/mod/sumdb/note): values only.
PUBLISHED_NAME = "PeterNeumann"
PUBLISHED_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
PUBLISHED_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PUBLISHED_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


class Log:
    """A log without a disk: leaves ``b"0"``, ``b"1"`` ... under one key."""

    def __init__(
        self,
        leaves: int,
        *,
        origin: str = ORIGIN,
        key: Ed25519PrivateKey = KEY,
        leaf: Callable[[int], bytes] = lambda index: str(index).encode(),
    ) -> None:
        self.origin, self.key, self.leaf, self.tree = origin, key, leaf, merkle.Tree()
        for index in range(leaves):
            self.tree.append(merkle.leaf_hash(leaf(index)))

    def checkpoint(self, size: int) -> str:
        return receipts.sign_checkpoint(
            receipts.Checkpoint(origin=self.origin, size=size, root=self.tree.root(size)), self.key
        )

    def head(self, size: int) -> receipts.Head:
        return receipts.Head(
            origin=self.origin,
            size=size,
            root=self.tree.root(size),
            checkpoint=self.checkpoint(size),
        )

    def receipt(self, index: int, size: int, known: int = 0) -> audit_pb2.Receipt:
        return receipts.make_receipt(
            leaf=self.leaf(index),
            index=index,
            inclusion=self.tree.inclusion(index, size),
            checkpoint=self.checkpoint(size),
            consistency_from=known,
            consistency=self.tree.consistency(known, size) if known else (),
        )


def verify(receipt: audit_pb2.Receipt, head: receipts.Head | None = None) -> receipts.Head:
    return receipts.verify_receipt(receipt, origin=ORIGIN, public_key=PUBLIC, head=head)


def resigned(body: str, *, name: str = ORIGIN) -> str:
    return receipts.sign_note(body, name=name, private_key=KEY)


def test_a_published_note_verifies() -> None:
    """A note signed by another implementation verifies, and we sign the same key id."""
    note = f"{PUBLISHED_TEXT}\n— {PUBLISHED_NAME} {PUBLISHED_SIGNATURE}\n"
    text = receipts.open_note(note, name=PUBLISHED_NAME, public_key=PUBLISHED_KEY)
    assert text == PUBLISHED_TEXT
    assert receipts.key_id(PUBLISHED_NAME, PUBLISHED_KEY).hex() == "c74f20a3"


def test_checkpoint_format() -> None:
    """A checkpoint is origin, size, base64 root, blank line and one signature line."""
    root = hashlib.sha256(b"root").digest()
    text = receipts.sign_checkpoint(receipts.Checkpoint(origin=ORIGIN, size=7, root=root), KEY)
    body = f"{ORIGIN}\n7\n{base64.b64encode(root).decode()}\n"
    key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + PUBLIC).digest()[:4]
    signature = base64.b64encode(key_id + KEY.sign(body.encode())).decode()
    assert text == f"{body}\n— {ORIGIN} {signature}\n"
    assert receipts.open_checkpoint(text, ORIGIN, PUBLIC) == receipts.Checkpoint(
        origin=ORIGIN, size=7, root=root
    )


def test_proof_format() -> None:
    """A tlog-proof is header, optional extra, index, hashes, blank line, checkpoint verbatim."""
    log = Log(3)
    hashes = log.tree.inclusion(2, 3)
    proof = receipts.TlogProof(
        index=2, hashes=tuple(hashes), checkpoint=log.checkpoint(3), extra=b"x"
    )
    text = receipts.format_proof(proof)
    assert text.split("\n")[:4] == [
        "c2sp.org/tlog-proof@v1",
        "extra eA==",
        "index 2",
        base64.b64encode(hashes[0]).decode(),
    ]
    assert text.endswith("\n\n" + log.checkpoint(3))
    assert receipts.parse_proof(text) == proof


def test_an_empty_log_has_a_checkpoint() -> None:
    """Size 0 with the empty root is a valid checkpoint."""
    assert receipts.open_checkpoint(Log(0).checkpoint(0), ORIGIN, PUBLIC).size == 0


@given(size=st.integers(1, 24), data=st.data())
def test_honest_receipts_verify(size: int, data: st.DataObject) -> None:
    """Every leaf's receipt verifies on first contact and from every earlier head."""
    log = Log(size)
    index = data.draw(st.integers(0, size - 1))
    known = data.draw(st.integers(0, size))
    head = log.head(known) if known else None
    assert verify(log.receipt(index, size, known), head) == log.head(size)


def test_a_flipped_bit_anywhere_in_the_text_is_refused() -> None:
    """No single-bit change of a receipt's text or leaf verifies."""
    honest = Log(5).receipt(3, 5)
    text = honest.tlog_proof.encode()
    for bit in range(len(text) * 8):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            broken = changed.decode()
        except UnicodeDecodeError:
            continue
        forged = audit_pb2.Receipt(leaf=honest.leaf, tlog_proof=broken)
        with pytest.raises((errors.InvalidInput, errors.Forged)):
            verify(forged)
    with pytest.raises(errors.Forged):
        verify(audit_pb2.Receipt(leaf=b"2", tlog_proof=honest.tlog_proof))


def test_another_key_or_origin_is_refused() -> None:
    """A receipt of another log, or of this origin under another key, does not verify."""
    for log in (Log(3, key=OTHER), Log(3, origin="other.example/log")):
        with pytest.raises(errors.Forged) as caught:
            verify(log.receipt(0, 3))
        assert caught.value.code == "NOTE_KEY"


def test_our_key_name_over_another_origin_is_refused() -> None:
    """A body naming another log, signed under our key name, is refused for its origin."""
    body = Log(2).checkpoint(2).split("\n\n")[0].replace(ORIGIN, "other.example/log") + "\n"
    with pytest.raises(errors.Forged) as caught:
        receipts.open_checkpoint(resigned(body), ORIGIN, PUBLIC)
    assert caught.value.code == "CHECKPOINT_ORIGIN"


def test_an_older_receipt_is_stale() -> None:
    """A receipt under a head older than ours is stale, and the error names our size."""
    log = Log(8)
    with pytest.raises(receipts.CheckpointStale) as caught:
        verify(log.receipt(0, 5, 3), log.head(6))
    assert caught.value.size == 6
    assert caught.value.code == "CHECKPOINT_STALE"
    backwards = log.receipt(0, 5)
    backwards.consistency_from = 6
    with pytest.raises(receipts.CheckpointStale):
        verify(backwards, log.head(6))


def test_a_receipt_from_another_head_is_stale() -> None:
    """A consistency proof from any size but ours is stale, also a missing one."""
    log = Log(8)
    for known in (0, 3, 5):
        with pytest.raises(receipts.CheckpointStale) as caught:
            verify(log.receipt(7, 8, known), log.head(4))
        assert caught.value.size == 4


def behind(log: Log, index: int, size: int, head: int) -> audit_pb2.Receipt:
    """Leaf ``index`` under an older checkpoint, which is proved to be a beginning of ``head``."""
    receipt = log.receipt(index, size)
    receipt.consistency_from = head
    receipt.consistency.extend(log.tree.consistency(size, head))
    return receipt


def test_an_older_checkpoint_may_be_proved_to_be_a_beginning_of_the_head() -> None:
    """A leaf under the checkpoint that witnesses cosigned is in the longer head, which stays."""
    log = Log(9)
    head = log.head(9)
    for size in range(3, 9):
        assert verify(behind(log, 2, size, 9), head) == head


def test_an_older_checkpoint_of_another_history_is_a_fork() -> None:
    """What is not a beginning of the accepted head contradicts it, and both are kept."""
    log, fork = Log(9), Log(9, leaf=lambda index: b"fork" if index == 4 else str(index).encode())
    with pytest.raises(receipts.CheckpointFork) as caught:
        verify(behind(fork, 4, 6, 9), log.head(9))
    assert caught.value.checkpoints == (log.checkpoint(9), fork.checkpoint(6))
    with pytest.raises(receipts.CheckpointStale):
        verify(behind(log, 2, 6, 8), log.head(9))
    assert verify(behind(fork, 2, 4, 9), fork.head(9)) == fork.head(9)


def test_first_contact_wants_no_consistency() -> None:
    """A reader without a head refuses a receipt that claims it has one."""
    with pytest.raises(receipts.CheckpointStale) as caught:
        verify(Log(4).receipt(0, 4, 2))
    assert caught.value.size == 0


def test_receipts_of_one_commit_share_a_head() -> None:
    """At an equal head, whatever size the receipt starts from, equal roots are enough."""
    log = Log(8)
    assert verify(log.receipt(7, 8, 5), log.head(8)).size == 8


def test_a_fork_of_the_same_size_is_caught() -> None:
    """Same size, other root: a fork, with both signed heads as evidence."""
    log, fork = Log(6), Log(6, leaf=lambda index: b"fork" if index == 5 else str(index).encode())
    for known in (0, 6, 3):
        with pytest.raises(receipts.CheckpointFork) as caught:
            verify(fork.receipt(0, 6, known), log.head(6))
        assert caught.value.checkpoints == (log.checkpoint(6), fork.checkpoint(6))
        assert caught.value.code == "CHECKPOINT_FORK"


def test_a_longer_fork_is_caught() -> None:
    """A longer history that does not extend our head is a fork, with both signed heads."""
    log, fork = Log(6), Log(9, leaf=lambda index: b"fork" if index == 5 else str(index).encode())
    with pytest.raises(receipts.CheckpointFork) as caught:
        verify(fork.receipt(8, 9, 6), log.head(6))
    for text in caught.value.checkpoints:
        receipts.open_checkpoint(text, ORIGIN, PUBLIC)


def test_the_main_log_after_a_fork_is_caught() -> None:
    """A reader shown an extending fork refuses the main log when it next sees it."""
    log = Log(10)
    fork = Log(8, leaf=lambda index: b"fork" if index == 7 else str(index).encode())
    head = verify(log.receipt(0, 6))
    head = verify(fork.receipt(7, 8, 6), head)
    with pytest.raises(receipts.CheckpointFork):
        verify(log.receipt(9, 10, 8), head)


@pytest.mark.parametrize(
    "receipt",
    [
        audit_pb2.Receipt(),
        audit_pb2.Receipt(leaf=b"x"),
        audit_pb2.Receipt(leaf=b"x" * (receipts.MAX_LEAF + 1), tlog_proof="x"),
        audit_pb2.Receipt(leaf=b"x", tlog_proof="x" * (receipts.MAX_TEXT + 1)),
        audit_pb2.Receipt(leaf=b"x", tlog_proof="x", consistency=[bytes(32)] * 65),
        audit_pb2.Receipt(leaf=b"x", tlog_proof="x", consistency=[bytes(31)]),
        audit_pb2.Receipt(leaf=b"x", tlog_proof="x", consistency_from=2**64 - 1),
    ],
)
def test_limits(receipt: audit_pb2.Receipt) -> None:
    """A receipt beyond a limit is refused before anything is verified."""
    with pytest.raises(errors.InvalidInput):
        verify(receipt)


def test_a_proof_of_too_many_hashes_is_refused() -> None:
    """An inclusion proof longer than any 64-bit tree needs is refused."""
    proof = receipts.TlogProof(index=0, hashes=(bytes(32),) * 65, checkpoint=Log(1).checkpoint(1))
    with pytest.raises(errors.InvalidInput):
        receipts.parse_proof(receipts.format_proof(proof))


def test_witness_signatures_are_ignored_up_to_a_limit() -> None:
    """Lines of 64 witnesses and of 16 other keys are ignored, one more is refused."""
    text, most = Log(3).checkpoint(3), receipts.MAX_FOREIGN_SIGNATURES
    line = f"— witness.example {base64.b64encode(bytes(76)).decode()}\n"
    assert most == 80
    opened = receipts.open_checkpoint(text + line * most, ORIGIN, PUBLIC)
    assert opened.size == 3
    with pytest.raises(errors.InvalidInput):
        receipts.open_checkpoint(text + line * (most + 1), ORIGIN, PUBLIC)


def test_control_characters_are_refused_in_any_line() -> None:
    """A control character is refused even in a line that is otherwise ignored."""
    text, blob = Log(3).checkpoint(3), base64.b64encode(bytes(68)).decode()
    for sign in "\x00\x01\x07\x08\x1b":
        with pytest.raises(errors.InvalidInput):
            receipts.open_checkpoint(f"{text}— wit{sign}ness {blob}\n", ORIGIN, PUBLIC)


def test_a_signature_sharing_only_name_or_only_id_is_ignored() -> None:
    """Same name with another id, or same id with another name, is an unknown key."""
    text = Log(3).checkpoint(3)
    ours = receipts.key_id(ORIGIN, PUBLIC)
    named = f"— {ORIGIN} {base64.b64encode(bytes(68)).decode()}\n"
    numbered = f"— other {base64.b64encode(ours + bytes(64)).decode()}\n"
    assert receipts.open_checkpoint(text + named + numbered, ORIGIN, PUBLIC).size == 3


def test_a_second_signature_by_our_key_is_refused() -> None:
    """Exactly one signature line may match: two are ambiguous even when one verifies."""
    text = Log(3).checkpoint(3)
    line = text.split("\n")[-2] + "\n"
    with pytest.raises(errors.InvalidInput):
        receipts.open_checkpoint(text + line, ORIGIN, PUBLIC)


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        f"{ORIGIN}\n01\n{ROOT}\n",
        f"{ORIGIN}\n-1\n{ROOT}\n",
        f"{ORIGIN}\n+1\n{ROOT}\n",
        f"{ORIGIN}\n1_0\n{ROOT}\n",
        f"{ORIGIN}\n١\n{ROOT}\n",
        f"{ORIGIN}\n{2**63}\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 400}\n{ROOT}\n",
        f"{ORIGIN}\n1\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n1\n{ROOT[:-2]}B=\n",
        f"{ORIGIN}\n1\n{ROOT} \n",
        f"{ORIGIN}\n1\nAAAA\n",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n1\n{ROOT}\nextension\n",
        f"{ORIGIN}\n1\n{ROOT}\r\n",
        f"\n{ORIGIN}\n1\n{ROOT}\n",
        "\n",
    ],
)
def test_malformed_checkpoints_are_refused_even_when_signed(body: str) -> None:
    """A body with more than one spelling, or none, is refused although its signature verifies."""
    with pytest.raises((errors.InvalidInput, errors.Forged)):
        receipts.open_checkpoint(resigned(body), ORIGIN, PUBLIC)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "a\u2003b", "a" * 256, "a\x7f"])
def test_origins_that_cannot_name_a_key_are_refused(origin: str) -> None:
    """An origin with spaces, plus signs or control characters is refused on both sides."""
    with pytest.raises(errors.InvalidInput):
        receipts.sign_checkpoint(receipts.Checkpoint(origin=origin, size=0, root=bytes(32)), KEY)
    with pytest.raises(errors.InvalidInput):
        receipts.open_checkpoint(Log(0).checkpoint(0), origin, PUBLIC)


def test_a_malformed_public_key_is_refused() -> None:
    """A directory key of the wrong length verifies nothing."""
    with pytest.raises(errors.Forged):
        receipts.open_checkpoint(Log(0).checkpoint(0), ORIGIN, PUBLIC[:31])


@pytest.mark.parametrize(
    ("size", "root"), [(-1, bytes(32)), (2**63, bytes(32)), (1, bytes(31)), (1, b"")]
)
def test_impossible_heads_are_not_signed(size: int, root: bytes) -> None:
    """A head that no reader could parse is never signed."""
    with pytest.raises(errors.InvalidInput):
        receipts.sign_checkpoint(receipts.Checkpoint(origin=ORIGIN, size=size, root=root), KEY)


PIECES = st.sampled_from(
    ["\n", "\n\n", "— ", ORIGIN, " ", ROOT, "1", "0", "index 0", "extra ", receipts.PROOF_HEADER]
)
TEXT = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=st.characters(), max_size=50),
    st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=20).map("".join),
)


@given(text=TEXT)
@example(text="\ud800")
@example(text=f"x\n\n— {ORIGIN} \ud800\n")
@example(text=f"{receipts.PROOF_HEADER}\nindex 0\n\n")
def test_parsers_are_total(text: str) -> None:
    """Arbitrary text raises InvalidInput or Forged, or parses; never anything else."""
    with pytest.raises((errors.InvalidInput, errors.Forged)):
        receipts.open_checkpoint(text, ORIGIN, PUBLIC)
    try:
        proof = receipts.parse_proof(text)
    except errors.InvalidInput:
        return
    assert receipts.format_proof(proof) == text


@given(
    leaf=st.binary(max_size=64),
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300),
    start=st.integers(0, 2**64 - 1),
    consistency=st.lists(st.binary(max_size=33), max_size=3),
)
def test_arbitrary_receipts_are_refused(
    leaf: bytes, text: str, start: int, consistency: list[bytes]
) -> None:
    """Arbitrary receipts raise InvalidInput or Forged, nothing else."""
    receipt = audit_pb2.Receipt(
        leaf=leaf, tlog_proof=text, consistency_from=start, consistency=consistency
    )
    with pytest.raises((errors.InvalidInput, errors.Forged)):
        verify(receipt, Log(3).head(3))


@given(st.integers(0, 300), st.binary(max_size=6))
def test_mutated_receipts_are_refused(position: int, patch: bytes) -> None:
    """Overwriting any bytes of an honest proof text either changes nothing or is refused."""
    honest = Log(5).receipt(3, 5)
    text = bytearray(honest.tlog_proof.encode())
    text[position : position + len(patch)] = patch
    try:
        broken = text.decode()
    except UnicodeDecodeError:
        return
    if broken == honest.tlog_proof:
        return
    with pytest.raises((errors.InvalidInput, errors.Forged)):
        verify(audit_pb2.Receipt(leaf=honest.leaf, tlog_proof=broken))


def test_a_head_of_another_log_is_refused() -> None:
    """A head of one log cannot vouch for another."""
    foreign = Log(3, origin="other.example/log").head(3)
    with pytest.raises(errors.Forged):
        verify(Log(3).receipt(0, 3, 3), foreign)
