"""One suite over every store: leaves are erased by two people, on the record, or somebody sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead import errors, receipts, signing
from fairlead.auditlog import Place, copy_log
from fairlead.auditlog import erased as erased_module
from fairlead.auditlog.erased import FLOOR_MS, erase_rows, list_digest, part_of
from fairlead.retention import order as order_module
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import erasure_pb2
from tests.audited import ORIGIN, PUBLIC, Shelf, verify
from tests.erased import NOW, RETENTION, Desk, aged, approved, asked, let_out, query, whole

PRIVATE = whole(1, "terminal", 300)
STORY = [
    *PRIVATE,  # leaves 1 to 3: due
    *whole(2, "police", 300),  # 4 to 6: kept for longer
    *whole(3, "terminal", 50),  # 7 to 9: not due
    *whole(4, "terminal", 200),  # 10 to 12: due
]
HOLD = erasure_pb2.HoldRequest(
    selection=pb.LeafSelection(query_id=query(4)), reference="ROT 26/417", by="u-o-1"
)


@pytest.fixture
def place(logs: Shelf) -> Place:
    return logs.place()


@pytest.fixture
def desk(logs: Shelf, place: Place) -> Desk:
    return Desk(logs.open(place))


async def test_what_is_due_goes_and_the_rest_proves_itself(
    desk: Desk, place: Place, tmp_path: Path
) -> None:
    """Exactly the due leaves of the class lose body and detail; the log and a copy of it verify."""
    await desk.fill(STORY)
    before = desk.log.receipt(1)
    assert await desk.erase("private", 150) == 6
    assert desk.gone() == {1, 2, 3, 10, 11, 12}
    details = desk.log.read("SELECT idx FROM leaf WHERE length(detail) > 0")
    assert {index for (index,) in details} == {4, 7, 13}
    report = verify(place)
    assert (report.erased, report.leaves["ERASURE"], report.leaves["INTENT"]) == (6, 1, 2)
    receipts.verify_receipt(before, origin=ORIGIN, public_key=PUBLIC, head=None)
    consistent = desk.log.receipt(4, 13)
    receipts.verify_receipt(
        consistent,
        origin=ORIGIN,
        public_key=PUBLIC,
        head=receipts.verify_receipt(before, origin=ORIGIN, public_key=PUBLIC, head=None),
    )
    assert copy_log(place, tmp_path / "copy.sqlite") == 14
    assert verify(tmp_path / "copy.sqlite") == report
    leaf = pb.AuditLeaf.FromString(desk.bodies()[13])
    assert (leaf.subject, leaf.erased_count, leaf.erased_held) == ("leaves-erased", 6, 0)
    assert len(set(leaf.approvers)) == len(leaf.signatures) == 2


async def test_an_erased_leaf_says_so(desk: Desk) -> None:
    """Nobody gets a new receipt of it, from memory neither."""
    await desk.fill(STORY)
    assert desk.log.receipt(1).leaf
    await desk.erase("private", 150)
    with pytest.raises(errors.NotFound) as caught:
        desk.log.receipt(1)
    assert caught.value.code == "LEAF_ERASED"


async def test_held_leaves_stay_until_the_hold_ends(desk: Desk, place: Place) -> None:
    """A hold on a query keeps its INTENT, its RELEASE and its OUTCOME, and the leaf counts them."""
    await desk.fill(STORY)
    await desk.eraser.hold(HOLD)
    assert await desk.erase("private", 150) == 3
    assert desk.gone() == {1, 2, 3}
    assert pb.AuditLeaf.FromString(desk.bodies()[14]).erased_held == 3
    ((hold_id,),) = desk.log.read("SELECT id FROM legal_hold")
    await desk.eraser.hold(erasure_pb2.HoldRequest(ended=bytes(hold_id), by="u-o-1"))
    assert await desk.erase("private", 150) == 3
    assert verify(place).erased == 6
    assert all(b"ROT" not in body for body in desk.bodies().values())


async def test_a_hold_put_after_the_approvals_stops_the_erasure(desk: Desk) -> None:
    """What two people approved is not erased any more once one of its leaves is held."""
    await desk.fill(STORY)
    order = approved(desk.propose("private", 150))
    await desk.eraser.hold(HOLD)
    with pytest.raises(errors.Refused) as caught:
        await desk.eraser.erase(order)
    assert (caught.value.code, desk.gone()) == ("LEAF_HELD", set())


async def test_a_hold_is_in_its_leaf_and_not_in_a_table(
    desk: Desk, place: Place, logs: Shelf
) -> None:
    """Whoever deletes what lies beside the leaf deletes the reference, and ends no hold."""
    await desk.fill(STORY)
    await desk.eraser.hold(HOLD)
    logs.change(place, "DELETE FROM legal_hold")
    assert await desk.erase("private", 150) == 3
    assert desk.gone() == {1, 2, 3}


async def test_an_order_is_carried_out_once(desk: Desk) -> None:
    """Handed in again, it changes nothing and writes nothing."""
    await desk.fill(STORY)
    order = approved(desk.propose("private", 150))
    await desk.eraser.erase(order)
    size = desk.log.head.size
    await desk.eraser.erase(order)
    assert desk.log.head.size == size


async def test_an_erasure_that_stopped_between_goes_on(
    desk: Desk, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an order in several parts each is whole or not at all, and the rest is done later."""
    await desk.fill(STORY)
    monkeypatch.setattr(order_module, "PART", 2)
    order = approved(desk.propose("private", 150))
    plain, calls = erased_module.erase_rows, list[int]()

    def fail(*arguments: Any) -> None:
        calls.append(1)
        plain(*arguments)
        if len(calls) == 2:
            raise errors.Conflict("killed")

    monkeypatch.setattr("fairlead.retention.erasing.erase_rows", fail)
    with pytest.raises(errors.Conflict):
        await desk.eraser.erase(order)
    assert desk.gone() == {1, 2}
    assert verify(place).erased == 2
    desk.retention = replace(RETENTION, partners={})  # the class was told by what is gone
    await desk.eraser.erase(order)
    assert desk.gone() == {1, 2, 3, 10, 11, 12}
    assert (verify(place).erased, verify(place).leaves["ERASURE"]) == (6, 3)


