"""Grants: each owner sees its own, in force, over a proven intent, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import merkle, signing
from fairlead.envelope.grant import (
    Grant,
    check_intent,
    grant_statement,
    make_grant,
    obligations_from_wire,
    obligations_to_wire,
    verify_grant,
)
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError, Forged, InvalidInput, Stale
from fairlead.leaves import LeafWriter
from fairlead.policy.decision import Decision, Effect, Obligations, Onward
from fairlead.receipts import CheckpointFork, CheckpointStale, Head
from fairlead.v1 import audit_pb2, owner_pb2
from fairlead.v1 import query_pb2 as pb
from tests.walks import NOW, OTHER_OWNER, OWNER, PaperLog, Walk, World, make_world

PERMIT = Decision(
    effect=Effect.PERMIT,
    checks={},
    facets=frozenset({"existence", "contact_desk"}),
    obligations=Obligations(redact=frozenset({"driver_name"}), max_records=5, retention_days=30),
    policy_serial=3,
)
EXPIRES = int(NOW) + 120


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("grant"))


@dataclass(slots=True)
class Granted:
    """A query with grants for two owners, and the log that holds its intent."""

    walk: Walk
    query: Query
    log: PaperLog
    leaf: bytes
    grants: dict[str, bytes]
    statement: bytes
    before: int

    def request(self, owner: str = OWNER, **changes: Any) -> owner_pb2.AnswerRequest:
        statement = changes.pop("grant_statement", self.statement)
        key = self.walk.world.gateway_key()
        fields: dict[str, Any] = {
            "query": self.walk.signed,
            "part": self.walk.parts[owner],
            "grant": self.grants[owner],
            "grant_statement": statement,
            "grant_signature": signing.sign(key, "grant", statement),
            "receipt": self.log.receipt(self.before),
        }
        return owner_pb2.AnswerRequest(**{**fields, **changes})

    def verify(
        self,
        request: owner_pb2.AnswerRequest,
        *,
        owner: str = OWNER,
        head: Head | None = None,
        now: float = NOW,
    ) -> Grant:
        world = self.walk.world
        return verify_grant(
            request,
            self.query,
            owner=owner,
            directory=world.directory,
            gateway=world.gateway,
            head=head,
            now=now,
        )

    def stated(self, change: Callable[[pb.GrantStatement], object]) -> bytes:
        """The statement with a change."""
        statement = pb.GrantStatement.FromString(self.statement)
        change(statement)
        return signing.canonical(statement)

    def regranted(self, change: Callable[[pb.OwnerGrant], object]) -> owner_pb2.AnswerRequest:
        """A request whose grant is changed and whose statement covers the change."""
        grant = pb.OwnerGrant.FromString(self.grants[OWNER])
        change(grant)
        data = signing.canonical(grant)
        place = list(self.walk.world.directory.partners).index(OWNER)

        def cover(statement: pb.GrantStatement) -> None:
            statement.grant_digests[place] = signing.digest(data)

        return self.request(grant=data, grant_statement=self.stated(cover))


def granted(world: World, before: int = 3) -> Granted:
    walk = world.walk(asked=[OWNER, OTHER_OWNER])
    query = walk.verify()
    writer = LeafWriter(log="gateway/gw-1", clock=lambda: NOW)
    leaf, _ = writer.intent(query, rules=["r"], policy_serial=3, commits_to=b"who")
    log = PaperLog(world, [b"leaf %d" % n for n in range(before)])
    log.append(leaf)
    grants = {p: make_grant(query, p, PERMIT, expires_at=EXPIRES) for p in (OWNER, OTHER_OWNER)}
    statement = grant_statement(
        query,
        grants,
        directory=world.directory,
        gateway=world.gateway.spiffe_id,
        intent_leaf_hash=merkle.leaf_hash(leaf),
        now=NOW,
    )
    return Granted(walk, query, log, leaf, grants, statement, before)


limits = st.none() | st.integers(0, 2**32 - 2)
obligations = st.builds(
    Obligations,
    redact=st.frozensets(st.text(max_size=8), max_size=4),
    max_records=limits,
    approvals=st.integers(0, 2**32 - 1),
    notice_delay_s=st.integers(0, 2**32 - 1),
    retention_days=limits,
    onward=st.none() | st.sampled_from(Onward),
    second_approvers=st.integers(0, 2),
    notify=st.frozensets(st.sampled_from(["owner_desk", "b", "a"])),
)


@given(obligations)
def test_obligations_survive_the_wire(value: Obligations) -> None:
    """No limit, a limit of nothing and every other limit stay apart, and sets come back sorted."""
    wire = obligations_to_wire(value)
    data = signing.canonical(wire)
    assert obligations_from_wire(signing.parse_canonical(pb.Obligations, data)) == value
    assert list(wire.redact) == sorted(value.redact)


def test_a_word_nobody_knows_lets_nothing_be_passed_on() -> None:
    """A gateway of a later version cannot widen what an older owner understands."""
    assert obligations_from_wire(pb.Obligations(onward="anybody")).onward is Onward.NONE


def test_nothing_written_means_no_limit_and_zero_records_means_zero() -> None:
    """An absent limit is None; a limit of zero is not confused with it."""
    assert obligations_from_wire(pb.Obligations()) == Obligations()
    none = obligations_from_wire(obligations_to_wire(Obligations(max_records=0)))
    assert none.max_records == 0


def test_an_owner_accepts_its_own_grant(world: World) -> None:
    """What the gateway decided arrives whole, with the new head of its log."""
    made = granted(world)
    grant = made.verify(made.request())
    assert (grant.facets, grant.obligations) == (PERMIT.facets, PERMIT.obligations)
    assert (grant.policy_serial, grant.expires_at) == (3, EXPIRES)
    assert grant.head.size == made.log.size


def test_other_grants_hide_behind_their_digests(world: World) -> None:
    """Two grants of the same decision differ, and a statement has one digest per partner."""
    made = granted(world)
    again = make_grant(made.query, OTHER_OWNER, PERMIT, expires_at=EXPIRES)
    assert again != made.grants[OTHER_OWNER]
    statement = pb.GrantStatement.FromString(made.statement)
    assert len(statement.grant_digests) == len(world.directory.partners)
    assert {len(d) for d in statement.grant_digests} == {32}


def test_a_grant_is_good_until_its_expiry(world: World) -> None:
    """The last second counts, the second of expiry does not."""
    made = granted(world)
    made.verify(made.request(), now=EXPIRES - 1)
    with pytest.raises(Stale) as caught:
        made.verify(made.request(), now=EXPIRES)
    assert caught.value.code == "GRANT_EXPIRED"


def test_the_gateways_signature_counts(world: World) -> None:
    """Nobody else's signature makes a grant, nor the gateway's over something else."""
    made = granted(world)
    other = signing.sign(world.signing_key(OTHER_OWNER), "grant", made.statement)
    wrong = signing.sign(world.gateway_key(), "outcome", made.statement)
    for signature in (b"", bytes(64), other, wrong):
        with pytest.raises(Forged):
            made.verify(made.request(grant_signature=signature))


def test_a_statement_of_another_query_gateway_or_shape_is_refused(world: World) -> None:
    """Signed by the gateway, but not about this query, by this gateway, for this directory."""
    made = granted(world)
    for change in (
        lambda s: setattr(s, "query_id", bytes(16)),
        lambda s: setattr(s, "gateway", "spiffe://fairlead.demo/gateway/gw-2"),
        lambda s: s.grant_digests.pop(),
        lambda s: s.grant_digests.append(bytes(32)),
        lambda s: setattr(s, "intent_leaf_hash", bytes(32)),
    ):
        with pytest.raises(Forged):
            made.verify(made.request(grant_statement=made.stated(change)))


def test_another_owners_grant_is_refused(world: World) -> None:
    """Swapping two owners' grants, or standing at another owner's place, is Forged."""
    made = granted(world)
    with pytest.raises(Forged) as caught:
        made.verify(made.request(grant=made.grants[OTHER_OWNER]))
    assert caught.value.code == "GRANT_DIGEST"
    with pytest.raises(Forged):
        made.verify(made.request(OTHER_OWNER), owner=OWNER)


@pytest.mark.parametrize(
    "change",
    [
        lambda g: setattr(g, "query_id", bytes(16)),
        lambda g: setattr(g, "partner_id", OTHER_OWNER),
        lambda g: setattr(g, "mode", pb.MODE_BLIND),
    ],
)
def test_a_covered_grant_for_something_else_is_refused(
    world: World, change: Callable[[pb.OwnerGrant], object]
) -> None:
    """Even under the gateway's signature, a grant for another query, owner or mode is none."""
    made = granted(world)
    with pytest.raises(Forged) as caught:
        made.verify(made.regranted(change))
    assert caught.value.code == "GRANT_BINDING"


