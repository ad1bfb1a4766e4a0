"""Attack: guess the term, or the case, or who is asked, from digests and commitments.

The attacker knows the few candidates there are and every public value; PROTOCOL says an
unsalted root of one container number falls in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairlead import identifiers, merkle, signing
from fairlead.envelope.query import Scope, partner_digest, term_leaf, terms_root
from fairlead.identifiers.container import check_digit
from fairlead.v1 import owner_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER
from tests.attacks.dictionary import found, salts, spellings, values, windows
from tests.attacks.evil import tap
from tests.federation import CASE, Federation, federation, record

TERMS = [f"MSCU66398{n}" + check_digit(f"MSCU66398{n}") for n in range(10)]
CANARY = TERMS[3]


def leaf_texts(terms: Sequence[str], nonces: Sequence[bytes], since: int) -> list[bytes]:
    """The very leaves that the mandate hashes, under every nonce an attacker can think of."""
    return [
        signing.canonical(
            query_pb2.TermLeaf(scheme="container", value=term, nonce=nonce, since=begins)
        )
        for term in terms
        for nonce in nonces
        for begins in (0, since)
    ]


async def watched(made: Federation, since: int) -> list[bytes]:
    """Ask the canary; everything the gateway sees of it, as octet fields."""
    assert made.gateway is not None
    asked = tap(made.gateway.tactical, "query")
    answers: list[owner_pb2.AnswerResponse] = []
    transport = made.gateway.transport
    inner = transport.answer

    async def answer(*arguments: Any, **named: Any) -> owner_pb2.AnswerResponse:
        answers.append(await inner(*arguments, **named))
        return answers[-1]

    transport.answer = answer  # type: ignore[method-assign]
    await made.open_case()
    await made.ask(CANARY, since=since)
    signed = asked[0].query
    nested = [
        query_pb2.Mandate.FromString(signed.mandate),
        query_pb2.QueryHeader.FromString(signed.header),
        query_pb2.NodeStatement.FromString(signed.statement),
        *(query_pb2.SealedPart.FromString(part.part) for part in asked[0].parts),
        *(query_pb2.AnswerHeader.FromString(item.answer.header) for item in answers),
    ]
    seen = [value for message in (*asked, *answers, *nested) for _, value in values(message)]
    rows = made.gateway.log.read("SELECT body, hash, detail FROM leaf")
    return seen + [bytes(column) for row in rows for column in row]


async def test_the_gateway_cannot_find_a_term_by_trying_them_all(tmp_path: Path) -> None:
    """Ten candidates, every construction, every nonce the gateway sees: no octets give one away."""
    since = int(time.time()) - 86_400
    held = {OWNER: [record(CANARY)]}
    async with federation(tmp_path, records=held) as made:
        seen = await watched(made, since)
        texts = [text for term in TERMS for text in spellings(term)]
        nonces = sorted(salts(seen))
        assert not found(texts, seen=seen)
        leaves = {merkle.leaf_hash(text) for text in leaf_texts(TERMS, nonces, since)}
        assert not leaves & windows(seen)
        roots = {
            terms_root([term_leaf("container", term, nonce, scope)])
            for term in TERMS
            for nonce in nonces
            for scope in (Scope(), Scope(since=since))
        }
        assert not roots & set(seen)


async def test_the_gateway_cannot_find_the_case_by_trying_them_all(tmp_path: Path) -> None:
    """Case references are guessable too; the commitment's nonce stays with the asker's node."""
    async with federation(tmp_path) as made:
        seen = await watched(made, int(time.time()) - 86_400)
        assert not found([f"CASE-{n}".encode() for n in range(50)], seen=seen)
        assert CASE.encode() not in b"".join(seen)


def test_the_dictionary_would_find_what_is_hashed_without_a_secret() -> None:
    """The control: the same search finds a plain hash, a public salt and a zero nonce."""
    public = signing.digest(b"public")
    for weak in (
        signing.digest(CANARY.encode()),
        signing.digest(public + CANARY.encode()),
        signing.commit(public, CANARY.encode()),
    ):
        seen = [b"before" + weak + b"after", public]
        assert found(spellings(CANARY), seen=seen) == {CANARY.encode()}
    bare = term_leaf("container", CANARY, bytes(32))
    leaves = {merkle.leaf_hash(text) for text in leaf_texts(TERMS, [bytes(32)], 0)}
    assert leaves & windows([b"root " + bare])
    assert found(spellings(CANARY), seen=[b"clear " + CANARY.encode()])


async def test_an_owners_dba_cannot_find_what_the_index_holds(tmp_path: Path) -> None:
    """Index file and audit log of an owner, without its secret, are dictionary-proof."""
    held = {OWNER: [record(CANARY, fields={"place": "Gate 7"})]}
    async with federation(tmp_path, records=held) as made:
        await made.open_case()
        await made.ask(CANARY)
        folder = made.node_configs[OWNER].state_dir
        files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".secret"]
        seen = [path.read_bytes() for path in files]
        assert any(path.name == "index.sqlite" for path in files)
    value = identifiers.parse("container", CANARY).value
    texts = [text for term in TERMS for text in spellings(term)]
    texts += [f"1|container|{value}".encode(), b"Gate 7"]
    assert not found(texts, seen=seen)


async def test_an_owner_cannot_find_the_other_partners_by_trying_them_all(tmp_path: Path) -> None:
    """Every digest an owner receives, tried for every partner id under every value it knows."""
    async with federation(tmp_path) as made:
        received: list[owner_pb2.AnswerRequest] = tap(made.nodes[OWNER].answering, "answer")
        await made.open_case()
        await made.ask()
        request = received[0]
        mandate = query_pb2.Mandate.FromString(request.query.mandate)
        header = query_pb2.QueryHeader.FromString(request.query.header)
        statement = query_pb2.GrantStatement.FromString(request.grant_statement)
        grant = query_pb2.OwnerGrant.FromString(request.grant)
        nested = [mandate, header, statement, grant]
        seen = [value for message in (request, *nested) for _, value in values(message)]
        keys = salts(seen) | {mandate.mandate_id, header.query_id, request.part[:32]}
        digests = {
            *mandate.partner_digests,
            *header.part_digests,
            *statement.grant_digests,
        }
        for partner in made.directory.partners:
            for salt in keys:
                for asked in (True, False):
                    guess = partner_digest(salt, partner, mandate.mandate_id, asked=asked)
                    assert guess not in digests
        others = [p.encode() for p in made.directory.partners if p not in ("customs", OWNER)]
        lists = [f"{a},{b}".encode() for a in (OWNER, OTHER_OWNER) for b in (OWNER, OTHER_OWNER)]
        assert not found([*others, *lists], seen=seen, keys=keys)
