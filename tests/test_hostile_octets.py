"""Hostile octets through every verifier: an error of ours, or acceptance; never anything else.

Each message is changed twice over: as octets that nobody signed again, and field by field and
signed again with the right keys, so that what lies behind the signature is reached too.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.dev.lists import sign_directory, sign_entry
from fairlead import sealing, signing
from fairlead.config import Limits
from fairlead.envelope.answer import SEAL_OVERHEAD, answer_info, open_answer, verify_answer
from fairlead.envelope.grant import verify_grant
from fairlead.envelope.outcome import verify_outcome
from fairlead.envelope.part import part_digest
from fairlead.envelope.query import Query, verify_query
from fairlead.envelope.question import open_part, part_info
from fairlead.evidence import load_evidence, verify_evidence
from fairlead.partners import DenyLists, Directory, sign_as_operator
from fairlead.v1 import asking_pb2, audit_pb2, directory_pb2, owner_pb2, query_pb2
from tests.approvers import SECOND, approval
from tests.attacks.crafted import OWNER, Crafted, craft, node_key, sealing_key, user_key
from tests.attacks.evil import EvilGateway
from tests.federation import Federation, build, evidence, federation
from tests.hostile import edits, few_fields, fields, only_ours, with_fields

PLACES = (
    *("query.mandate", "query.header", "query.statement", "query.user_certificate"),
    *("intent.leaf", "closing.leaf", "outcome", "outcome_signature", "answer"),
)
EXAMPLES = settings(max_examples=100, deadline=None)


# ── A query, its parts and its grants ────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Keys, an honest query and an honest request, made once."""

    made: Federation
    crafted: Crafted
    query: Query
    request: owner_pb2.AnswerRequest
    gateway_key: Any


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nothing runs: the verifiers do no I/O."""
    import asyncio

    made = build(
        tmp_path_factory.mktemp("hostile"),
        partners=("customs", "terminal-north", "oceanic-line"),
        records={},
        local_policy=None,
        tick_ms=5,
        limits=Limits(),
    )
    crafted = craft(made)

    async def issue() -> tuple[owner_pb2.AnswerRequest, Any]:
        async with EvilGateway(made) as gateway:
            return await gateway.request(crafted), gateway.key

    message, key = asyncio.run(issue())
    query = verify_query(crafted.signed, directory=made.directory, deny_lists=None, now=time.time())
    return World(made=made, crafted=crafted, query=query, request=message, gateway_key=key)


def _verify(world: World, signed: query_pb2.SignedQuery) -> Query:
    return verify_query(signed, directory=world.made.directory, deny_lists=None, now=time.time())


OCTETS = [f.name for f in query_pb2.SignedQuery.DESCRIPTOR.fields if f.name != "approvals"]


@EXAMPLES
@given(field=st.sampled_from(OCTETS), edit=edits())
def test_edited_queries(world: World, field: str, edit: Callable[[bytes], bytes]) -> None:
    """Edited octets anywhere in the signed front of a query."""
    signed = query_pb2.SignedQuery()
    signed.CopyFrom(world.crafted.signed)
    setattr(signed, field, edit(getattr(signed, field)))
    only_ours(lambda: _verify(world, signed))


@EXAMPLES
@given(
    changes=few_fields(query_pb2.Approval),
    field=st.sampled_from(["approval", "signature", "certificate"]),
    edit=edits(),
    signed_again=st.booleans(),
)
def test_edited_approvals(
    world: World,
    changes: dict[str, Any],
    field: str,
    edit: Callable[[bytes], bytes],
    signed_again: bool,
) -> None:
    """Any field of an approval, signed again by its approver, or edited octets anywhere in it."""
    signed, layout = query_pb2.SignedQuery(), world.made.layout
    signed.CopyFrom(world.crafted.signed)
    made = approval(layout, SECOND, signed.mandate, now=time.time())
    if signed_again:
        content = with_fields(query_pb2.Approval.FromString(made.approval), changes)
        made.approval = signing.canonical(content)
        key = user_key(world.made, *SECOND)
        made.signature = signing.sign_as_user(key, "approval", made.approval)
    else:
        setattr(made, field, edit(getattr(made, field)))
    signed.approvals.append(made)
    only_ours(lambda: _verify(world, signed))


@EXAMPLES
@given(
    mandate=few_fields(query_pb2.Mandate),
    header=few_fields(query_pb2.QueryHeader),
    statement=few_fields(query_pb2.NodeStatement),
    which=st.sampled_from(["mandate", "header", "statement"]),
)
def test_resigned_queries(
    world: World,
    mandate: dict[str, Any],
    header: dict[str, Any],
    statement: dict[str, Any],
    which: str,
) -> None:
    """Any field of mandate, header or statement, signed again by the right keys."""
    signed = query_pb2.SignedQuery()
    signed.CopyFrom(world.crafted.signed)
    content = query_pb2.Mandate.FromString(signed.mandate)
    if which == "mandate":
        mandate.pop("session_key", None)
        content = with_fields(content, mandate)
    signed.mandate = signing.canonical(content)
    person = user_key(world.made, "customs", "u-c01")
    signed.mandate_signature = signing.sign_as_user(person, "mandate", signed.mandate)
    front = query_pb2.QueryHeader.FromString(signed.header)
    front.mandate_digest = signing.digest(signed.mandate)
    front = with_fields(front, header if which == "header" else {})
    signed.header = signing.canonical(front)
    signed.session_signature = signing.sign(world.crafted.session, "header", signed.header)
    vouched = query_pb2.NodeStatement.FromString(signed.statement)
    vouched.mandate_digest = signing.digest(signed.mandate)
    vouched.header_digest = signing.digest(signed.header)
    vouched = with_fields(vouched, statement if which == "statement" else {})
    signed.statement = signing.canonical(vouched)
    key = node_key(world.made, "customs")
    signed.statement_signature = signing.sign(key, "statement", signed.statement)
    only_ours(lambda: _verify(world, signed))


def _open(world: World, part: bytes) -> None:
    places = list(world.made.directory.partners)
    digests = [
        part_digest(part) if p == OWNER else d
        for p, d in zip(places, world.query.part_digests, strict=True)
    ]
    query = dataclasses.replace(world.query, part_digests=tuple(digests))
    key = sealing_key(world.made, OWNER)
    open_part(part, query, owner=OWNER, key=key, directory=world.made.directory)


@EXAMPLES
@given(edit=edits())
def test_edited_parts(world: World, edit: Callable[[bytes], bytes]) -> None:
    """Edited octets of a sealed part that the header names all the same."""
    only_ours(lambda: _open(world, edit(world.crafted.parts[OWNER])))


@EXAMPLES
@given(changes=few_fields(query_pb2.Question), edit=st.none() | edits())
def test_resealed_questions(
    world: World, changes: dict[str, Any], edit: Callable[[bytes], bytes] | None
) -> None:
    """Any question, rightly sealed; the commitment of its terms is made to agree."""
    key, info = sealing_key(world.made, OWNER), part_info(world.query.query_id, OWNER)
    sealed = query_pb2.SealedPart.FromString(world.crafted.parts[OWNER])
    size = sealing.question_size(world.query.term_count)
    padded = sealing.unwrap(sealed.wrapped_key, sealed.ciphertext, key, info=info)
    honest = query_pb2.Question.FromString(sealing.unpad(padded, size))
    content = signing.canonical(with_fields(honest, changes))
    content = (edit(content) if edit else content)[: size - 4]
    wrapped, ciphertext = sealing.wrap(
        sealing.pad(content, size), world.made.directory.partner(OWNER).sealing_key, info=info
    )
    part = query_pb2.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext)
    only_ours(lambda: _open(world, signing.canonical(part)))


def _granted(world: World, message: owner_pb2.AnswerRequest) -> None:
    verify_grant(
        message,
        world.query,
        owner=OWNER,
        directory=world.made.directory,
        gateway=world.made.directory.gateway,
        head=None,
        now=time.time(),
    )


@EXAMPLES
@given(field=st.sampled_from(["grant", "grant_statement", "grant_signature"]), edit=edits())
def test_edited_grants(world: World, field: str, edit: Callable[[bytes], bytes]) -> None:
    """Edited octets of a grant and its statement."""
    message = owner_pb2.AnswerRequest()
    message.CopyFrom(world.request)
    setattr(message, field, edit(getattr(message, field)))
    only_ours(lambda: _granted(world, message))


@EXAMPLES
@given(
    grant=few_fields(query_pb2.OwnerGrant),
    statement=few_fields(query_pb2.GrantStatement),
    leaf=st.none() | few_fields(audit_pb2.AuditLeaf),
)
def test_resigned_grants(
    world: World,
    grant: dict[str, Any],
    statement: dict[str, Any],
    leaf: dict[str, Any] | None,
) -> None:
    """Any grant, statement or leaf under the gateway's own signature."""
    message = owner_pb2.AnswerRequest()
    message.CopyFrom(world.request)
    message.grant = signing.canonical(
        with_fields(query_pb2.OwnerGrant.FromString(message.grant), grant)
    )
    content = query_pb2.GrantStatement.FromString(message.grant_statement)
    place = list(world.made.directory.partners).index(OWNER)
    content.grant_digests[place] = signing.digest(message.grant)
    if leaf is not None:
        shown = audit_pb2.AuditLeaf.FromString(message.receipt.leaf)
        message.receipt.leaf = signing.canonical(with_fields(shown, leaf))
        content = with_fields(content, statement)
    message.grant_statement = signing.canonical(content)
    message.grant_signature = signing.sign(world.gateway_key, "grant", message.grant_statement)
    only_ours(lambda: _granted(world, message))