def test_a_widened_or_malformed_grant_is_not_the_covered_one(world: World) -> None:
    """One more facet, one redaction less, or octets behind the grant break its digest."""
    made = granted(world)
    for change in (
        lambda g: g.facets.append("full_record"),
        lambda g: g.obligations.redact.pop(),
        lambda g: g.ClearField("obligations"),
    ):
        grant = pb.OwnerGrant.FromString(made.grants[OWNER])
        change(grant)
        with pytest.raises(Forged):
            made.verify(made.request(grant=signing.canonical(grant)))
    with pytest.raises(Forged):
        made.verify(made.request(grant=made.grants[OWNER] + b"\x00"))


def test_obligations_this_version_does_not_know_are_refused(world: World) -> None:
    """An unknown obligation, signed by the gateway, denies instead of being dropped."""
    made = granted(world)
    data = made.grants[OWNER]
    grant = pb.OwnerGrant.FromString(data)
    inner = signing.canonical(grant.obligations)
    at = data.index(inner)
    longer = inner + b"\x78\x01"
    unknown = data[: at - 1] + bytes([len(longer)]) + longer + data[at + len(inner) :]
    place = list(world.directory.partners).index(OWNER)

    def cover(statement: pb.GrantStatement) -> None:
        statement.grant_digests[place] = signing.digest(unknown)

    with pytest.raises(InvalidInput):
        made.verify(made.request(grant=unknown, grant_statement=made.stated(cover)))


