"""The second reading of the formats: published vectors against both, and never another verdict."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fairlead import cosigning, merkle, receipts, ristretto, sealing, signing, vocabulary
from fairlead.errors import FairleadError
from fairlead.v1 import (
    asking_pb2,
    audit_pb2,
    blind_pb2,
    directory_pb2,
    handling_pb2,
    query_pb2,
)
from fairlead.verifier import (
    anchors,
    group,
    lookup,
    note,
    oblivious,
    pages,
    sealed,
    single,
    tree,
    wire,
)
from fairlead.verifier.check import verify_page
from fairlead.verifier.finding import EvidenceFailed
from tests.blind import NO_POINTS, SCALARS, require_libsodium
from tests.walks import NOW, OWNER, World, make_world

VECTORS = Path(__file__).parent / "vectors"
MERKLE: dict[str, Any] = json.loads((VECTORS / "merkle.json").read_text())
C2SP: dict[str, Any] = json.loads((VECTORS / "c2sp.json").read_text())
VOPRF: dict[str, Any] = json.loads((VECTORS / "voprf.json").read_text())
FILES = (asking_pb2, audit_pb2, blind_pb2, directory_pb2, handling_pb2, query_pb2)
ORIGIN = "fairlead.demo/log/gw-1"


def accepted(check: Callable[[], object]) -> bool:
    """Whether a check of either implementation passes; nothing but their own errors may escape."""
    try:
        check()
    except (FairleadError, EvidenceFailed):
        return False
    return True


# ── One file, and nothing else in it ─────────────────────────────────────────────────────────


def test_the_single_file_imports_nothing_of_ours() -> None:
    """The standard library and cryptography alone, in the parts and in what they are joined to."""
    allowed = {*sys.stdlib_module_names, "cryptography"}
    folder = Path(single.__file__).parent
    for text in [single.source(), *(p.read_bytes() for p in folder.glob("*.py"))]:
        for node in ast.walk(ast.parse(text)):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in named:
                own = name.startswith("fairlead.verifier") and text is not single.source()
                assert own or name.split(".")[0] in allowed, name


def test_every_part_is_in_it_and_no_name_stands_twice() -> None:
    """Joined files share one name space, so a name of two parts would be silently replaced."""
    parts = {p.stem for p in Path(single.__file__).parent.glob("*.py")}
    assert {*single.PARTS} == parts - {"__init__", "single"}
    defined: Counter[str] = Counter()
    for node in ast.parse(single.source()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] += 1
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names = (n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
        defined.update({n.id for n in names} - {"_"})
    assert [name for name, count in defined.items() if count > 1] == []


def test_it_can_stand_in_a_page() -> None:
    """ASCII, and nothing in it ends the block it stands in or opens a comment there."""
    text = single.source().decode("ascii").lower()
    assert not re.search(r"</script|<!--|\r", text)
    assert single.fingerprint() == hashlib.sha256(single.source()).hexdigest()


def test_it_runs_alone(tmp_path: Path) -> None:
    """An isolated interpreter, another folder: it says what it is and what it wants."""
    path = tmp_path / "verifier.py"
    path.write_bytes(single.source())
    done = subprocess.run([sys.executable, "-I", str(path), "none.html"], cwd=tmp_path,
                          capture_output=True, check=False, text=True)  # fmt: skip
    assert done.returncode == 2
    assert single.fingerprint() in done.stdout


# ── The tables are those of the protos ───────────────────────────────────────────────────────

KINDS = {
    FieldDescriptor.TYPE_BYTES: "bytes", FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "u32", FieldDescriptor.TYPE_UINT64: "u64",
    FieldDescriptor.TYPE_INT64: "i64", FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_ENUM: "enum",
}  # fmt: skip


def descriptor_of(name: str) -> Any:
    for file in FILES:
        if name in file.DESCRIPTOR.message_types_by_name:
            return file.DESCRIPTOR.message_types_by_name[name]
    raise AssertionError(name)


def message(name: str) -> type[Message]:
    for file in FILES:
        if hasattr(file, name):
            return getattr(file, name)  # type: ignore[no-any-return]
    raise AssertionError(name)


@pytest.mark.parametrize("name", sorted(wire.TABLES))
def test_a_table_is_the_protos(name: str) -> None:
    """A field that the protos gain is missed here first, and not by a court."""
    found = {}
    for field in descriptor_of(name).fields:
        kind = field.message_type.name if field.message_type else KINDS[field.type]
        found[field.number] = (field.name, "*" * field.is_repeated + kind)
    assert wire.TABLES[name] == found


def test_the_limits_are_the_same() -> None:
    """What one reader takes, the other takes too."""
    assert note.MAX_NOTE == receipts.MAX_TEXT
    assert note.MAX_STRANGERS == receipts.MAX_FOREIGN_SIGNATURES
    assert note.MAX_PATH == receipts.MAX_HASHES


def test_the_words_are_the_vocabularys() -> None:
    """An entry writes a word as its place, so both sides count alike."""
    for words, kind in (
        (lookup._TLP_WORDS, vocabulary.Tlp),
        (lookup._RECORD_WORDS, vocabulary.RecordType),
        (lookup._EVENT_WORDS, vocabulary.Event),
        (lookup._EUROPOL_WORDS, vocabulary.Europol),
        (lookup._SOURCE_WORDS, vocabulary.SourceGrade),
        (lookup._INFORMATION_WORDS, vocabulary.InformationGrade),
    ):
        assert list(words) == list(kind)


# ── Published vectors, against both ──────────────────────────────────────────────────────────


def roots() -> list[bytes]:
    return [bytes.fromhex(root) for root in MERKLE["roots"]]


def test_the_reference_tree() -> None:
    """RFC 6962's reference tree: leaves, roots, inclusion and consistency, read by both."""
    leaves = [bytes.fromhex(leaf) for leaf in MERKLE["leaves"]]
    assert tree.root_over([]).hex() == MERKLE["empty_root"]
    for size, root in enumerate(roots(), 1):
        assert tree.root_over([tree.leaf_of(leaf) for leaf in leaves[:size]]) == root
    for case in MERKLE["inclusion"]:
        path = [bytes.fromhex(step) for step in case["proof"]]
        index, size = case["index"], case["size"]
        leaf, root = tree.leaf_of(leaves[index]), roots()[size - 1]
        assert merkle.leaf_hash(leaves[index]) == leaf
        tree.require_included(leaf, index, size, path, root)
        merkle.verify_inclusion(leaf=leaf, index=index, size=size, proof=path, root=root)
    for case in MERKLE["consistency"]:
        path = [bytes.fromhex(step) for step in case["proof"]]
        old, new = case["old"], case["new"]
        sides = (old, roots()[old - 1], new, roots()[new - 1])
        tree.require_extends(*sides, path)
        merkle.verify_consistency(old_size=old, old_root=sides[1], new_size=new,
                                  new_root=sides[3], proof=path)  # fmt: skip


