"""The wire: every signed message, its content fuzzed behind a good signature and without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from fairlead import authority, cosigning, door, quorum, sealing, signing
from fairlead.approving import check_pending
from fairlead.certificates import SpiffeId, identity_from_certificate
from fairlead.config import Limits
from fairlead.envelope.answer import SEAL_OVERHEAD, answer_info, open_answer, verify_answer
from fairlead.envelope.approval import DOMAIN, sign_approval
from fairlead.envelope.feedback import (
    SIZE,
    feedback_info,
    open_feedback,
    seal_feedback,
    verify_feedback,
)
from fairlead.envelope.grant import verify_grant
from fairlead.envelope.manifest import (
    check_accepted,
    read_manifest,
    verify_as_stranger,
    verify_manifest,
)
from fairlead.envelope.outcome import verify_outcome
from fairlead.envelope.part import part_digest
from fairlead.envelope.piece import check_piece, open_piece, seal_piece
from fairlead.envelope.query import ANY, Query, verify_query
from fairlead.envelope.question import open_part, part_info
from fairlead.partners import DenyLists, Directory, sign_as_operator
from fairlead.receipts import Head, open_checkpoint, parse_proof, verify_receipt
from fairlead.v1 import (
    asking_pb2,
    audit_pb2,
    blind_pb2,
    directory_pb2,
    gateway_pb2,
    owner_pb2,
    query_pb2,
    witness_pb2,
)
from gateway import members
from node.batch import Batch
from node.termlist import TermList
from node.vault import Vault
from node.watches.order import check_order
from tests.attacks.crafted import OWNER, craft, node_key, sealing_key, user_certificate, user_key
from tests.attacks.evil import EvilGateway
from tests.federation import Federation, build
from tests.fuzz.target import Target, text


class World:
    """A federation's keys and one honest query with everything that follows from it."""

    def __init__(self, folder: Path) -> None:
        self.made: Federation = build(
            folder,
            partners=("customs", "terminal-north", "oceanic-line"),
            records={},
            local_policy=None,
            tick_ms=5,
            limits=Limits(),
        )
        self.crafted = craft(self.made)
        self.now = time.time()
        self.person = user_key(self.made, "customs", "u-c01")
        self.approver = user_key(self.made, "customs", "u-c02")
        self.asker_key = node_key(self.made, "customs")
        self.owner_key = node_key(self.made, OWNER)
        self.owner_seal = sealing_key(self.made, OWNER)
        self.request, self.gateway_key = asyncio.run(self._issue())
        folder_ = self.made.layout.federation
        self.operators = [
            signing.load_signing_key(folder_ / f"operator-{number}.key") for number in (1, 2)
        ]
        self.root = signing.load_signing_key(self.made.layout.partner(OWNER) / "root" / "root.key")
        self.query = self.verify(self.crafted.signed)

    async def _issue(self) -> tuple[owner_pb2.AnswerRequest, Any]:
        async with EvilGateway(self.made) as gateway:
            return await gateway.request(self.crafted), gateway.key

    def verify(self, signed: query_pb2.SignedQuery) -> Query:
        """As a stranger would, at the time it was made."""
        return verify_query(signed, directory=self.made.directory, deny_lists=None, now=self.now)

    def resigned(
        self, mandate: bytes | None = None, header: bytes | None = None,
        statement: bytes | None = None,
    ) -> Query:  # fmt: skip
        """The query with one message replaced and every signature made anew."""
        signed = query_pb2.SignedQuery()
        signed.CopyFrom(self.crafted.signed)
        if mandate is not None:
            signed.mandate = mandate
            signed.mandate_signature = signing.sign_as_user(self.person, "mandate", mandate)
        if header is not None:
            signed.header = header
            signed.session_signature = signing.sign(self.crafted.session, "header", header)
        if statement is not None:
            signed.statement = statement
            signed.statement_signature = signing.sign(self.asker_key, "statement", statement)
        return self.verify(signed)

    def approved(self, approval: bytes) -> Query:
        """The query with any approval, signed by a real approver."""
        signed = query_pb2.SignedQuery()
        signed.CopyFrom(self.crafted.signed)
        signed.approvals.add(
            approval=approval,
            signature=signing.sign_as_user(self.approver, DOMAIN, approval),
            certificate=user_certificate(self.made, "customs", "u-c02"),
        )
        return self.verify(signed)

    def approval(self) -> bytes:
        """An honest approval of the honest query."""
        return sign_approval(
            self.crafted.signed.mandate,
            certificate=user_certificate(self.made, "customs", "u-c02"),
            key=self.approver,
            now=self.now,
        ).approval

    def shown(self) -> bytes:
        """What an honest node shows of a query that waits."""
        signed = craft(self.made, mandate_before={"required_approvals": 1}).signed
        mandate = query_pb2.Mandate.FromString(signed.mandate)
        shown = asking_pb2.PendingApproval(
            query=asking_pb2.QuerySummary(user="u-c01", purpose=mandate.purpose, terms=1),
            mandate=signed.mandate,
            mandate_signature=signed.mandate_signature,
            certificate=signed.user_certificate,
            schemes={"container": 1},
            expires_at=mandate.expires_at,
            required=1,
        )
        return signing.canonical(shown)

    def pending(self, octets: bytes) -> object:
        """Whatever a node shows an approver."""
        shown = signing.parse_canonical(asking_pb2.PendingApproval, octets)
        directory, now = self.made.directory, self.now
        return check_pending(shown, directory=directory, partner_id="customs", now=now)

    def watch_order(self, octets: bytes) -> object:
        """Any order of a watch under the user's signature."""
        batch = Batch(
            batch_id=self.query.query_id,
            user=self.query.user.spiffe_id,
            user_name=self.query.user.name,
            case_id="CASE-1",
            mandate=self.blind_mandate(),
            signature=b"",
            certificate=self.crafted.signed.user_certificate,
            session=self.crafted.session,
            terms=TermList(vault=cast("Vault", None), list_id=bytes(16), schemes={}, row_count=0),
            nonce_seed=bytes(32),
            roots=(),
            salts={},
            scope=ANY,
            not_asked={},
            asked_at=int(self.now),
            case_retention_days=1,
            watch=octets,
            watch_signature=signing.sign_as_user(self.person, "watch", octets),
        )
        return check_order(batch, self.now)

    def blind_mandate(self) -> bytes:
        """The honest mandate in the other mode."""
        mandate = query_pb2.Mandate.FromString(self.crafted.signed.mandate)
        mandate.mode = query_pb2.MODE_BLIND
        return signing.canonical(mandate)

    def seed_order(self) -> bytes:
        """A right one."""
        return signing.canonical(
            asking_pb2.WatchOrder(
                mandate_digest=signing.digest(self.blind_mandate()), until=int(self.now) + 3600
            )
        )

    def question(self, content: bytes) -> object:
        """Any question, sealed to its owner and named by the header."""
        padded = sealing.pad(content, sealing.question_size(1))
        info = part_info(self.query.query_id, OWNER)
        wrapped, sealed = sealing.wrap(padded, self.owner_seal.public_bytes(), info=info)
        part = signing.canonical(query_pb2.SealedPart(wrapped_key=wrapped, ciphertext=sealed))
        return self.part(part)

    def part(self, part: bytes) -> object:
        """Any part in the place that the header names it in."""
        header = query_pb2.QueryHeader.FromString(self.crafted.signed.header)
        place = list(self.made.directory.partners).index(OWNER)
        header.part_digests[place] = part_digest(part)
        octets = signing.canonical(header)
        statement = query_pb2.NodeStatement.FromString(self.crafted.signed.statement)
        statement.header_digest = signing.digest(octets)
        query = self.resigned(header=octets, statement=signing.canonical(statement))
        return open_part(
            part, query, owner=OWNER, key=self.owner_seal, directory=self.made.directory
        )

    def granted(self, **changes: bytes) -> object:
        """The honest request with some of its octets replaced, the statement signed anew."""
        request = owner_pb2.AnswerRequest()
        request.CopyFrom(self.request)
        for name, value in changes.items():
            setattr(request, name, value)
        request.grant_signature = signing.sign(self.gateway_key, "grant", request.grant_statement)
        return verify_grant(
            request,
            self.query,
            owner=OWNER,
            directory=self.made.directory,
            gateway=self.made.directory.gateway,
            head=None,
            now=self.now,
        )

    def receipt(self, proof: str) -> object:
        """Any proof in a receipt."""
        gateway = self.made.directory.gateway
        proof = proof.encode(errors="replace").decode()  # protobuf holds no surrogates
        receipt = audit_pb2.Receipt(leaf=self.request.receipt.leaf, tlog_proof=proof)
        head = Head(origin=gateway.log_origin, size=1, root=bytes(32), checkpoint="")
        return verify_receipt(
            receipt, origin=gateway.log_origin, public_key=gateway.log_key, head=head
        )

    def answer(self, header: bytes, body: bytes) -> object:
        """Any header and body under the owner's signature."""
        made = query_pb2.SignedAnswer(
            header=header, signature=signing.sign(self.owner_key, "answer", header), body=body
        )
        query, owner = self.query, self.made.directory.partner(OWNER)
        verify_answer(
            made, query_id=query.query_id, header_digest=query.header_digest,
            terms=query.term_count, owner=owner,
        )  # fmt: skip
        return open_answer(
            made, query_id=query.query_id, owner=OWNER, terms=query.term_count,
            key=self.crafted.reply_key,
        )  # fmt: skip

    def answer_header(self, body: bytes) -> bytes:
        """The honest header of ``body``."""
        return signing.canonical(
            query_pb2.AnswerHeader(
                query_id=self.query.query_id,
                partner_id=OWNER,
                status=query_pb2.STATUS_ANSWERED,
                policy_serial=1,
                index_root=bytes(32),
                body_digest=signing.digest(body),
                header_digest=self.query.header_digest,
            )
        )

    def body(self, content: bytes) -> object:
        """Any content, sealed to the reply key."""
        size = sealing.answer_size(1)
        padded = sealing.pad(content, size)
        info = answer_info(self.query.query_id, OWNER)
        body = sealing.seal(padded, self.query.reply_key, info=info)
        return self.answer(self.answer_header(body), body)

    def outcome(self, octets: bytes) -> object:
        """Any outcome under the gateway's signature."""
        return verify_outcome(
            octets, signing.sign(self.gateway_key, "outcome", octets),
            query_id=self.query.query_id, header_digest=self.query.header_digest,
            gateway=self.made.directory.gateway,
        )  # fmt: skip

    def manifest(self, octets: bytes) -> object:
        """Any manifest under its owner's signature."""
        signed = blind_pb2.SignedBlindManifest(
            manifest=octets, signature=signing.sign(self.owner_key, "blind-manifest", octets)
        )
        return verify_manifest(
            signed, directory=self.made.directory, partner_id="customs", now=self.now
        )

    def to_stranger(self, octets: bytes) -> object:
        """Any manifest under its owner's signature, brought to the gateway."""
        signed = blind_pb2.SignedBlindManifest(
            manifest=octets, signature=signing.sign(self.owner_key, "blind-manifest", octets)
        )
        return verify_as_stranger(signed, directory=self.made.directory, now=self.now)

    def accepted(self, leaf: bytes) -> object:
        """Any leaf in place of a manifest's."""
        signed = blind_pb2.SignedBlindManifest(manifest=self.seed_manifest())
        return check_accepted(leaf, read_manifest(signed))

    def seed_accepted(self) -> bytes:
        leaf = audit_pb2.AuditLeaf(
            type=audit_pb2.LEAF_TYPE_PUBLICATION,
            subject="manifest-accepted",
            partner_id=OWNER,
            manifest_digest=signing.digest(self.seed_manifest()),
        )
        return signing.canonical(leaf)

    def sealed_piece(self, octets: bytes) -> object:
        """Any octets in place of a sealed piece, and the piece it should be."""
        size, piece = len(octets), blind_pb2.Piece(manifest=bytes(32), kind=1)
        sealed = blind_pb2.SealedPiece(sealed=octets, size=size)
        return open_piece(sealed, piece, reader=OWNER, key=self.owner_seal)

    def seed_sealed_piece(self) -> bytes:
        piece = blind_pb2.Piece(manifest=bytes(32), kind=1)
        public = self.made.directory.partner(OWNER).sealing_key
        return seal_piece(b"octets", piece, reader=OWNER, size=6, public=public).sealed

    def seed_manifest(self) -> bytes:
        """One that is right but for its key: that of blind queries needs libsodium."""
        node = self.made.directory.partner(OWNER).nodes[0].spiffe_id
        return signing.canonical(
            blind_pb2.BlindManifest(
                federation=self.made.directory.federation,
                owner=OWNER,
                node=node.removeprefix(f"spiffe://{self.made.directory.federation}/"),
                audience=blind_pb2.BlindAudience(
                    partners=["customs"], purposes=["drug-trafficking"], policy_serial=1
                ),
                epoch=2967,
                ends_at=int(self.now),
                answers_until=int(self.now) + 86_400,
                scheme="container",
                norm_version=1,
                serial=1,
                public_key=bytes(32),
                entry_count=1_024,
                snapshot_digest=bytes(32),
                contact_desks=["desk"],
            )
        )

    def directory(self, octets: bytes) -> object:
        """Any directory under both operators' signatures."""
        signed = directory_pb2.SignedDirectory(
            directory=octets,
            signatures=[sign_as_operator(key, "directory", octets) for key in self.operators],
        )
        return self.signed_directory(signing.canonical(signed))

    def signed_directory(self, octets: bytes) -> object:
        """Any octets in place of the signed directory."""
        trust = self.made.trust
        return Directory.from_signed(
            octets, operators=trust.operators, pins=trust.roots, now=self.now
        )

    def entry(self, octets: bytes) -> object:
        """Any entry under its root's signature, in an honest directory."""
        content = directory_pb2.Directory.FromString(self.seed_directory())
        for place, entry in enumerate(content.partners):
            if directory_pb2.PartnerEntry.FromString(entry.entry).partner_id == OWNER:
                content.partners[place].CopyFrom(
                    directory_pb2.SignedPartnerEntry(
                        entry=octets,
                        root_signature=signing.sign(self.root, "partner-entry", octets),
                    )
                )
        return self.directory(signing.canonical(content))

    def seed_directory(self) -> bytes:
        """The honest directory's content."""
        data = self.made.layout.directory.read_bytes()
        return directory_pb2.SignedDirectory.FromString(data).directory

    def seed_entry(self) -> bytes:
        """The owner's honest entry."""
        content = directory_pb2.Directory.FromString(self.seed_directory())
        return next(
            e.entry for e in content.partners
            if directory_pb2.PartnerEntry.FromString(e.entry).partner_id == OWNER
        )  # fmt: skip

    def seed_feedback(self) -> query_pb2.SignedFeedback:
        body = query_pb2.FeedbackBody(
            feedback_id=self.query.query_id, query_id=self.query.query_id, outcome=1
        )
        return seal_feedback(
            body,
            asker="customs",
            owner=self.made.directory.partner(OWNER),
            key=self.asker_key,
            now=self.now,
        )

    def feedback(self, header: bytes) -> object:
        """A header that the asker's node signed, whatever it says."""
        signed = self.seed_feedback()
        signed.header = header
        signed.signature = signing.sign(self.asker_key, "feedback", header)
        return verify_feedback(signed, directory=self.made.directory, now=self.now)

    def feedback_body(self, content: bytes) -> object:
        """A body that is sealed and signed right, whatever it says."""
        signed = self.seed_feedback()
        header = query_pb2.FeedbackHeader.FromString(signed.header)
        owner = self.made.directory.partner(OWNER)
        padded = sealing.pad(content[: SIZE - 4], SIZE)
        signed.body = sealing.seal(
            padded, owner.sealing_key, info=feedback_info(header.query_id, OWNER)
        )
        return open_feedback(signed, header, key=self.owner_seal)

    def deny_list(self, octets: bytes) -> object:
        """Any list under both operators' signatures."""
        signatures = [sign_as_operator(key, "deny-list", octets) for key in self.operators]
        bundle = directory_pb2.DenyListBundle(
            lists=[directory_pb2.SignedDenyList(deny_list=octets, signatures=signatures)]
        )
        return self.deny_lists(signing.canonical(bundle))

    def deny_lists(self, octets: bytes) -> object:
        """Any octets in place of the deny lists."""
        trust, lists = self.made.trust, DenyLists()
        lists.update(octets, directory=self.made.directory, operators=trust.operators, now=self.now)
        return lists


