"""Attack: a gateway grants more than policy does, or strips what comes with the permission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from fairlead import signing
from fairlead.errors import Misconfigured
from fairlead.policy.decision import Obligations
from fairlead.v1 import query_pb2
from fairlead.vocabulary import Event
from tests.attacks.crafted import OTHER_OWNER, OWNER, Crafted, changed, craft
from tests.attacks.evil import EVERYTHING, UNLIMITED, EvilGateway, intents, refused
from tests.federation import STORY, Federation, federation, record, states

MANY = [record(event=Event.GATE_IN, fields={"place": f"Gate {n}", "driver_name": "Somebody"})
        for n in range(30)]  # fmt: skip

LOCAL = """
schema: 2
adopt: [{adopt}]
agreements:
  - id: our-own
    from: ["kind:customs"]
    to: ["kind:terminal"]
    purposes: [{purposes}]
    legal_bases: [eu-ucc-art-46]
    modes: [sealed, blind]
    schemes: [container, vehicle-plate, vessel-imo]
    roles: [analyst]
    facets: [{facets}]
    redact: []
    max_records: {records}
    notice_delay_s: 0
    retention_days: 365
    max_terms: 512
    max_window_days: 730
    valid_from: 2026-01-01
    valid_until: 2031-01-01
"""


def local(
    folder: Path,
    *,
    facets: str = "existence, count_band, contact_desk, full_record",
    purposes: str = "drug-trafficking",
    records: int = 100,
    adopt: str = "",
    more: str = "",
) -> dict[str, Path]:
    """The terminal's own agreements as a file."""
    path = folder / "local.yaml"
    text = LOCAL.format(facets=facets, purposes=purposes, records=records, adopt=adopt)
    path.write_text(text + more)
    return {OWNER: path}


def opened(
    made: Federation, crafted: Crafted, answer: query_pb2.SignedAnswer
) -> tuple[int, str, Sequence[query_pb2.TermAnswer]]:
    """Status, reason and content of an owner's answer."""
    header = query_pb2.AnswerHeader.FromString(answer.header)
    answered = header.status == query_pb2.STATUS_ANSWERED
    return header.status, header.reason, crafted.open(answer, OWNER) if answered else ()


async def test_an_owners_own_limits_hold_against_a_grant_of_everything(tmp_path: Path) -> None:
    """The owner permits existence and a desk; a grant of full records discloses no more."""
    own = local(tmp_path, facets="existence, contact_desk")
    async with federation(tmp_path, records={OWNER: MANY}, local_policy=own) as made:
        async with EvilGateway(made) as gateway:
            crafted = craft(made)
            response = await gateway.ask(crafted, facets=EVERYTHING, obligations=UNLIMITED)
        _, _, (answer,) = opened(made, crafted, response.answer)
        assert answer.hit
        assert answer.contact_desk
        assert not answer.records
        assert not answer.count_band


async def test_stripped_obligations_come_back_at_the_owner(tmp_path: Path) -> None:
    """A grant without redaction and without a limit: the owner redacts and limits by itself."""
    async with federation(tmp_path, records={OWNER: MANY}) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        response = await gateway.ask(crafted, obligations=UNLIMITED)
        _, _, (answer,) = opened(made, crafted, response.answer)
        assert 0 < len(answer.records) <= 20
        assert answer.more
        for item in answer.records:
            assert [shown.name for shown in item.fields] == ["place"]
            assert "driver_name" in item.withheld


async def test_a_grants_own_obligations_are_kept(tmp_path: Path) -> None:
    """What the gateway's policy restricts further, the owner restricts too."""
    async with federation(tmp_path, records={OWNER: MANY}) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        strict = Obligations(redact=frozenset({"place"}), max_records=1)
        response = await gateway.ask(crafted, obligations=strict)
        _, _, (answer,) = opened(made, crafted, response.answer)
        (record,) = answer.records
        assert "place" not in {field.name for field in record.fields}
        assert "place" in record.withheld


async def test_a_grant_without_any_agreement_is_refused(tmp_path: Path) -> None:
    """For a purpose nobody agreed to be asked sealed, the owner refuses, whatever is granted."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made, purpose="customs-risk")
        status, reason, _ = opened(made, crafted, (await gateway.ask(crafted)).answer)
        assert (status, bool(reason)) == (query_pb2.STATUS_REFUSED, True)


@pytest.mark.parametrize("facets", [[], ["everything"], ["field:*"], ["Full_Record"]])
async def test_a_grant_of_nothing_known_is_a_refusal(tmp_path: Path, facets: list[str]) -> None:
    """Empty or unheard-of facets permit nothing, not everything."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        response = await gateway.ask(crafted, facets=facets)
        status, reason, _ = opened(made, crafted, response.answer)
        assert (status, reason) == (query_pb2.STATUS_REFUSED, "NOTHING_GRANTED")


