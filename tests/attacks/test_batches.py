"""Attack: a batch whose chunks are not what its user signed, or that ends before its end."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.cli import results
from fairlead.cli.output import Exit
from fairlead.cli.results import Result, gather
from fairlead.envelope.chunk import Chunk, chunks_of
from fairlead.envelope.query import (
    Query,
    commit_terms,
    draft_mandate,
    sign_query,
    term_leaf,
    uuid7,
    verify_query,
)
from fairlead.envelope.question import open_part, seal_part
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.v1 import asking_pb2, query_pb2
from tests.attacks.crafted import Crafted
from tests.attacks.evil import EvilNode, intents, refused
from tests.details import naming, some_detail
from tests.federation import OTHER, STORY, federation, request
from tests.test_node_batches import container
from tests.walks import ASKER, OWNER, World, make_world, world_of

TERMS = [("container", term) for term in (STORY, OTHER, *(container(n) for n in range(6)))]
SIZE = 4


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_TERMS", SIZE)
    monkeypatch.setattr(results, "CHUNK", SIZE)


class Batch:
    """Eight terms under customs' analyst's mandate, and the node's session key for it."""

    def __init__(self, world: World, now: float) -> None:
        self.world, self.now = world, now
        self.session = Ed25519PrivateKey.generate()
        self.salts = {p: os.urandom(32) for p in world.directory.partners}
        self.nonces = [os.urandom(32) for _ in TERMS]
        self.mandate = draft_mandate(
            directory=world.directory,
            partner_id=ASKER,
            user_certificate=world.certificate(),
            purpose="drug-trafficking",
            legal_basis="eu-ucc-art-46",
            case_commitment=signing.commit(os.urandom(32), b"CASE-1"),
            mode=query_pb2.MODE_SEALED,
            committed=commit_terms(TERMS, self.nonces),
            salts=self.salts,
            asked=(OWNER,),
            session_key=signing.public_bytes(self.session),
            now=now,
        )
        leaves = [term_leaf(s, v, n) for (s, v), n in zip(TERMS, self.nonces, strict=True)]
        self.chunks = chunks_of(leaves)

    def send(
        self, chunk: Chunk, *, terms: slice | None = None, value: tuple[str, str] | None = None
    ) -> Crafted:
        """One chunk, sealed and signed by the node; ``terms`` are those it asks."""
        part = terms or slice(chunk.number * SIZE, chunk.number * SIZE + chunk.term_count)
        asked = [value or TERMS[part.start], *TERMS[part][1:]]
        query_id, reply = uuid7(self.now), sealing.SealingKey.generate()
        parts = {
            OWNER: seal_part(
                query_id=query_id,
                owner=self.world.directory.partner(OWNER),
                salt=self.salts[OWNER],
                terms=asked,
                nonces=self.nonces[part],
            )
        }
        detail = some_detail(self.world.directory, ASKER, query_id)
        key = signing.load_user_key(self.world.opened.layout.user(ASKER, "u-c01") / "user.key")
        signed = sign_query(
            mandate=self.mandate,
            mandate_signature=signing.sign_as_user(key, "mandate", self.mandate),
            user_certificate=self.world.certificate(),
            session=self.session,
            node_key=self.world.signing_key(ASKER),
            query_id=query_id,
            parts=parts,
            part_seed=bytes(32),
            reply_key=reply.public_bytes(),
            directory=self.world.directory,
            policy_serial=1,
            chunk=chunk,
            now=self.now,
            detail=naming(detail),
        )
        return Crafted(
            signed=signed, parts=parts, session=self.session, reply_key=reply, query_id=query_id,
            detail=detail,
        )  # fmt: skip

    def verify(self, crafted: Crafted) -> Query:
        """As gateway and owner do."""
        return verify_query(
            crafted.signed, directory=self.world.directory, deny_lists=None, now=self.now
        )

    def open(self, crafted: Crafted) -> tuple[str, ...]:
        """As the owner does; the terms it would answer."""
        question = open_part(
            crafted.parts[OWNER],
            self.verify(crafted),
            owner=OWNER,
            key=self.world.sealing_key(OWNER),
            directory=self.world.directory,
        )
        return tuple(term.value for term in question.terms)


@pytest.fixture
def made(tmp_path: Path) -> Batch:
    now = time.time()
    return Batch(make_world(tmp_path, now=now), now)


def test_honest_chunks_hold_every_term_once(made: Batch) -> None:
    """Both chunks verify and together are the terms the user signed, in order."""
    opened = [term for chunk in made.chunks for term in made.open(made.send(chunk))]
    assert opened == [value for _, value in TERMS]


def test_other_terms_in_the_second_chunk_are_refused_by_the_owner(made: Batch) -> None:
    """A node that swaps one term of chunk 2 for another is caught by the user's signature."""
    crafted = made.send(made.chunks[1], value=("container", container(99)))
    with pytest.raises(Forged) as caught:
        made.open(crafted)
    assert caught.value.code == "TERMS_ROOT"