@EXAMPLES
@given(edit=edits(), changes=few_fields(audit_pb2.Receipt))
def test_edited_receipts(
    world: World, edit: Callable[[bytes], bytes], changes: dict[str, Any]
) -> None:
    """Edited proofs, checkpoints and limits of a receipt."""
    message = owner_pb2.AnswerRequest()
    message.CopyFrom(world.request)
    proof = edit(message.receipt.tlog_proof.encode()).decode(errors="replace")
    changes.pop("leaf", None)
    message.receipt.CopyFrom(with_fields(message.receipt, {"tlog_proof": proof, **changes}))
    only_ours(lambda: _granted(world, message))


# ── Answers and outcomes ─────────────────────────────────────────────────────────────────────


def _answer(world: World, body: bytes, changes: Mapping[str, Any]) -> query_pb2.SignedAnswer:
    header = query_pb2.AnswerHeader(
        query_id=world.query.query_id,
        partner_id=OWNER,
        status=query_pb2.STATUS_ANSWERED,
        policy_serial=1,
        index_root=bytes(32),
        body_digest=signing.digest(body),
        header_digest=world.query.header_digest,
    )
    octets = signing.canonical(with_fields(header, changes))
    key = node_key(world.made, OWNER)
    return query_pb2.SignedAnswer(
        header=octets, signature=signing.sign(key, "answer", octets), body=body
    )