def test_the_published_note() -> None:
    """The signed note that C2SP's format comes from, opened by both; another letter by neither."""
    given = C2SP["note"]
    name, number, encoded = given["verifier_key"].split("+", 2)
    key = base64.b64decode(encoded)[1:]
    assert receipts.key_id(name, key).hex() == number
    whole = given["text"] + "\n" + given["signature_line"]
    assert receipts.open_note(whole, name=name, public_key=key) == given["text"]
    assert note.note_text(whole, name, key) == given["text"]
    other = whole.replace("cryptography", "cryptographY")
    assert not accepted(lambda: receipts.open_note(other, name=name, public_key=key))
    assert not accepted(lambda: note.note_text(other, name, key))


@pytest.mark.parametrize("case", C2SP["proofs"], ids=lambda case: str(case["index"]))
def test_published_proofs(case: dict[str, Any]) -> None:
    """tlog-proofs as others write them are written so by us, and read by both."""
    hashes = [hashlib.sha256(text.encode()).digest() for text in case["hashed"]]
    extra = case["extra"] and case["extra"].encode()
    lines = ["c2sp.org/tlog-proof@v1"]
    lines += [f"extra {base64.b64encode(extra).decode()}"] if extra else []
    lines += [f"index {case['index']}", *(base64.b64encode(h).decode() for h in hashes)]
    text = "\n".join(lines) + "\n\n" + case["checkpoint"]
    proof = receipts.parse_proof(text)
    assert (proof.index, list(proof.hashes), proof.extra) == (case["index"], hashes, extra)
    assert receipts.format_proof(proof) == text
    assert note.read_proof(text) == (case["index"], hashes, case["checkpoint"])