def targets(folder: Path) -> Iterator[Target]:
    """Every parser of the wire; ``folder`` takes the keys of the honest world."""
    world = World(folder)
    signed, answer_size = world.crafted.signed, sealing.answer_size(1) + SEAL_OVERHEAD
    directory = world.made.directory

    def one(name: str, seed: bytes, attempt: Callable[[bytes], object]) -> Target:
        return Target(name=name, seeds=[seed], attempt=attempt)

    yield one("mandate", signed.mandate, lambda data: world.resigned(mandate=data))
    yield one("header", signed.header, lambda data: world.resigned(header=data))
    yield one("statement", signed.statement, lambda data: world.resigned(statement=data))
    yield one("approval", world.approval(), world.approved)
    yield one("pending-approval", world.shown(), world.pending)
    yield one("watch-order", world.seed_order(), world.watch_order)
    question = signing.canonical(
        query_pb2.Question(query_id=world.query.query_id, partner_id=OWNER)
    )
    yield one("question", question, world.question)
    yield one("sealed-part", world.crafted.parts[OWNER], world.part)
    yield one("grant", world.request.grant, lambda data: world.granted(grant=data))
    yield one(
        "grant-statement",
        world.request.grant_statement,
        lambda data: world.granted(grant_statement=data),
    )
    proof = world.request.receipt.tlog_proof
    yield one("receipt-proof", proof.encode(), text(world.receipt))
    yield one("tlog-proof", proof.encode(), text(parse_proof))
    gateway = directory.gateway
    checkpoint = parse_proof(proof).checkpoint
    yield one(
        "checkpoint",
        checkpoint.encode(),
        text(lambda note: open_checkpoint(note, gateway.log_origin, gateway.log_key)),
    )
    yield from _cosigned(world, checkpoint)
    honest = bytes(answer_size)
    yield one("answer-header", world.answer_header(honest), lambda data: world.answer(data, honest))
    body = query_pb2.AnswerBody(
        query_id=world.query.query_id,
        partner_id=OWNER,
        answers=[query_pb2.TermAnswer(index=0, hit=True)],
    )
    yield one("answer-body", signing.canonical(body), world.body)
    outcome = query_pb2.Outcome(
        query_id=world.query.query_id, header_digest=world.query.header_digest
    )
    yield one("feedback", world.seed_feedback().header, world.feedback)
    opened = query_pb2.FeedbackBody(
        feedback_id=world.query.query_id, query_id=world.query.query_id, outcome=1
    )
    yield one("feedback-body", signing.canonical(opened), world.feedback_body)
    yield one("outcome", signing.canonical(outcome), world.outcome)
    yield one("blind-manifest", world.seed_manifest(), world.manifest)
    yield one("blind-manifest-offered", world.seed_manifest(), world.to_stranger)
    yield one("blind-manifest-leaf", world.seed_accepted(), world.accepted)
    yield one("blind-sealed-piece", world.seed_sealed_piece(), world.sealed_piece)
    asked = blind_pb2.Piece(manifest=bytes(32), kind=blind_pb2.PIECE_KIND_SNAPSHOT)
    yield one(
        "blind-piece",
        signing.canonical(asked),
        lambda data: check_piece(signing.parse_canonical(blind_pb2.Piece, data)),
    )
    yield one("directory", world.seed_directory(), world.directory)
    yield one("signed-directory", world.made.layout.directory.read_bytes(), world.signed_directory)
    yield one("partner-entry", world.seed_entry(), world.entry)
    lists = world.made.layout.deny_lists.read_bytes()
    first = directory_pb2.DenyListBundle.FromString(lists).lists[0].deny_list
    yield one("deny-list", first, world.deny_list)
    yield one("deny-lists", lists, world.deny_lists)
    certificate = user_certificate(world.made, "customs", "u-c01")
    yield one(
        "certificate",
        certificate,
        lambda data: identity_from_certificate(data, directory=directory, now=world.now),
    )
    yield one("certificate-request", b"-----BEGIN CERTIFICATE REQUEST-----\n",
              authority.public_key_of_request)  # fmt: skip
    yield one("spiffe-id", gateway.spiffe_id.encode(), text(SpiffeId.parse))
    yield from _requests(world)