def _read(world: World, answer: query_pb2.SignedAnswer) -> None:
    query, owner = world.query, world.made.directory.partner(OWNER)
    verify_answer(
        answer,
        query_id=query.query_id,
        header_digest=query.header_digest,
        terms=query.term_count,
        owner=owner,
    )
    key, terms = world.crafted.reply_key, query.term_count
    open_answer(answer, query_id=query.query_id, owner=OWNER, terms=terms, key=key)


@EXAMPLES
@given(changes=few_fields(query_pb2.AnswerHeader), edit=edits())
def test_answers(world: World, changes: dict[str, Any], edit: Callable[[bytes], bytes]) -> None:
    """Any header under the owner's signature, and edited octets under none."""
    size = sealing.answer_size(world.query.term_count) + SEAL_OVERHEAD
    only_ours(lambda: _read(world, _answer(world, bytes(size), changes)))
    answer = _answer(world, bytes(size), {})
    answer.header = edit(answer.header)
    only_ours(lambda: _read(world, answer))


@EXAMPLES
@given(body=fields(query_pb2.AnswerBody), edit=st.none() | edits())
def test_answer_bodies(
    world: World, body: dict[str, Any], edit: Callable[[bytes], bytes] | None
) -> None:
    """Any body sealed to the reply key."""
    query, size = world.query, sealing.answer_size(world.query.term_count)
    honest = query_pb2.AnswerBody(
        query_id=query.query_id, partner_id=OWNER, answers=[query_pb2.TermAnswer(index=0)]
    )
    content = signing.canonical(with_fields(honest, body))
    content = (edit(content) if edit else content)[: size - 4]
    sealed = sealing.seal(
        sealing.pad(content, size), query.reply_key, info=answer_info(query.query_id, OWNER)
    )
    only_ours(lambda: _read(world, _answer(world, sealed, {})))


