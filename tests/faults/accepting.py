"""The game of proofs: valid ones are changed, and nothing may accept what they never meant.

What is accepted with the meaning it had (an unknown signature line more, an ``extra`` that nobody
trusts) is counted apart. The size of a tree is not in an inclusion proof but in the signed
checkpoint beside it: proofs alone are tried with other hashes, leaves and indices, sizes through
checkpoints.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import cosigning, errors, merkle, receipts, signing
from fairlead.v1 import audit_pb2
from tests.faults import mutation, subject

SIZE, FORKED = 200, 60
"""Leaves of the log, and of those the ones that its fork shares."""
WITNESS, MOMENT = "example/witness/customs", 1_760_000_000
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ORIGINS = (subject.ORIGIN, "other.example/log")


@dataclass(slots=True)
class Tried:
    """How many changed things of each kind were tried, and what was accepted."""

    mutated: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tried) -> None:
        """Count another one's in."""
        self.mutated += other.mutated
        self.same += other.same
        self.accepted += other.accepted
        self.crashed += other.crashed


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One log: its leaves, tree and signed checkpoints by size."""

    leaves: list[bytes]
    tree: merkle.Tree
    notes: dict[int, str]

    def receipt(self, index: int, size: int, known: int) -> audit_pb2.Receipt:
        """A valid receipt at ``size``, from a head of size ``known``; 0 for none."""
        return receipts.make_receipt(
            leaf=self.leaves[index],
            index=index,
            inclusion=self.tree.inclusion(index, size),
            checkpoint=self.notes[size],
            consistency_from=known,
            consistency=self.tree.consistency(known, size) if known else (),
        )

    def head(self, size: int) -> receipts.Head:
        """The head of ``size``, as somebody holds it."""
        root = self.tree.root(size)
        return receipts.Head(
            origin=subject.ORIGIN, size=size, root=root, checkpoint=self.notes[size]
        )


@dataclass(frozen=True, slots=True)
class World:
    """The log, another one under the same key, a fork of the log, and a log of a stranger."""

    main: View
    other: View
    fork: View
    foreign: View

    def signed(self, note: str) -> bool:
        """Whether the log signed just this, by comparing texts and not by verifying: Ed25519 gives
        one signature for one text."""
        text, _, lines = note.rpartition("\n\n")
        size = text.split("\n")[1]
        for view in (self.main, self.fork):
            own, _, line = view.notes[int(size)].rpartition("\n\n")
            if own == text and line.strip() in lines.split("\n"):
                return True
        return False

    def any(self, chance: random.Random) -> View:
        """One of them."""
        return chance.choice((self.main, self.other, self.fork, self.foreign))


def world() -> World:
    """Everything valid that there is."""
    leaves = [_leaf(number) for number in range(SIZE)]
    others = [_leaf(number + 1000) for number in range(SIZE)]
    return World(
        main=_view(leaves, ORIGINS[0], subject.KEY),
        other=_view(others, ORIGINS[1], subject.KEY),
        fork=_view(leaves[:FORKED] + others[FORKED:], ORIGINS[0], subject.KEY),
        foreign=_view(leaves, ORIGINS[0], subject.FOREIGN),
    )


def _leaf(number: int) -> bytes:
    query_id = number.to_bytes(16)
    return subject.release(query_id, subject.OWNERS[:1])


def _view(leaves: list[bytes], origin: str, key: Ed25519PrivateKey) -> View:
    tree, notes = merkle.Tree(), {}
    for body in leaves:
        tree.append(merkle.leaf_hash(body))
        point = receipts.Checkpoint(origin=origin, size=tree.size, root=tree.root())
        notes[tree.size] = receipts.sign_checkpoint(point, key)
    return View(leaves, tree, notes)


Game = Callable[[World, random.Random, Tried], None]


def inclusion(made: World, chance: random.Random, tried: Tried) -> None:
    """An inclusion proof with another hash, leaf, root or index."""
    tree, size = made.main.tree, chance.randrange(2, SIZE + 1)
    index, elsewhere = chance.randrange(size), chance.randrange(size)
    right = (tree.leaf(index), index, tuple(tree.inclusion(index, size)), tree.root(size))
    changed = list(right)
    kind = chance.randrange(5)
    if kind == 0:
        changed[0] = chance.choice([tree.leaf(elsewhere), mutation.flipped(right[0], chance)])
    elif kind == 1:
        changed[1] = chance.choice([elsewhere, -1, size, index ^ 1, index + size])
    elif kind == 2:
        changed[2] = tuple(mutation.hashes(right[2], tree.inclusion(elsewhere, size), chance))
    elif kind == 3:
        changed[3] = chance.choice([tree.root(elsewhere + 1), mutation.flipped(right[3], chance)])
    else:
        changed[2] = tuple(tree.inclusion(elsewhere, size))
    leaf, at, proof, root = changed

    def verify() -> object:
        merkle.verify_inclusion(leaf=leaf, index=at, size=size, proof=proof, root=root)
        return leaf, at, root

    if tuple(changed) != right:
        _try("inclusion", verify, {(right[0], right[1], right[3])}, tried, whole=proof == right[2])


def consistency(made: World, chance: random.Random, tried: Tried) -> None:
    """A consistency proof with another hash or root, or of other sizes with roots of the log."""
    tree = made.main.tree
    new = chance.randrange(2, SIZE + 1)
    old = chance.randrange(1, new)
    right = (tree.root(old), tree.root(new), tuple(tree.consistency(old, new)))
    changed = list(right)
    kind = chance.randrange(4)
    if kind == 0:
        changed[0] = _root(made, old, chance, right[0])
    elif kind == 1:
        changed[1] = _root(made, new, chance, right[1])
    elif kind == 2:
        later = tree.consistency(max(1, old - 1), new)
        changed[2] = tuple(mutation.hashes(right[2], later, chance))
    else:
        changed[2] = tuple(tree.consistency(chance.randrange(1, new), new))
    old_root, new_root, proof = changed

    def verify() -> object:
        merkle.verify_consistency(
            old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof
        )
        return old_root, new_root

    if tuple(changed) != right:
        _try("consistency", verify, {right[:2]}, tried, whole=proof == right[2])


def _root(made: World, size: int, chance: random.Random, right: bytes) -> bytes:
    """A root that is not the right one, and true somewhere else."""
    others = [made.other.tree.root(size), made.main.tree.root(chance.randrange(1, SIZE + 1))]
    return chance.choice([mutation.flipped(right, chance), *others])


def checkpoint(made: World, chance: random.Random, tried: Tried) -> None:
    """A signed checkpoint, changed or spliced with one of the log, of another, or of a stranger."""
    size, elsewhere = (chance.randrange(1, SIZE + 1) for _ in range(2))
    text, view = made.main.notes[size], made.any(chance)
    changed = chance.choice(mutation.TEXTS)(text, view.notes[elsewhere], chance)
    meant = {(size, made.main.tree.root(size), True)}
    if view in (made.main, made.fork):
        meant.add((elsewhere, view.tree.root(elsewhere), True))

    def verify() -> object:
        found = receipts.open_checkpoint(changed, subject.ORIGIN, subject.PUBLIC)
        return found.size, found.root, made.signed(changed)

    if changed not in (text, view.notes[elsewhere]):
        _try("checkpoint", verify, meant, tried)


def relabelled(made: World, chance: random.Random, tried: Tried) -> None:
    """A checkpoint that the log's key signed for another log, under this one's name; a signature
    covers the text alone."""
    size = chance.randrange(1, SIZE + 1)
    text, _, line = made.other.notes[size].rpartition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])[4:]
    blob = receipts.key_id(subject.ORIGIN, subject.PUBLIC) + signature
    named = f"{mutation.DASH} {subject.ORIGIN} {base64.b64encode(blob).decode()}\n"
    changed = f"{text}\n\n{named}"
    if chance.random() < 0.5:
        changed = chance.choice(mutation.TEXTS)(changed, made.main.notes[size], chance)

    def verify() -> object:
        found = receipts.open_checkpoint(changed, subject.ORIGIN, subject.PUBLIC)
        return found.size, found.root, made.signed(changed)

    if changed != made.main.notes[size]:
        meant = {(size, made.main.tree.root(size), True)}
        _try("relabelled", verify, meant, tried)


def cosignature(made: World, chance: random.Random, tried: Tried) -> None:
    """A witness's line, changed or spliced, or under another checkpoint than it was made for."""
    size = chance.randrange(1, SIZE + 1)
    elsewhere = (size + chance.randrange(SIZE - 1)) % SIZE + 1
    note, other = made.main.notes[size], made.any(chance).notes[elsewhere]
    line = cosigning.cosign(note, WITNESS, WITNESS_KEY, MOMENT)
    name, key = chance.choice([WITNESS, WITNESS + "s"]), chance.choice([WITNESS_KEY, subject.KEY])
    kind, changed, under = chance.randrange(3), line, note
    if kind == 0:
        under = other
    elif kind == 1:
        under = chance.choice(mutation.TEXTS)(note, other, chance)
    else:
        foreign = cosigning.cosign(other, name, key, MOMENT + 1)
        changed = chance.choice(mutation.TEXTS)(line, foreign, chance)

    def verify() -> object:
        public = signing.public_bytes(WITNESS_KEY)
        moment = cosigning.verify_cosignature(changed, under, name=WITNESS, public_key=public)
        return changed, moment, under.rpartition("\n\n")[0]

    if (changed, under) != (line, note):
        meant = {(line, MOMENT, note.rpartition("\n\n")[0])}
        _try("cosignature", verify, meant, tried)


