"""Attack: the part sealed for one owner is given to another, or to one nobody wanted asked."""

from __future__ import annotations

from pathlib import Path

from fairlead.envelope.part import part_digest
from fairlead.v1 import query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, changed, craft
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused
from tests.federation import Federation, federation


def assert_nothing_learnt(made: Federation, owner: str, *reasons: str) -> None:
    """The owner looked nothing up and wrote down why."""
    log = made.nodes[owner].log
    assert refusals(log) == list(reasons)
    assert intents(log) == 0


async def test_a_part_for_one_owner_is_refused_by_another(tmp_path: Path) -> None:
    """The gateway mixes two parts up; the header says which part is whose."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        for owner, other in ((OWNER, OTHER_OWNER), (OTHER_OWNER, OWNER)):
            with refused("PART_DIGEST"):
                await gateway.ask(crafted, owner, part=crafted.parts[other])
            assert_nothing_learnt(made, owner, "PART_DIGEST")


async def test_the_gateway_refuses_parts_at_the_wrong_address(tmp_path: Path) -> None:
    """Swapped, doubled, addressed to a stranger or to the asker itself: nobody is asked."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        assert made.gateway is not None
        crafted = craft(made)

        def addressed(*pairs: tuple[str, str]) -> list[query_pb2.AddressedPart]:
            return [
                query_pb2.AddressedPart(partner_id=to, part=crafted.parts[of]) for to, of in pairs
            ]

        for parts, reason in (
            (addressed((OWNER, OTHER_OWNER), (OTHER_OWNER, OWNER)), "PART_DIGEST"),
            (addressed((OWNER, OWNER), (OWNER, OWNER)), "PART_ADDRESS"),
            (addressed(("nobody", OWNER)), "PART_ADDRESS"),
            (addressed(("customs", OWNER)), "PART_ADDRESS"),
            ([], "PART_ADDRESS"),
        ):
            with refused(reason):
                await node.ask(crafted, parts=parts)
        assert intents(made.gateway.log) == 0


async def test_a_part_sealed_to_one_owner_does_not_open_for_another(tmp_path: Path) -> None:
    """Even a colluding node that puts A's part in B's place gives B nothing to read."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        honest = craft(made)
        crafted = craft(made, query_id=honest.query_id, parts={OTHER_OWNER: honest.parts[OWNER]})
        with refused("UNSEALABLE"):
            await gateway.ask(crafted, OTHER_OWNER)
        assert_nothing_learnt(made, OTHER_OWNER, "UNSEALABLE")


async def test_a_part_of_another_query_does_not_open(tmp_path: Path) -> None:
    """A part kept from an earlier query is bound to it."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        earlier = craft(made)
        crafted = craft(made, parts={OWNER: earlier.parts[OWNER]})
        with refused("UNSEALABLE"):
            await gateway.ask(crafted)
        assert_nothing_learnt(made, OWNER, "UNSEALABLE")


async def test_a_partner_the_user_did_not_name_does_not_answer(tmp_path: Path) -> None:
    """A node asks one partner more than its user signed for: that partner refuses."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        crafted = craft(made, asked=[OWNER], sent_to=[OWNER, OTHER_OWNER])
        events = await node.ask(crafted)
        lines = {line.partner_id: line.status for event in events for line in event.partners}
        assert lines == {
            OWNER: query_pb2.STATUS_ANSWERED,
            OTHER_OWNER: query_pb2.STATUS_INVALID,
        }
        assert_nothing_learnt(made, OTHER_OWNER, "NOT_WANTED")


async def test_an_owner_is_not_asked_in_its_own_name(tmp_path: Path) -> None:
    """A query of customs' own user is not answered by customs' own node."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made, asked=["customs", OWNER])
        with refused("ASKS_ITSELF"):
            await gateway.ask(crafted, "customs")
        assert_nothing_learnt(made, "customs", "ASKS_ITSELF")


async def test_a_part_with_unsigned_fields_is_refused(tmp_path: Path) -> None:
    """Octets appended to a part in transit, even ignorable ones, break its digest."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        request = await gateway.request(crafted)
        part = crafted.parts[OWNER]
        for longer in (part + b"\x1a\x01x", part[:-1], b""):
            with refused("PART_DIGEST"):
                await gateway.send(changed(request, part=longer))
        assert (
            part_digest(part)
            in query_pb2.QueryHeader.FromString(crafted.signed.header).part_digests
        )