@EXAMPLES
@given(changes=fields(query_pb2.Outcome), edit=edits())
def test_outcomes(world: World, changes: dict[str, Any], edit: Callable[[bytes], bytes]) -> None:
    """Any outcome under the gateway's signature, and edited octets under none."""
    honest = query_pb2.Outcome(
        query_id=world.query.query_id, header_digest=world.query.header_digest
    )
    changes.pop("query_id", None)
    for octets in (signing.canonical(with_fields(honest, changes)),):
        signature = signing.sign(world.gateway_key, "outcome", octets)
        for shown in (octets, edit(octets)):
            only_ours(
                lambda shown=shown, signature=signature: verify_outcome(  # type: ignore[misc]
                    shown,
                    signature,
                    query_id=world.query.query_id,
                    header_digest=world.query.header_digest,
                    gateway=world.made.directory.gateway,
                )
            )


# ── Directory and deny lists ─────────────────────────────────────────────────────────────────


def _operators(world: World) -> list[Any]:
    folder = world.made.layout.federation
    return [signing.load_signing_key(folder / f"operator-{n}.key") for n in (1, 2)]


def _directory(world: World, data: bytes) -> None:
    trust = world.made.trust
    Directory.from_signed(data, operators=trust.operators, pins=trust.roots, now=time.time())


@EXAMPLES
@given(edit=edits())
def test_edited_directories(world: World, edit: Callable[[bytes], bytes]) -> None:
    """Edited octets of the signed directory."""
    octets = edit(world.made.layout.directory.read_bytes())
    only_ours(lambda: _directory(world, octets))


@EXAMPLES
@given(
    changes=few_fields(directory_pb2.Directory),
    entry=few_fields(directory_pb2.PartnerEntry),
    certificate=st.none() | edits(),
)
def test_resigned_directories(
    world: World,
    changes: dict[str, Any],
    entry: dict[str, Any],
    certificate: Callable[[bytes], bytes] | None,
) -> None:
    """Any directory under two operators, any entry under its partner's root, any certificate."""
    signed = directory_pb2.SignedDirectory.FromString(world.made.layout.directory.read_bytes())
    content = directory_pb2.Directory.FromString(signed.directory)
    first = directory_pb2.PartnerEntry.FromString(content.partners[0].entry)
    entry.pop("root_key", None)
    entry.pop("partner_id", None)
    changed = with_fields(first, entry)
    if certificate is not None:
        changed.user_authority = certificate(first.user_authority)
        content.federation_ca = certificate(content.federation_ca)
    folder = world.made.layout.partner(first.partner_id) / "root" / "root.key"
    content.partners[0].CopyFrom(sign_entry(changed, signing.load_signing_key(folder)))
    if certificate is None:
        content = with_fields(content, changes)
    octets = sign_directory(content, _operators(world))
    only_ours(lambda: _directory(world, octets))


