"""A chunk's octets: sealed to each owner, signed, and kept so that they can be sent again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from fairlead import sealing, signing
from fairlead.blinding import Blinded
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.asked import AskedParts, CaseWords, asked_detail
from fairlead.envelope.blinded import BlindedTerms, seal_blind_part
from fairlead.envelope.chunk import Chunk
from fairlead.envelope.part import SEED_SIZE
from fairlead.envelope.query import Query, partner_digest, sign_query, uuid7, verify_query
from fairlead.envelope.question import seal_part
from fairlead.errors import Refused
from fairlead.keyring import KeyRing
from fairlead.partners import DenyLists, Directories, Directory, directory_mismatch
from fairlead.receipts import Head
from fairlead.v1 import gateway_pb2, query_pb2
from node.batch import Batch
from node.blinded import BlindChunk, BlindPlan, Library
from node.heads import HeadKeeper

Elements = list[tuple[BlindedTerms, Blinded]]
"""One owner's of one chunk, and what unblinds their evaluations."""
Ahead = asyncio.Task[tuple[BlindChunk, dict[str, Elements]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A chunk's octets as they leave, what opens its answers, and the head they start from."""

    request: gateway_pb2.QueryRequest
    query: Query
    reply_key: sealing.SealingKey
    base: Head | None
    plan: BlindPlan | None = None
    """How it was blinded, in blind mode."""
    blinded: Mapping[str, Elements] = field(default_factory=dict)
    """What each owner was sent, while this process remembers; it follows from the plan."""

    @property
    def asked(self) -> frozenset[str]:
        """Partners that a part is addressed to."""
        return frozenset(part.partner_id for part in self.request.parts)

    def to_bytes(self) -> bytes:
        """To be encrypted and kept."""
        head = self.base
        kept = {
            "request": self.request.SerializeToString(deterministic=True).hex(),
            "reply": self.reply_key.to_seed().hex(),
            "base": head and [head.origin, head.size, head.root.hex(), head.checkpoint],
            "plan": self.plan and self.plan.to_document(),
        }
        return orjson.dumps(kept)


class Sealer:
    """Makes the octets of chunks under the node's key, and reads those it kept."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        check_clock: Callable[[], None],
        directory: Directories,
        gateway: Callable[[], str],
        deny_lists: DenyLists,
        heads: HeadKeeper,
        library: Library,
        clock: Callable[[], float],
    ) -> None:
        """:param gateway: the SPIFFE id of the gateway that is asked through."""
        self._partner_id = partner_id
        self._keys = keys
        self._check_clock = check_clock
        self._directory = directory
        self._gateway = gateway
        self._deny_lists = deny_lists
        self._heads = heads
        self._library = library
        self._clock = clock
        self._cut: tuple[bytes, tuple[Chunk, ...]] = (b"", ())
        self._ahead: dict[bytes, tuple[int, Ahead]] = {}

    async def seal(self, batch: Batch, number: int, *, query_id: bytes = b"") -> Sealed:
        """Make a chunk's octets and verify them as a stranger would.

        :raises FairleadError: they do not verify, the gateway is suspended, or, in blind mode, no
            partner's snapshot can be used.
        """
        self._check_clock()
        now, directory = self._clock(), self._directory_of(batch)
        node_key = self._keys.signing(directory.partner(self._partner_id).signing_key)
        query_id, reply_key = query_id or uuid7(now), sealing.SealingKey.generate()
        plan, elements, seed = None, 0, os.urandom(SEED_SIZE)
        blinded: Mapping[str, Elements] = {}
        if batch.mode == query_pb2.MODE_BLIND:
            chunk, blinded = await self._blinded(batch, number)
            plan, elements = chunk.plan, chunk.element_count
            parts = _blind_parts(batch, blinded, query_id, directory, seed)
        else:
            parts = _sealed_parts(batch, number, query_id, directory, seed)
        asked = AskedParts(
            seed=seed,
            salts=batch.salts,
            parts=parts,
            blind_seed=plan.seed if plan else b"",
            places=plan.places if plan else None,
        )
        detail = _Detail(directory, Bound(query_id=query_id, maker=self._partner_id))
        signed = sign_query(
            mandate=batch.mandate,
            mandate_signature=batch.signature,
            user_certificate=batch.certificate,
            session=batch.session,
            node_key=node_key,
            query_id=query_id,
            parts=parts,
            part_seed=seed,
            reply_key=reply_key.public_bytes(),
            directory=directory,
            policy_serial=batch.policy_serial,
            chunk=self._chunk(batch, number),
            element_count=elements,
            approvals=batch.signed_approvals(),
            instrument=batch.instrument,
            now=now,
            detail=lambda header: detail.seal(batch, number, header, asked),
        )
        # The deny list was consulted when this user's connection was checked; an approver's is not
        # there to be checked.
        deny_lists = self._deny_lists if batch.approvals else None
        query = verify_query(signed, directory=directory, deny_lists=deny_lists, now=now)
        self._deny_lists.check(self._gateway(), now)
        request = gateway_pb2.QueryRequest(
            query=signed,
            parts=[query_pb2.AddressedPart(partner_id=p, part=part) for p, part in parts.items()],
            head_size=self._heads.size,
            detail=detail.octets,
        )
        base = self._heads.head
        return Sealed(
            request=request, query=query, reply_key=reply_key, base=base, plan=plan,
            blinded=blinded,
        )  # fmt: skip

    async def _blinded(self, batch: Batch, number: int) -> tuple[BlindChunk, dict[str, Elements]]:
        """A chunk's elements for each owner, made ahead or now."""
        place, ahead = self._ahead.pop(batch.batch_id, (-1, None))
        if ahead is not None and place == number:
            return await ahead
        return await self._blind(batch, number)

    async def _blind(self, batch: Batch, number: int) -> tuple[BlindChunk, dict[str, Elements]]:
        chunk = BlindChunk(self._plan(batch, number), number, batch.of_chunk(number)[0])
        return chunk, await asyncio.to_thread(
            lambda: {owner: chunk.for_owner(owner) for owner in chunk.plan.places}
        )

    def begin(self, batch: Batch, number: int) -> None:
        """Blind a chunk ahead, while owners evaluate the one before; one of each batch."""
        if batch.mode == query_pb2.MODE_BLIND and number < batch.chunks:
            self.leave(batch)
            task = asyncio.create_task(self._blind(batch, number))
            task.add_done_callback(_looked_at)
            self._ahead[batch.batch_id] = number, task

    def leave(self, batch: Batch) -> None:
        """Forget what was made ahead: nobody goes on with this batch now."""
        _, task = self._ahead.pop(batch.batch_id, (-1, None))
        if task is not None:
            task.cancel()

    def read(self, octets: bytes) -> Sealed:
        """A chunk kept by :meth:`seal`, as it was made.

        :raises Stale: it was made under another directory.
        """
        kept = orjson.loads(octets)
        request = gateway_pb2.QueryRequest.FromString(bytes.fromhex(kept["request"]))
        header = query_pb2.QueryHeader.FromString(request.query.header)
        query = verify_query(
            request.query, directory=self._directory, deny_lists=None, now=header.issued_at
        )
        base = None
        if kept["base"]:
            origin, size, root, checkpoint = kept["base"]
            base = Head(origin=origin, size=size, root=bytes.fromhex(root), checkpoint=checkpoint)
        reply_key = sealing.SealingKey(bytes.fromhex(kept["reply"]))
        plan = BlindPlan.from_document(kept["plan"]) if kept["plan"] else None
        return Sealed(request=request, query=query, reply_key=reply_key, base=base, plan=plan)

    def _plan(self, batch: Batch, number: int) -> BlindPlan:
        """:raises Refused: nobody's snapshot can be used; the code is the first partner's."""
        plan = BlindPlan.make(
            self._library,
            sorted(batch.salts),
            purpose=batch.content.purpose,
            terms=batch.of_chunk(number)[0],
        )
        if not plan.places:
            raise no_snapshots(plan.left_out)
        return plan

    def _directory_of(self, batch: Batch) -> Directory:
        """The newest directory that the gateway serves and that lists whom the mandate counts.

        :raises Stale: DIRECTORY_MISMATCH: partners came or went since the mandate was signed.
        """
        for directory in self._directory.recent:
            if _counts(batch, directory):
                return directory
        raise directory_mismatch()

    def _chunk(self, batch: Batch, number: int) -> Chunk:
        """A chunk's place; the last batch's tree is kept, because its chunks follow each other."""
        if self._cut[0] != batch.mandate:
            self._cut = (batch.mandate, batch.cut())
        return self._cut[1][number]


def no_snapshots(left_out: Mapping[str, str]) -> Refused:
    """Nobody can be asked blind, and why."""
    return Refused(
        "no partner can be asked blind: this node holds no snapshot of theirs that is current",
        reasons=tuple(sorted(set(left_out.values()))),
        remedy="fairlead-node snapshots   (at your node) says which are held and since when",
    )


@dataclass(slots=True)
class _Detail:
    """The sealed detail of one query, once its header is drafted."""

    directory: Directory
    bound: Bound
    octets: bytes = b""

    def seal(self, batch: Batch, number: int, header: bytes, parts: AskedParts) -> bytes:
        """Seal everything that the signed parts follow from; its digest."""
        terms, nonces = batch.of_chunk(number)
        content, slack = asked_detail(
            header=header,
            mandate=batch.mandate,
            user_certificate=batch.certificate,
            policy_serial=batch.policy_serial,
            case=CaseWords(
                case_id=batch.case_id,
                nonce=batch.case_nonce,
                instrument=batch.instrument,
                reference=batch.reference,
            ),
            terms=terms,
            nonces=nonces,
            scope=batch.scope,
            parts=parts,
            watch=batch.watch,
            watch_signature=batch.watch_signature,
        )
        self.octets = seal_detail(self.directory, self.bound, content, slack=slack)
        return signing.digest(self.octets)


def _sealed_parts(
    batch: Batch, number: int, query_id: bytes, directory: Directory, seed: bytes
) -> dict[str, bytes]:
    terms, nonces = batch.of_chunk(number)
    return {
        p: seal_part(
            query_id=query_id,
            owner=directory.partner(p),
            salt=salt,
            terms=terms,
            nonces=nonces,
            scope=batch.scope,
            seed=seed,
        )
        for p, salt in batch.salts.items()
    }


def _looked_at(ahead: Ahead) -> None:
    """An error of what was made ahead is told to whoever waits for it, and to nobody else."""
    if not ahead.cancelled():
        ahead.exception()


def _blind_parts(
    batch: Batch,
    blinded: Mapping[str, Elements],
    query_id: bytes,
    directory: Directory,
    seed: bytes,
) -> dict[str, bytes]:
    return {
        p: seal_blind_part(
            query_id=query_id,
            owner=directory.partner(p),
            salt=batch.salts[p],
            blinded=[asked for asked, _ in elements],
            seed=seed,
        )
        for p, elements in blinded.items()
    }


def _counts(batch: Batch, directory: Directory) -> bool:
    """Whether the mandate's digests stand at the places of this directory."""
    digests, mandate_id = batch.content.partner_digests, batch.content.mandate_id
    return len(digests) == len(directory.listed) and all(
        partner in directory.partners
        and digests[directory.place(partner)]
        == partner_digest(salt, partner, mandate_id, asked=True)
        for partner, salt in batch.salts.items()
    )