@pytest.mark.parametrize("text", C2SP["no_proofs"])
def test_what_is_no_proof(text: str) -> None:
    """Neither reads what others refuse."""
    assert not accepted(lambda: receipts.parse_proof(text))
    assert not accepted(lambda: note.read_proof(text))


@pytest.mark.parametrize("case", VOPRF["cases"], ids=lambda case: case["name"])
def test_rfc_9497(case: dict[str, Any]) -> None:
    """Elements, proof and outputs of the RFC's vectors, in plain Python."""
    inputs = [bytes.fromhex(text) for text in case["inputs"]]
    blinds = [int.from_bytes(bytes.fromhex(text), "little") for text in case["blinds"]]
    blinded = [bytes.fromhex(text) for text in case["blinded"]]
    evaluated = [bytes.fromhex(text) for text in case["evaluated"]]
    made = [oblivious.blinded_element(i, b) for i, b in zip(inputs, blinds, strict=True)]
    assert made == blinded
    public, proof = bytes.fromhex(VOPRF["public"]), bytes.fromhex(case["proof"])
    oblivious.require_evaluated(public, blinded, evaluated, proof)
    rows = zip(inputs, blinds, evaluated, strict=True)
    assert [oblivious.oprf_output(*row).hex() for row in rows] == case["outputs"]
    for place in (0, 31, 63):
        wrong = bytearray(proof)
        wrong[place] ^= 1
        assert not accepted(
            lambda wrong=wrong: oblivious.require_evaluated(
                public, blinded, evaluated, bytes(wrong)
            )
        )


# ── The same verdict ─────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(SCALARS, st.binary(min_size=64, max_size=64))
def test_the_group_is_libsodiums(scalar: bytes, octets: bytes) -> None:
    """Products of hashed points come out octet by octet as libsodium's."""
    require_libsodium()
    point = ristretto.from_hashes(octets)
    assert group.encode_point(group.point_of_hash(octets)) == point
    assume(point != ristretto.IDENTITY)  # octets chosen for it lead there, and no hash does
    product = group.times(int.from_bytes(scalar, "little"), group.decode_point(point))
    assert group.encode_point(product) == ristretto.multiply(scalar, point)


@pytest.mark.parametrize("name", NO_POINTS)
def test_no_point_of_libsodiums_is_one_here(name: str) -> None:
    """The identity and every encoding that is not the one of its point are refused."""
    with pytest.raises(EvidenceFailed):
        group.decode_point(NO_POINTS[name])


def changed_text(text: str, chance: random.Random) -> str:
    """One or two edits: a sign replaced, dropped, doubled, or a line moved."""
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(text))
        kind = chance.randrange(5)
        sign = chance.choice("\n A0=+/—\x00é9z")
        if kind == 0:
            text = text[:place] + sign + text[place + 1 :]
        elif kind == 1:
            text = text[:place] + text[place + 1 :]
        elif kind == 2:
            text = text[:place] + sign + text[place:]
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(chance.randrange(len(lines)), lines.pop(chance.randrange(len(lines))))
            text = "\n".join(lines)
        else:
            text = text[:place] + text[place:].swapcase()
        text = text or "\n"
    return text