def tlog_proof(made: World, chance: random.Random, tried: Tried) -> None:
    """A tlog-proof's text, changed or spliced, for the leaf it was made for."""
    size = chance.randrange(2, SIZE + 1)
    valid = made.main.receipt(chance.randrange(size), size, 0)
    other = made.any(chance).receipt(chance.randrange(size), size, 0).tlog_proof
    text = chance.choice(mutation.TEXTS)(valid.tlog_proof, other, chance)
    if text == valid.tlog_proof:
        return
    changed = audit_pb2.Receipt(
        leaf=valid.leaf, tlog_proof=text.encode("utf-8", "replace").decode()
    )
    _receipt(made, "tlog-proof", changed, valid, None, tried)


def receipt(made: World, chance: random.Random, tried: Tried) -> None:
    """A receipt from a head somebody holds, changed or spliced with another valid one."""
    size = chance.randrange(FORKED + 3, SIZE + 1)
    known = chance.randrange(FORKED + 1, size)
    valid = made.main.receipt(chance.randrange(size), size, known)
    held = chance.randrange(1, size)
    other = made.any(chance).receipt(chance.randrange(size), size, held)
    changed = mutation.receipt(valid, other, chance)
    if changed is None:
        tried.mutated["receipt"] += 1
    elif changed != valid:
        _receipt(made, "receipt", changed, valid, made.main.head(known), tried)