@EXAMPLES
@given(edit=edits(), changes=fields(directory_pb2.DenyList))
def test_deny_lists(world: World, edit: Callable[[bytes], bytes], changes: dict[str, Any]) -> None:
    """Edited octets of the deny lists, and any list under the operators' signatures."""
    made = world.made
    honest = directory_pb2.DenyList(issuer="operators", serial=2)
    data = signing.canonical(with_fields(honest, changes))
    signatures = [sign_as_operator(key, "deny-list", data) for key in _operators(world)]
    signed = directory_pb2.SignedDenyList(deny_list=data, signatures=signatures)
    bundle = signing.canonical(directory_pb2.DenyListBundle(lists=[signed]))
    for octets in (bundle, edit(made.layout.deny_lists.read_bytes())):
        lists = DenyLists()
        only_ours(
            lambda octets=octets, lists=lists: lists.update(  # type: ignore[misc]
                octets,
                directory=made.directory,
                operators=made.trust.operators,
                now=time.time(),
            )
        )
        only_ours(lambda lists=lists: lists.check("spiffe://x", time.time()))  # type: ignore[misc]


# ── Receipt files ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Directory, asking_pb2.Evidence]:
    """A finished query's evidence, and the directory it verifies under."""
    import asyncio

    async def run() -> tuple[Directory, asking_pb2.Evidence]:
        async with federation(tmp_path_factory.mktemp("asked")) as made:
            await made.open_case()
            return made.directory, evidence(await made.ask())

    return asyncio.run(run())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a receipt file stands."""
    return tmp_path_factory.mktemp("receipt") / "receipt.json"


@EXAMPLES
@given(edit=edits())
def test_edited_receipt_files(
    asked: tuple[Directory, asking_pb2.Evidence], file: Path, edit: Callable[[bytes], bytes]
) -> None:
    """Edited octets of a receipt file."""
    directory, honest = asked
    document = {"fairlead_receipt": 1, **MessageToDict(honest)}
    file.write_bytes(edit(json.dumps(document).encode()))
    only_ours(lambda: verify_evidence(load_evidence(file), directory))


@EXAMPLES
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["query", "intent", "outcome", "answers", "header", "leaf", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_receipt_files_of_another_shape(file: Path, document: object) -> None:
    """Any JSON where a receipt is expected."""
    content = {"fairlead_receipt": 1, **(document if isinstance(document, dict) else {})}
    file.write_text(json.dumps(content))
    only_ours(lambda: load_evidence(file))


@EXAMPLES
@given(
    edit=edits(),
    place=st.sampled_from(PLACES),
)
def test_edited_evidence(
    asked: tuple[Directory, asking_pb2.Evidence], edit: Callable[[bytes], bytes], place: str
) -> None:
    """Edited octets of any signed message in a receipt."""
    directory, honest = asked
    copy = asking_pb2.Evidence()
    copy.CopyFrom(honest)
    holder: Any = copy
    *way, last = place.replace("answer", "answers.header").split(".")
    for step in way:
        holder = getattr(holder, step)
    holder = holder[0] if way == ["answers"] else holder
    setattr(holder, last, edit(getattr(holder, last)))
    only_ours(lambda: verify_evidence(copy, directory))


@EXAMPLES
@given(header=few_fields(query_pb2.QueryHeader))
def test_evidence_of_any_time(
    asked: tuple[Directory, asking_pb2.Evidence], header: dict[str, Any]
) -> None:
    """Any header in a receipt, such as one issued at the end of time."""
    directory, honest = asked
    copy = asking_pb2.Evidence()
    copy.CopyFrom(honest)
    content = query_pb2.QueryHeader.FromString(copy.query.header)
    copy.query.header = signing.canonical(with_fields(content, header))
    only_ours(lambda: verify_evidence(copy, directory))