def listing(desk: Desk, indexes: list[int], kind: int = 0) -> list[tuple[int, bytes, int]]:
    """These leaves as an order lists them; of another type, where one is given."""
    rows = desk.log.read("SELECT idx, hash, body FROM leaf ORDER BY idx")
    return [
        (index, bytes(leaf_hash), kind or pb.AuditLeaf.FromString(body).type)
        for index, leaf_hash, body in rows
        if index in indexes
    ]


def rewritten(order: bytes, *more: list[tuple[int, bytes, int]], **changes: Any) -> bytes:
    """An order, not signed yet, that lists more parts or says something else."""
    signed = erasure_pb2.SignedErasureOrder.FromString(order)
    content = erasure_pb2.ErasureOrder.FromString(signed.order)
    for part in more:
        signed.parts.append(part_of(part))
        content.part_digests.append(list_digest(part))
        content.count += len(part)
    for name, value in changes.items():
        setattr(content, name, value)
    del signed.operators[:]
    signed.order = signing.canonical(content)
    return signing.canonical(signed)


async def test_a_part_that_is_gone_carries_no_young_one(desk: Desk) -> None:
    """Two signatures under an order that mixes an erased part with young leaves erase none."""
    await desk.fill(STORY)
    old = desk.propose("private", 250)
    young = rewritten(old, listing(desk, [7, 8, 9]))
    police = rewritten(old, listing(desk, [4, 5, 6]))
    await desk.eraser.erase(approved(old))
    assert desk.gone() == {1, 2, 3}
    for order in (young, police):
        with pytest.raises(errors.Forged) as caught:
            await desk.eraser.erase(approved(order))
        assert (caught.value.code, desk.gone()) == ("ERASURE_OTHER", {1, 2, 3})