def _cosigned(world: World, checkpoint: str) -> Iterator[Target]:
    """What a witness says, and what a gateway shows to it or to an owner."""
    directory = world.made.directory
    name = cosigning.witness_name(directory.federation, OWNER)
    public = directory.partner(OWNER).witness_key
    line = cosigning.cosign(checkpoint, name, world.owner_key, world.now)
    yield Target(
        name="cosignature",
        seeds=[line.encode()],
        attempt=text(
            lambda data: cosigning.verify_cosignature(
                data, checkpoint, name=name, public_key=public
            )
        ),
    )
    whole = cosigning.with_lines(checkpoint, [line])

    def counted(note: str) -> object:
        return quorum.require(cosigning.cosigners(note, directory), directory)

    yield Target(name="cosigned-note", seeds=[whole.encode()], attempt=text(counted))
    yield Target(
        name="witness-answer",
        seeds=[witness_pb2.AddCheckpointResponse(cosignature=line).SerializeToString()],
        attempt=lambda data: _witness_answer(data, checkpoint, name, public),
    )


def _witness_answer(data: bytes, checkpoint: str, name: str, public: bytes) -> object:
    """What the gateway does with a witness's octets."""
    try:
        response = members._parse(witness_pb2.AddCheckpointResponse, data, members.MAX_WITNESSED)
    except members.LegFailed:
        return None
    return cosigning.verify_cosignature(
        response.cosignature, checkpoint, name=name, public_key=public
    )


def _requests(world: World) -> Iterator[Target]:
    """What the door decodes before anything of a service runs."""
    request = world.crafted.request().SerializeToString()
    for kind, seed in (
        (gateway_pb2.QueryRequest, request),
        (owner_pb2.AnswerRequest, world.request.SerializeToString()),
        (gateway_pb2.PublishManifestRequest, b""),
        (gateway_pb2.ListManifestsRequest, b"\x08\x01"),
        (gateway_pb2.FetchPublicationRequest, b"\x0a\x01x"),
        (owner_pb2.DeliverRequest, b"\x0a\x01x"),
        (witness_pb2.AddCheckpointRequest, b"\x08\x01\x1a\x01x"),
    ):
        name = f"/fairlead.v1.X/{kind.DESCRIPTOR.name}"

        class Handler:
            request_deserializer = kind.FromString

        decode = door._decoder(name, Handler)  # type: ignore[arg-type]
        yield Target(name=f"request-{kind.DESCRIPTOR.name}", seeds=[seed], attempt=decode)