async def test_a_grant_changed_after_signing_or_made_for_another_is_refused(tmp_path: Path) -> None:
    """Widening in transit breaks the digest; a grant is bound to owner, query and gateway."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        good = await gateway.request(craft(made), facets=["existence"])
        widened = changed(good)
        grant = query_pb2.OwnerGrant.FromString(good.grant)
        widened.grant = signing.canonical(changed(grant, facets=sorted(EVERYTHING)))
        with refused("GRANT_DIGEST"):
            await gateway.send(widened)
        with refused("GRANT_BINDING"):
            await gateway.send(await gateway.request(craft(made), grant_for=OTHER_OWNER))
        other = await gateway.request(craft(made))
        borrowed = changed(
            good, grant=other.grant, grant_statement=other.grant_statement,
            grant_signature=other.grant_signature,
        )  # fmt: skip
        with refused("GRANT_BINDING"):
            await gateway.send(borrowed)
        forged = changed(good, grant_signature=signing.sign(gateway.key, "outcome", b""))
        with refused("SIGNATURE"):
            await gateway.send(forged)
        assert intents(made.nodes[OWNER].log) == 0


async def test_a_grant_without_its_logged_intent_is_refused(tmp_path: Path) -> None:
    """No receipt of this query's own INTENT leaf, no answer."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        first, second = craft(made), craft(made)
        unlogged = await gateway.request(first)
        other = await gateway.request(second)
        for receipt in (other.receipt, type(other.receipt)()):
            with refused("RECEIPT_BINDING"):
                await gateway.send(changed(unlogged, receipt=receipt))
        # A leaf that is in the log, named by the statement, but records another query.
        gateway._intents["main", first.query_id] = await gateway.intent(second)
        with refused("INTENT_BINDING"):
            await gateway.send(await gateway.request(first))
        assert intents(made.nodes[OWNER].log) == 0


# ── A partner's own policy that tries to widen ───────────────────────────────────────────────


async def test_a_local_policy_cannot_lift_a_redaction_or_a_limit(tmp_path: Path) -> None:
    """The owner's own file permits everything unredacted; the federation's rules still hold."""
    async with federation(tmp_path, records={OWNER: MANY}, local_policy=local(tmp_path)) as made:
        await made.open_case()
        (answer,) = states(await made.ask(STORY))[OWNER].answers
        assert 0 < len(answer.records) <= 20
        for item in answer.records:
            assert [shown.name for shown in item.fields] == ["place"]


async def test_a_local_policy_cannot_permit_what_the_federation_does_not(tmp_path: Path) -> None:
    """An owner that wants to answer a purpose nobody agreed on refuses all the same."""
    own = local(tmp_path, purposes="drug-trafficking, customs-risk")
    async with federation(tmp_path, local_policy=own) as made, EvilGateway(made) as gateway:
        crafted = craft(made, purpose="customs-risk")
        status, _, _ = opened(made, crafted, (await gateway.ask(crafted)).answer)
        assert status == query_pb2.STATUS_REFUSED
        allowed = craft(made)
        status, _, _ = opened(made, allowed, (await gateway.ask(allowed)).answer)
        assert status == query_pb2.STATUS_ANSWERED


async def test_an_askers_local_policy_cannot_permit_its_user_more(tmp_path: Path) -> None:
    """Customs' own file lets its analysts ask for any purpose; its node still refuses."""
    own = {"customs": local(tmp_path, purposes="drug-trafficking, customs-risk")[OWNER]}
    async with federation(tmp_path, local_policy=own) as made:
        await made.open_case()
        with refused(code=grpc.StatusCode.PERMISSION_DENIED):
            await made.ask(STORY, purpose="customs-risk")
        assert intents(made.nodes["customs"].log) == 0


async def test_a_local_policy_cannot_redefine_the_registry(tmp_path: Path) -> None:
    """A file that redefines limits or what is personal does not start; nothing is answered."""
    own = local(tmp_path, more="registry:\n  limits: {max_terms: 4096}\n")
    with pytest.raises(Misconfigured):
        async with federation(tmp_path, local_policy=own, start=False) as made:
            await made.start_node(OWNER)