def test_a_root_of_other_terms_leads_nowhere(made: Batch) -> None:
    """Claiming another root for chunk 2 fails at the gateway already."""
    first, second = made.chunks
    forged = Chunk(number=1, term_count=SIZE, root=os.urandom(32), path=second.path)
    with pytest.raises(Forged) as caught:
        made.verify(made.send(forged))
    assert caught.value.code == "CHUNK_PATH"
    assert first.path != second.path


FORGERIES: list[tuple[str, Callable[[Batch], Chunk], type[FairleadError], str]] = [
    (
        "chunk 1 again under the index of chunk 2",
        lambda b: Chunk(number=1, term_count=SIZE, root=b.chunks[0].root, path=b.chunks[0].path),
        Forged,
        "CHUNK_PATH",
    ),
    (
        "chunk 1 under an index beyond the last",
        lambda b: Chunk(number=2, term_count=SIZE, root=b.chunks[0].root, path=b.chunks[0].path),
        InvalidInput,
        "TERM_COUNT",
    ),
    (
        "a truncated last chunk",
        lambda b: Chunk(number=1, term_count=2, root=b.chunks[1].root, path=b.chunks[1].path),
        InvalidInput,
        "TERM_COUNT",
    ),
    (
        "an empty chunk",
        lambda b: Chunk(number=1, term_count=0, root=b.chunks[1].root, path=b.chunks[1].path),
        InvalidInput,
        "TERM_COUNT",
    ),
    (
        "the whole tree as one chunk",
        lambda b: Chunk(
            number=0, term_count=8, root=query_pb2.Mandate.FromString(b.mandate).terms_root, path=()
        ),
        InvalidInput,
        "TERM_COUNT",
    ),
    (
        "a path that is too long",
        lambda b: Chunk(
            number=0, term_count=SIZE, root=b.chunks[0].root, path=(*b.chunks[0].path, bytes(32))
        ),
        Forged,
        "CHUNK_PATH",
    ),
    (
        "a path without end",
        lambda b: Chunk(number=0, term_count=SIZE, root=b.chunks[0].root, path=(bytes(32),) * 100),
        InvalidInput,
        "CHUNK_PATH",
    ),
    (
        "a root that is no hash",
        lambda b: Chunk(number=0, term_count=SIZE, root=b"x", path=b.chunks[0].path),
        InvalidInput,
        "CHUNK_PATH",
    ),
]


@pytest.mark.parametrize(
    ("forge", "error", "code"), [item[1:] for item in FORGERIES], ids=[i[0] for i in FORGERIES]
)
def test_a_chunk_stands_at_its_place_or_nowhere(
    made: Batch, forge: Callable[[Batch], Chunk], error: type[FairleadError], code: str
) -> None:
    """The session key can ask for exactly the committed terms, each at its own index."""
    with pytest.raises(error) as caught:
        made.verify(made.send(forge(made), terms=slice(0, SIZE)))
    assert caught.value.code == code


def test_the_terms_of_chunk_one_cannot_be_asked_as_chunk_two(made: Batch) -> None:
    """With chunk 2's own root the header verifies, and the owner finds other terms in its part."""
    crafted = made.send(made.chunks[1], terms=slice(0, SIZE))
    made.verify(crafted)
    with pytest.raises(Forged) as caught:
        made.open(crafted)
    assert caught.value.code == "TERMS_ROOT"


async def test_a_chunk_is_asked_once_whatever_its_id(tmp_path: Path) -> None:
    """The same chunk under a new id and fresh keys is MANDATE_USED, and no owner hears of it."""
    async with federation(tmp_path) as federated:
        batch = Batch(world_of(federated.layout, now=time.time()), time.time())
        async with EvilNode(federated) as node:
            await node.ask(batch.send(batch.chunks[1]))
            before = intents(federated.nodes[OWNER].log)
            with refused("MANDATE_USED", code=grpc.StatusCode.ALREADY_EXISTS):
                await node.ask(batch.send(batch.chunks[1]))
            assert intents(federated.nodes[OWNER].log) == before


async def _shortened(
    events: AsyncIterator[Any], keep: Callable[[Any], bool]
) -> AsyncIterator[asking_pb2.AskResponse]:
    async for event in events:
        if keep(event):
            yield event


async def test_a_truncated_batch_does_not_pass_as_complete(tmp_path: Path) -> None:
    """A node that hides the second chunk shows an incomplete result: exit 7, and no "no hit"."""
    async with federation(tmp_path) as federated:
        await federated.open_case()
        terms = [asking_pb2.Term(scheme=scheme, value=value) for scheme, value in TERMS]
        async with federated.client() as client:
            draft = await client.prepare(request(terms=terms))

            def first(event: Any) -> bool:
                if event.HasField("partner"):
                    return bool(event.partner.chunk == 0)
                return not event.HasField("done") or event.done.chunk == 0

            events = _shortened(client.ask(draft), first)
            result = await gather(events, Result(terms=terms), live=False)
    rows = result.by_row()
    assert not result.complete
    assert result.exit_code(on_hit=False) == Exit.PARTIAL
    assert [row["result"] for row in rows[SIZE:]] == ["incomplete"] * SIZE
    assert rows[0]["result"] == "hit"