def forked(made: World, chance: random.Random, tried: Tried) -> None:
    """A whole receipt of the fork, signed by the log, for somebody who holds a head of the log."""
    size = chance.randrange(FORKED + 2, SIZE + 1)
    known = chance.randrange(FORKED + 1, size + 1)
    changed = made.fork.receipt(chance.randrange(FORKED, size), size, known)
    if chance.random() < 0.5:
        del changed.consistency[:]
        changed.consistency.extend(made.main.tree.consistency(known, size))
    valid = made.main.receipt(0, size, known)
    _receipt(made, "fork", changed, valid, made.main.head(known), tried)


def _receipt(
    made: World,
    name: str,
    changed: audit_pb2.Receipt,
    valid: audit_pb2.Receipt,
    head: receipts.Head | None,
    tried: Tried,
) -> None:
    right = receipts.parse_proof(valid.tlog_proof)
    point = receipts.open_checkpoint(right.checkpoint, subject.ORIGIN, subject.PUBLIC)

    def verify() -> object:
        proven = receipts.verify_receipt(
            changed, origin=subject.ORIGIN, public_key=subject.PUBLIC, head=head
        )
        proof = receipts.parse_proof(changed.tlog_proof)
        signed = made.signed(proof.checkpoint)
        return changed.leaf, proof.index, proven.size, proven.root, signed

    _try(name, verify, {(valid.leaf, right.index, point.size, point.root, True)}, tried)


def _try(
    name: str,
    verify: Callable[[], object],
    meant: Collection[object],
    tried: Tried,
    *,
    whole: bool = True,
) -> None:
    """Count one attempt.

    :param meant: what may be accepted, because somebody signed just that.
    :param whole: false where the proof itself is another one, which no meaning excuses.
    """
    tried.mutated[name] += 1
    try:
        found = verify()
    except errors.FairleadError:
        return
    except Exception as error:
        tried.crashed[f"{name}: {type(error).__name__}"] += 1
        return
    if found in meant and whole:
        tried.same[name] += 1
    else:
        tried.accepted[name] += 1


GAMES: tuple[Game, ...] = (
    *(inclusion, consistency, checkpoint, relabelled, cosignature, tlog_proof, receipt, forked),
)


def play(count: int, seed: int) -> Tried:
    """At least ``count`` changed things, of all kinds in turns."""
    made, chance, tried = world(), random.Random(seed), Tried()
    while tried.mutated.total() < count:
        for game in GAMES:
            game(made, chance, tried)
    return tried