async def test_a_row_in_a_table_erases_nothing_and_saves_nothing(
    desk: Desk, place: Place, logs: Shelf
) -> None:
    """Whoever writes beside the log that an order was carried out is not believed."""
    await desk.fill(STORY)
    order = desk.propose("private", 250)
    (digest,) = erasure_pb2.ErasureOrder.FromString(
        erasure_pb2.SignedErasureOrder.FromString(order).order
    ).part_digests
    row = (digest, "private", aged(250), 3, int(NOW * 1000))
    logs.change(place, ("INSERT INTO erasure VALUES (?, ?, ?, ?, ?)", row))
    mixed = rewritten(order, listing(desk, [7, 8, 9]))
    with pytest.raises(errors.Forged):
        await desk.eraser.erase(approved(mixed))
    assert await desk.eraser.erase(approved(order)) == 3
    assert (desk.gone(), verify(place).erased) == ({1, 2, 3}, 3)


async def test_the_log_counts_itself_what_is_held(desk: Desk) -> None:
    """Whoever edits the number before it is signed does not get it onto the record."""
    await desk.fill(STORY)
    await desk.eraser.hold(HOLD)
    await desk.eraser.erase(approved(rewritten(desk.propose("private", 150), held=99)))
    assert pb.AuditLeaf.FromString(desk.bodies()[14]).erased_held == 3