def test_the_receipt_must_prove_this_intent(world: World) -> None:
    """A receipt of another leaf, also one that is really in the log, is Forged."""
    made = granted(world)
    with pytest.raises(Forged) as caught:
        made.verify(made.request(receipt=made.log.receipt(0)))
    assert caught.value.code == "RECEIPT_BINDING"
    empty = made.request()
    empty.ClearField("receipt")
    with pytest.raises(Forged):
        made.verify(empty)


def test_a_receipt_from_an_older_head_is_stale_and_from_another_history_a_fork(
    world: World,
) -> None:
    """The owner's last head decides: connect to it, or show another history and be caught."""
    made = granted(world, before=5)
    head = made.log.head(4)
    with pytest.raises(CheckpointStale) as stale:
        made.verify(made.request(), head=head)
    assert stale.value.size == 4
    good = made.request(receipt=made.log.receipt(5, known=4))
    assert made.verify(good, head=head).head.size == 6
    other = PaperLog(world, [b"other %d" % n for n in range(4)])
    with pytest.raises(CheckpointFork):
        made.verify(good, head=other.head(4))


INTENT_FIELDS: dict[str, Any] = {
    "type": audit_pb2.LEAF_TYPE_OUTCOME,
    "query_id": bytes(16),
    "header_digest": bytes(32),
    "mandate_digest": bytes(32),
    "partner_id": "police",
    "user": "spiffe://fairlead.demo/partner/customs/user/u-c03",
    "purpose": "infiltration",
    "legal_basis": "gdpr-art-6-1-e",
    "mode": pb.MODE_BLIND,
    "term_count": 2,
    "detail_digest": bytes(32),
}


@pytest.mark.parametrize("name", INTENT_FIELDS)
def test_a_logged_intent_must_be_of_this_query(world: World, name: str) -> None:
    """A leaf that records anything else of the query than was signed is Forged."""
    made = granted(world)
    check_intent(made.leaf, made.query)
    leaf = audit_pb2.AuditLeaf.FromString(made.leaf)
    setattr(leaf, name, INTENT_FIELDS[name])
    with pytest.raises(Forged):
        check_intent(signing.canonical(leaf), made.query)


@pytest.mark.parametrize("name", ["approvers", "signatures"])
def test_a_logged_intent_invents_no_second_person(world: World, name: str) -> None:
    """A leaf that names an approver, or holds a signature, that the query does not is Forged."""
    made = granted(world)
    leaf = audit_pb2.AuditLeaf.FromString(made.leaf)
    getattr(leaf, name).append("spiffe://x" if name == "approvers" else b"signature")
    with pytest.raises(Forged):
        check_intent(signing.canonical(leaf), made.query)


@given(st.binary(max_size=80))
def test_any_octets_are_no_intent(world: World, data: bytes) -> None:
    """Garbage in place of a leaf is refused."""
    made = granted(world, before=0)
    with pytest.raises(FairleadError):
        check_intent(data, replace(made.query))