def test_mutated_receipts_get_one_verdict() -> None:
    """2,000 edits of a receipt's leaf, proof and checkpoint: both accept it or neither does."""
    chance = random.Random("receipts")
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, log = signing.public_bytes(key), merkle.Tree()
    for leaf in range(13):
        log.append(merkle.leaf_hash(bytes([leaf])))
    head = receipts.Checkpoint(origin=ORIGIN, size=13, root=log.root())
    signed = receipts.sign_checkpoint(head, key)
    good = receipts.make_receipt(leaf=b"\x07", index=7, inclusion=log.inclusion(7, 13),
                                 checkpoint=signed)  # fmt: skip
    verdicts: Counter[bool] = Counter()
    for number in range(2_000):
        leaf = good.leaf if number % 8 else chance.choice([b"", b"\x06", b"\x07\x00"])
        proof = good.tlog_proof
        if number % 8 and number % 500:
            proof = changed_text(proof, chance)
        both = audit_pb2.Receipt(leaf=leaf)
        try:
            both.tlog_proof = proof
        except UnicodeEncodeError:
            continue
        ours = accepted(
            lambda both=both: receipts.verify_receipt(
                both, origin=ORIGIN, public_key=public, head=None
            )
        )
        content = {"leaf": leaf, "tlog_proof": proof}
        theirs = accepted(lambda content=content: note.proven(content, ORIGIN, public))
        assert ours is theirs, proof
        verdicts[ours] += 1
    assert verdicts[False] > 1_500
    assert verdicts[True] > 0


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_proofs_get_one_verdict(data: st.DataObject) -> None:
    """Whatever sizes, indexes, roots and paths are mixed, both trees judge alike."""
    size = data.draw(st.integers(1, 40))
    old = data.draw(st.integers(0, 41))
    log = merkle.Tree()
    for leaf in range(40):
        log.append(merkle.leaf_hash(bytes([leaf])))
    index = data.draw(st.integers(0, 40))
    path = log.inclusion(min(index, size - 1), size)
    steps = log.consistency(min(max(old, 1), size), size)
    for given_path in (path, steps):
        if given_path and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(given_path) - 1))
            other = data.draw(st.sampled_from([bytes(32), given_path[0], b"short"]))
            given_path[place] = other
        if data.draw(st.integers(0, 4)) == 0:
            given_path.append(bytes(32))
    leaf, root = log.leaf(min(index, 39)), log.root(size)
    ours = accepted(lambda: merkle.verify_inclusion(leaf=leaf, index=index, size=size,
                                                    proof=path, root=root))  # fmt: skip
    assert ours is accepted(lambda: tree.require_included(leaf, index, size, path, root))
    older = log.root(min(old, 40))
    ours = accepted(lambda: merkle.verify_consistency(old_size=old, old_root=older, new_size=size,
                                                      new_root=root, proof=steps))  # fmt: skip
    assert ours is accepted(lambda: tree.require_extends(old, older, size, root, steps))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=200), st.sampled_from(sorted(wire.TABLES)))
def test_no_input_raises_anything_else(octets: bytes, written: str, kind: str) -> None:
    """Every reader is total: whatever it is given, it reads it or says EvidenceFailed."""
    head, tail = (part.encode() for part in (pages._HEAD, pages._TAIL))
    middle = [part.encode() for part in (pages._TO_VERIFIER, pages._TO_EVIDENCE)]
    page = head + octets.join([b"", *middle, b"\n", b""]) + tail
    for check in (
        lambda: wire.read_message(kind, octets),
        lambda: note.read_proof(written),
        lambda: note.note_text(written, ORIGIN, octets),
        lambda: note.cosigned_by(written, {ORIGIN: octets}),
        lambda: anchors.read_anchors(octets),
        lambda: anchors.read_anchors(written.encode("utf-8", "surrogatepass")),
        lambda: group.decode_point(octets),
        lambda: verify_page(octets, None, b""),
        lambda: verify_page(page, None, b""),
        lambda: tree.require_included(octets, len(octets), 7, [octets], octets),
    ):
        accepted(check)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("formats"))