async def test_an_order_has_an_end_and_another_goes_on(
    desk: Desk, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one order has no room for is proposed again; a file that lists more is none."""
    await desk.fill(STORY)
    monkeypatch.setattr(order_module, "PART", 3)
    large = approved(desk.propose("private", 150))
    monkeypatch.setattr(order_module, "MAX_PARTS", 1)
    with pytest.raises(errors.InvalidInput):
        await desk.eraser.erase(large)
    assert order_module.read_order(desk.propose("private", 150)).full
    assert [await desk.erase("private", 150) for _ in range(2)] == [3, 3]
    assert (desk.gone(), verify(place).erased) == ({1, 2, 3, 10, 11, 12}, 6)


A = ("spiffe://fairlead.demo/operator/a", b"1")
B = ("spiffe://fairlead.demo/operator/b", b"2")
C = ("spiffe://fairlead.demo/operator/c", b"2")


async def forge(
    desk: Desk,
    *parts: list[tuple[int, bytes, int]],
    until_ms: int = aged(150),
    issued_at: int = int(NOW),
    second: tuple[str, bytes] = B,
) -> None:
    """What the log's own key can write: ERASURE leaves of an order that nobody looked at.

    :param second: whom the later parts name beside ``A``.
    """
    content = erasure_pb2.ErasureOrder(
        origin=desk.log.origin,
        leaf_class="private",
        until_ms=until_ms,
        issued_at=issued_at,
        count=sum(map(len, parts)),
        part_digests=[list_digest(part) for part in parts],
    )
    order = erasure_pb2.SignedErasureOrder(order=signing.canonical(content))
    for _, signature in (A, B):
        order.operators.add(key_id=signature * 32, signature=signature)
    for number, part in enumerate(parts):
        detail = signing.canonical(
            erasure_pb2.ErasedLeaves(order=signing.canonical(order), part=part_of(part))
        )
        leaf = desk.eraser.leaves.erasure(
            leaf_class="private",
            until_ms=until_ms,
            count=len(part),
            held=0,
            digest=list_digest(part),
            approvals=[A, second if number else B],
            detail_digest=signing.digest(detail),
        )
        record = (list_digest(part), "private", until_ms, int(NOW * 1000))
        await desk.log.append(
            leaf,
            detail=detail,
            also=lambda file, part=part, record=record: erase_rows(file, part, record),
        )


FORGERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "as it may be": ("", {}),
    "a type that is never erased": ("never erased", {"kind": pb.LEAF_TYPE_ACTIVATION}),
    "younger leaves": ("before their time", {"until_ms": int(NOW * 1000) - FLOOR_MS + 1_001}),
    "an order of later": ("an order in force", {"issued_at": int(NOW) + 121}),
    "an order of long ago": ("an order in force", {"issued_at": int(NOW) - 8 * 86_400}),
    "others for its second part": ("names others", {"second": C}),
}


@pytest.mark.parametrize("name", sorted(FORGERIES))
async def test_what_was_signed_is_what_the_leaves_are_measured_by(
    desk: Desk, place: Place, name: str
) -> None:
    """Whoever has the log's key writes no ERASURE leaf that its order does not carry."""
    said, changes = FORGERIES[name]
    await desk.fill(STORY)
    kind = changes.get("kind", 0)
    rest = {key: value for key, value in changes.items() if key != "kind"}
    await forge(desk, listing(desk, [1], kind), listing(desk, [2], kind), **rest)
    if not said:
        assert verify(place).erased == 2
        return
    with pytest.raises(errors.Forged) as caught:
        verify(place)
    assert said in str(caught.value)


async def test_a_release_of_an_erased_query_is_excused_by_its_erasure_alone(
    desk: Desk, place: Place
) -> None:
    """A RELEASE stays for the query that is kept longer; one more without INTENT is seen."""
    leaves = [asked(1, "terminal", 300), asked(2, "police", 300), let_out([1, 2], 300)]
    await desk.fill([*leaves, let_out([1], 299)])
    await desk.erase("private", 150)
    assert desk.gone() == {1, 4}
    assert verify(place).erased == 2
    await desk.log.append(let_out([7], 10)[0])
    with pytest.raises(errors.Forged) as caught:
        verify(place)
    assert "at leaf 6" in str(caught.value)


async def test_an_erased_question_excuses_one_answer_and_not_two(desk: Desk, place: Place) -> None:
    """Of two queries answered without an INTENT, the one erased does not cover both."""
    await desk.fill([asked(1, "terminal", 300), let_out([1], 50), let_out([8], 49)])
    await desk.erase("private", 150)
    with pytest.raises(errors.Forged) as caught:
        verify(place)
    assert "at leaf 3" in str(caught.value)


TAMPERINGS: dict[str, Callable[[Desk], list[tuple[str, tuple[object, ...]]]]] = {
    "a body deleted": lambda _: [
        ("UPDATE leaf SET body = ?, detail = ? WHERE idx = ?", (b"", b"", 5))
    ],
    "only the detail deleted": lambda _: [("UPDATE leaf SET detail = ? WHERE idx = ?", (b"", 4))],
    "the first leaf deleted": lambda _: [("UPDATE leaf SET body = ? WHERE idx = 0", (b"",))],
    "an erased body back": lambda _: [
        ("UPDATE leaf SET body = ?, detail = ? WHERE idx = 1", PRIVATE[0])
    ],
    "another hash": lambda _: [("UPDATE leaf SET hash = ? WHERE idx = 1", (bytes(32),))],
    "half a hash": lambda _: [("UPDATE leaf SET hash = ? WHERE idx = 1", (b"x",))],
    "no list": lambda _: [("UPDATE leaf SET detail = ? WHERE idx = 13", (b"",))],
    "the erasure itself deleted": lambda _: [
        ("UPDATE leaf SET body = ?, detail = ? WHERE idx = 13", (b"", b""))
    ],
}


@pytest.mark.parametrize("name", sorted(TAMPERINGS))
async def test_deleting_off_the_record_is_seen(
    desk: Desk, place: Place, logs: Shelf, name: str
) -> None:
    """Whatever an insider deletes, puts back or changes beside an erasure, verify finds it."""
    await desk.fill(STORY)
    await desk.erase("private", 150)
    verify(place)
    logs.change(place, *TAMPERINGS[name](desk))
    with pytest.raises(errors.Forged):
        verify(place)


async def test_an_erasure_that_names_other_leaves_is_seen(desk: Desk, place: Place) -> None:
    """An ERASURE leaf written with the log's key, which lists what was not erased, is found."""
    await desk.fill(STORY)
    order = desk.propose("private", 150)
    signed = erasure_pb2.SignedErasureOrder.FromString(order)
    part, bare = signed.parts[0], erasure_pb2.SignedErasureOrder(order=signed.order)
    detail = signing.canonical(erasure_pb2.ErasedLeaves(order=signing.canonical(bare), part=part))
    content = erasure_pb2.ErasureOrder.FromString(signed.order)
    leaf = desk.eraser.leaves.erasure(
        leaf_class="private",
        until_ms=content.until_ms,
        count=content.count,
        held=0,
        digest=content.part_digests[0],
        approvals=[("spiffe://fairlead.demo/operator/a", b"1"), ("spiffe://x/operator/b", b"2")],
        detail_digest=signing.digest(detail),
    )
    await desk.log.append(leaf, detail=detail)
    with pytest.raises(errors.Forged) as caught:
        verify(place)
    assert "at leaf 13" in str(caught.value)
