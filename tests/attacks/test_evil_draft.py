"""Attack: the asker's own node drafts something other than what its user typed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead import signing
from fairlead.drafted import check_draft
from fairlead.envelope.query import partner_digest
from fairlead.errors import Forged
from fairlead.v1 import asking_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, changed, user_certificate
from tests.attacks.evil import intents
from tests.federation import OTHER, STORY, Federation, federation, one, request

Change = dict[str, object]
NOW = int(time.time())
TYPED: Change = {"partners": [OWNER], "since": NOW - 30 * 86_400}


def term(value: str, scheme: str = "container") -> asking_pb2.Term:
    """One term as a client sends it."""
    return asking_pb2.Term(scheme=scheme, value=value)


SECRETLY: dict[str, tuple[str, Change]] = {
    "another term": ("TERMS", {"terms": [term(OTHER)]}),
    "one term more": ("TERMS", {"terms": [term(STORY), term(OTHER)]}),
    "another partner": ("PARTNERS", {"partners": [OTHER_OWNER]}),
    "one partner more": ("PARTNERS", {"partners": [OWNER, OTHER_OWNER]}),
    "everybody": ("PARTNERS", {"partners": []}),
    "a longer period": ("TERMS", {"since": NOW - 600 * 86_400}),
    "an end to the period": ("TERMS", {"until": NOW - 3_600}),
    "one kind of event": ("TERMS", {"events": ["gate-in"]}),
    "another case": ("CASE", {"case_id": "CASE-2"}),
}


async def test_a_node_that_drafts_something_else_gets_no_signature(tmp_path: Path) -> None:
    """The client recomputes the draft from what was typed; nothing is signed, nothing leaves."""
    async with federation(tmp_path) as made:
        assert made.gateway is not None
        await made.open_case()
        await made.open_case("CASE-2")
        node = made.nodes["customs"].asking
        honest = node.prepare
        change: Change = {}

        async def prepare(asked: AsyncIterator[asking_pb2.PrepareRequest], *rest: Any) -> Any:
            (typed,) = [message async for message in asked]
            return await honest(one(changed(typed, **change)), *rest)

        node.prepare = prepare  # type: ignore[method-assign]
        for what, (reason, wish) in SECRETLY.items():
            change = wish
            with pytest.raises(Forged) as caught:
                await made.ask(STORY, **TYPED)
            assert set(caught.value.reasons) == {"DRAFT_DIFFERS", reason}, what
        assert intents(made.nodes["customs"].log) == intents(made.gateway.log) == 0


def check(
    made: Federation,
    asked: asking_pb2.PrepareRequest,
    response: asking_pb2.PrepareResponse,
    *,
    user: str = "u-c01",
) -> None:
    """What the user's client does before it signs."""
    check_draft(
        asked,
        response,
        certificate=user_certificate(made, "customs", user),
        directory=made.directory,
        partner_id="customs",
        now=time.time(),
    )


def rewritten(response: asking_pb2.PrepareResponse, **fields: object) -> asking_pb2.PrepareResponse:
    """The draft with changed fields of the mandate."""
    mandate = query_pb2.Mandate.FromString(response.mandate)
    return changed(response, mandate=signing.canonical(changed(mandate, **fields)))


def unseen(response: asking_pb2.PrepareResponse) -> asking_pb2.PrepareResponse:
    """The shipping line is asked too, and not announced."""
    mandate = query_pb2.Mandate.FromString(response.mandate)
    place = list(response.directory_partners).index(OTHER_OWNER)
    digests = list(mandate.partner_digests)
    salt = response.partner_salts[place]
    digests[place] = partner_digest(salt, OTHER_OWNER, mandate.mandate_id, asked=True)
    return rewritten(response, partner_digests=digests)


def hidden_place(response: asking_pb2.PrepareResponse) -> asking_pb2.PrepareResponse:
    """A partner of the directory is left out of the list, so that its digest need not open."""
    left = list(response.directory_partners)[1:]
    return changed(response, directory_partners=left, partner_salts=response.partner_salts[1:])


def other_nonces(response: asking_pb2.PrepareResponse) -> asking_pb2.PrepareResponse:
    """Nonces that the mandate was not made with."""
    return changed(response, nonce_seed=bytes(32))


def short_seed(response: asking_pb2.PrepareResponse) -> asking_pb2.PrepareResponse:
    """A seed from which nothing random follows."""
    return changed(response, nonce_seed=b"")


MANDATES: dict[str, tuple[str, Callable[[asking_pb2.PrepareResponse], Any]]] = {
    "another purpose": ("PURPOSE", lambda r: rewritten(r, purpose="infiltration")),
    "another mode": ("PURPOSE", lambda r: rewritten(r, mode=query_pb2.MODE_BLIND)),
    "a longer life": ("USER", lambda r: rewritten(r, expires_at=2**33)),
    "another user": ("USER", lambda r: rewritten(r, user_certificate_digest=bytes(32))),
    "more terms than shown": ("TERMS", lambda r: rewritten(r, term_count=3)),
    "a partner asked unseen": ("PARTNERS", unseen),
    "a partner left out of the list": ("PARTNERS", hidden_place),
    "another partner's name": ("USER", lambda r: rewritten(r, partner_id="police")),
    "another federation": ("USER", lambda r: rewritten(r, federation="elsewhere.example")),
    "a mandate for tomorrow": (
        "USER",
        lambda r: rewritten(r, issued_at=NOW + 86_400, expires_at=NOW + 90_000),
    ),
    "other nonces": ("TERMS", other_nonces),
    "no nonces": ("TERMS", short_seed),
    "another case under the same nonce": (
        "CASE",
        lambda r: rewritten(r, case_commitment=signing.commit(r.case_nonce, b"CASE-2")),
    ),
}


async def test_a_mandate_changed_in_any_field_is_not_signed(tmp_path: Path) -> None:
    """Each commitment of the mandate is opened against the typed text, one by one."""
    async with federation(tmp_path) as made:
        await made.open_case()
        asked = request(STORY, OTHER, **TYPED)
        async with made.client() as client:
            honest = await client.stub.Prepare(iter([asked]), timeout=10)
        check(made, asked, honest)
        for what, (reason, change) in MANDATES.items():
            with pytest.raises(Forged) as caught:
                check(made, asked, change(honest))
            assert set(caught.value.reasons) == {"DRAFT_DIFFERS", reason}, what
        with pytest.raises(Forged):
            check(made, asked, honest, user="u-c03")


async def test_a_user_who_names_no_partner_sees_everybody_who_will_be_asked(
    tmp_path: Path,
) -> None:
    """Without a wish the node chooses, but only among those it announces."""
    async with federation(tmp_path) as made:
        await made.open_case()
        asked = request(STORY)
        async with made.client() as client:
            honest = await client.stub.Prepare(iter([asked]), timeout=10)
        silent = changed(honest, exposures=list(honest.exposures)[:1])
        with pytest.raises(Forged) as caught:
            check(made, asked, silent)
        assert "PARTNERS" in caught.value.reasons