def test_mutated_messages_get_one_verdict(world: World) -> None:
    """3,000 edits of signed messages: what one reads as canonical the other does too, and alike."""
    chance = random.Random("messages")
    walk = world.walk()
    signed, directory = walk.signed, world.opened.layout.directory.read_bytes()
    content = directory_pb2.SignedDirectory.FromString(directory).directory
    seeds = [
        ("SignedQuery", signed.SerializeToString(deterministic=True)),
        ("Mandate", signed.mandate), ("QueryHeader", signed.header),
        ("NodeStatement", signed.statement), ("SignedDirectory", directory),
        ("Directory", content),
        ("PartnerEntry", directory_pb2.Directory.FromString(content).partners[0].entry),
        ("AuditLeaf", audit_pb2.AuditLeaf(type=1, time_ms=-3, decision_batch=9, schemes=["a", "b"],
            partners=[query_pb2.PartnerOutcome(partner_id="x", status=3)]).SerializeToString()),
        ("AnswerBody", query_pb2.AnswerBody(query_id=b"q", answers=[query_pb2.TermAnswer(hit=True,
            records=[query_pb2.Record(handling=handling_pb2.Handling(tlp=3))])])
            .SerializeToString()),
    ]  # fmt: skip
    read: Counter[bool] = Counter()
    for number in range(3_000):
        name, octets = seeds[number % len(seeds)]
        data = bytearray(octets)
        for _ in range(chance.randint(0, 2)):
            place = chance.randrange(min(len(data), 400))
            kind = chance.randrange(3)
            if kind == 0:
                data[place] = chance.choice([0, 1, 2, 8, 0x7F, 0x80, 0xFF, data[place] ^ 1])
            elif kind == 1:
                del data[place]
            else:
                data.insert(place, chance.choice([0, 1, 8, 0x0A, 0x80]))
        given_octets = bytes(data)
        ours = accepted(
            lambda name=name, octets=given_octets: signing.parse_canonical(message(name), octets)
        )
        theirs = accepted(lambda name=name, octets=given_octets: wire.read_message(name, octets))
        assert ours is theirs, (name, given_octets.hex())
        if ours:
            found = wire.read_message(name, given_octets)
            assert wire.write_message(name, found) == given_octets
        read[ours] += 1
    assert min(read[True], read[False]) > 300


def test_an_answer_opens_alike() -> None:
    """What an owner seals opens here with the reply key's seed, and with no other."""
    if not sealed.can_open():
        pytest.skip("this cryptography has no HPKE with ML-KEM")
    key, query_id = sealing.SealingKey.generate(), bytes(16)
    info = b"fairlead/v1/answer\x00" + query_id + OWNER.encode()
    body = sealing.seal(sealing.pad(b"said", 4096), key.public_bytes(), info=info)
    private, public = sealed.reply_pair(key.to_seed())
    assert public == key.public_bytes()
    assert sealed.open_answer_body(private, body, query_id, OWNER) == b"said"
    assert len(body) == sealed.body_octets(1, 0)
    other, _ = sealed.reply_pair(sealing.SealingKey.generate().to_seed())
    for wrong in ((other, body, query_id, OWNER), (private, body, bytes(15) + b"x", OWNER),
                  (private, body, query_id, "police")):  # fmt: skip
        assert not accepted(lambda wrong=wrong: sealed.open_answer_body(*wrong))


def test_a_cosignature_is_recognised() -> None:
    """A witness's line over the checkpoint counts, and neither another's nor a changed one does."""
    log_key, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    head = receipts.Checkpoint(origin=ORIGIN, size=1, root=bytes(32))
    signed = receipts.sign_checkpoint(head, log_key)
    body = signed.partition("\n\n")[0] + "\n"
    name, public = "fairlead.demo/witness/police", signing.public_bytes(key)
    said = f"cosignature/v1\ntime {int(NOW)}\n{body}".encode()
    number = hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    blob = number + int(NOW).to_bytes(8, "big") + key.sign(said)
    line = f"— {name} {base64.b64encode(blob).decode()}\n"
    assert cosigning.cosign(signed, name, key, NOW) + "\n" == line
    assert note.cosigned_by(signed + line, {name: public}) == {name}
    assert note.cosigned_by(signed + line, {name: bytes(32)}) == set()
    assert note.cosigned_by(signed, {name: public}) == set()
    later = blob[:4] + (int(NOW) + 1).to_bytes(8, "big") + blob[12:]
    moved = f"— {name} {base64.b64encode(later).decode()}\n"
    assert note.cosigned_by(signed + moved, {name: public}) == set()
