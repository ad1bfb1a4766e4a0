"""The signed front of a query: what verifies, and every single thing that must not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.dev.lists import deny
from fairlead import signing
from fairlead.envelope.query import (
    MANDATE_LIFETIME_S,
    WINDOW_S,
    Instrument,
    mode_name,
    partner_digest,
    term_leaf,
    terms_root,
    uuid7,
    verify_query,
)
from fairlead.errors import (
    FairleadError,
    Forged,
    InvalidInput,
    NotFound,
    Refused,
    Stale,
    Unauthenticated,
)
from fairlead.partners import DenyLists
from fairlead.v1 import query_pb2 as pb
from tests.walks import ASKER, NOW, OWNER, TERM, World, make_world

OCTETS = [field.name for field in pb.SignedQuery.DESCRIPTOR.fields if field.name != "approvals"]
"""The fields of octets; tests/test_envelope_approval.py is about the approvals."""
USER = "spiffe://fairlead.demo/partner/customs/user/u-c01"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("query"))


# ── Pieces ───────────────────────────────────────────────────────────────────────────────────


@given(st.floats(0, 2**47 / 1000, allow_nan=False), st.binary(min_size=10, max_size=10))
def test_a_uuid7_is_one_and_says_when(now: float, noise: bytes) -> None:
    """Version, variant and the millisecond are RFC 9562's, for any time and any randomness."""
    made = UUID(bytes=uuid7(now, lambda size: noise[:size]))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == int(now * 1000)


@given(st.integers(0, 2**31), st.integers(1, 10**6))
def test_later_ids_sort_later(now: int, later_ms: int) -> None:
    """Ids of different milliseconds sort by time, whatever the randomness."""
    early = uuid7(now, lambda size: b"\xff" * size)
    assert early < uuid7(now + later_ms / 1000 + 0.001, bytes)


def test_a_published_uuid7_has_our_layout() -> None:
    """RFC 9562's example (appendix A.6) is made from its own time and random bits."""
    example = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    assert uuid7(1645557742.0, lambda _: example.bytes[6:]) == example.bytes


terms = st.lists(
    st.tuples(st.text(max_size=12), st.text(max_size=12), st.binary(min_size=32, max_size=32)),
    min_size=1,
    max_size=6,
)


@given(terms, st.data())
def test_the_root_commits_to_terms_order_and_nonces(
    items: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    """Another value, another order, one more or one less is another root."""
    root = terms_root([term_leaf(*item) for item in items])
    place = data.draw(st.integers(0, len(items) - 1))
    scheme, value, nonce = items[place]
    for other in (
        [*items[:place], (scheme, value + "0", nonce), *items[place + 1 :]],
        [*items[:place], (scheme + "x", value, nonce), *items[place + 1 :]],
        [*items[:place], (scheme, value, bytes(31) + b"\x01"), *items[place + 1 :]],
        [*items, items[0]],
        items[:-1],
    ):
        if other != items:
            assert terms_root([term_leaf(*item) for item in other]) != root
    if items[::-1] != items:
        assert terms_root([term_leaf(*item) for item in items[::-1]]) != root


def test_a_nonce_hides_the_only_possible_term() -> None:
    """Whoever knows the term but not its nonce cannot recompute the root."""
    one, other = (terms_root([term_leaf(*TERM, nonce=bytes([n]) * 32)]) for n in (1, 2))
    assert one != other


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["customs", "police"]),
    st.binary(min_size=16, max_size=16),
    st.booleans(),
)
def test_a_partner_digest_opens_one_way(
    salt: bytes, partner: str, mandate: bytes, asked: bool
) -> None:
    """It opens as asked or as not asked, for one partner and one mandate, never both."""
    made = partner_digest(salt, partner, mandate, asked=asked)
    assert made != partner_digest(salt, partner, mandate, asked=not asked)
    assert made != partner_digest(salt, partner + "x", mandate, asked=asked)
    assert made != partner_digest(salt, partner, mandate[:-1] + b"\x00\x00", asked=asked)


@pytest.mark.parametrize("mode", [0, 3, -1])
def test_an_unspecified_mode_has_no_word(mode: int) -> None:
    """Value 0 and unknown values are refused, never read as sealed."""
    with pytest.raises(InvalidInput):
        mode_name(mode)


# ── The whole ────────────────────────────────────────────────────────────────────────────────


def test_a_good_query_verifies_and_says_what_was_signed(world: World) -> None:
    """The verified query carries the mandate's and the header's content, and its digests."""
    walk = world.walk(TERM, ("container", "CSQU3054383"))
    query = walk.verify()
    assert (query.query_id, query.term_count, query.schemes) == (walk.query_id, 2, ("container",))
    assert (query.asker.partner_id, query.user.spiffe_id) == (ASKER, USER)
    assert query.mode_name == "sealed"
    assert query.mandate_digest == signing.digest(walk.signed.mandate)
    assert query.header_digest == signing.digest(walk.signed.header)


def test_the_header_says_nothing_about_who_else_is_asked(world: World) -> None:
    """For one asked partner and for two, header and mandate have the same size and shape."""
    one, two = world.walk(asked=[OWNER]), world.walk(asked=[OWNER, "police"])
    assert len(one.signed.header) == len(two.signed.header)
    assert len(one.signed.mandate) == len(two.signed.mandate)


Changes = dict[str, Callable[..., object]]


def put(**fields: object) -> Callable[[object], None]:
    def change(message: object) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(message, name)[:]
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)

    return change


HASH = bytes(32)


def order(**changes: object) -> Callable[[pb.NodeStatement], object]:
    """A statement that vouches for a court's order."""
    fields = {
        "kind": "court-order", "authority": "court", "valid_until": int(NOW) + 9,
        "commitment": HASH, **changes,
    }  # fmt: skip

    def change(statement: pb.NodeStatement) -> None:
        statement.instrument.CopyFrom(pb.Instrument(**fields))  # type: ignore[arg-type]

    return change


WRONG: list[tuple[str, Changes, type[FairleadError], str]] = [
    ("another federation", {"mandate": put(federation="other")}, Forged, "FEDERATION"),
    ("another directory", {"header": put(directory_serial=2)}, Stale, "DIRECTORY_MISMATCH"),
    ("an unknown asker", {"mandate": put(partner_id="nobody")}, NotFound, "UNKNOWN_PARTNER"),
    ("another asker", {"mandate": put(partner_id="police")}, Forged, "USER"),
    (
        "another certificate",
        {"mandate": put(user_certificate_digest=HASH)},
        Forged,
        "USER_CERTIFICATE",
    ),
    ("a mandate id of version 0", {"mandate": put(mandate_id=bytes(16))}, InvalidInput, "ID"),
    ("a short mandate id", {"mandate": put(mandate_id=b"x")}, InvalidInput, "ID"),
    ("a query id of version 0", {"header": put(query_id=bytes(16))}, InvalidInput, "ID"),
    ("mode unspecified", {"mandate": put(mode=0)}, InvalidInput, "MODE"),
    ("an unknown mode", {"mandate": put(mode=7)}, InvalidInput, "MODE"),
    ("a misspelt purpose", {"mandate": put(purpose="Drug trafficking")}, InvalidInput, "CODE"),
    ("no legal basis", {"mandate": put(legal_basis="")}, InvalidInput, "CODE"),
    ("no scheme", {"mandate": put(schemes=[])}, InvalidInput, "SCHEMES"),
    ("schemes out of order", {"mandate": put(schemes=["b", "a"])}, InvalidInput, "SCHEMES"),
    ("a scheme twice", {"mandate": put(schemes=["a", "a"])}, InvalidInput, "SCHEMES"),
    (
        "seventeen schemes",
        {"mandate": put(schemes=sorted(f"s{n}" for n in range(17)))},
        InvalidInput,
        "SCHEMES",
    ),
    ("a digest too few", {"mandate": put(partner_digests=[HASH] * 3)}, InvalidInput, "DIGESTS"),
    ("a digest too many", {"mandate": put(partner_digests=[HASH] * 5)}, InvalidInput, "DIGESTS"),
    ("a short digest", {"mandate": put(partner_digests=[b"x"] * 4)}, InvalidInput, "DIGESTS"),
    ("a short root", {"mandate": put(terms_root=b"x")}, InvalidInput, "DIGESTS"),
    ("no case", {"mandate": put(case_commitment=b"")}, InvalidInput, "DIGESTS"),
    ("no terms", {"mandate": put(term_count=0)}, InvalidInput, "TERM_COUNT"),
    ("513 terms", {"mandate": put(term_count=513)}, InvalidInput, "TERM_COUNT"),
    (
        "a lifetime of a second more than a day",
        {"mandate": put(issued_at=int(NOW), expires_at=int(NOW) + MANDATE_LIFETIME_S + 1)},
        InvalidInput,
        "MANDATE_LIFETIME",
    ),
    (
        "no lifetime",
        {"mandate": put(issued_at=int(NOW), expires_at=int(NOW))},
        InvalidInput,
        "MANDATE_LIFETIME",
    ),
    (
        "an expired mandate",
        {"mandate": put(issued_at=int(NOW) - 60, expires_at=int(NOW))},
        Stale,
        "MANDATE_EXPIRED",
    ),
    (
        "a mandate of the future",
        {"mandate": put(issued_at=int(NOW) + WINDOW_S + 1, expires_at=int(NOW) + 3600)},
        Stale,
        "MANDATE_EXPIRED",
    ),
    ("another mandate's header", {"header": put(mandate_digest=HASH)}, Forged, "MANDATE_DIGEST"),
    ("a stale header", {"header": put(issued_at=int(NOW) - 121)}, Stale, "QUERY_WINDOW"),
    ("a header of the future", {"header": put(issued_at=int(NOW) + 121)}, Stale, "QUERY_WINDOW"),
    ("a second chunk", {"header": put(chunk=1)}, InvalidInput, "TERM_COUNT"),
    ("another count", {"header": put(term_count=2)}, InvalidInput, "TERM_COUNT"),
    ("a part digest too few", {"header": put(part_digests=[HASH] * 3)}, InvalidInput, "DIGESTS"),
    ("no reply key", {"header": put(reply_key=b"")}, InvalidInput, "SEALING_KEY"),
    ("an impossible reply key", {"header": put(reply_key=b"\xff" * 1216)}, InvalidInput, ""),
    ("another query's statement", {"statement": put(query_id=bytes(16))}, Forged, "STATEMENT"),
    ("another header's statement", {"statement": put(header_digest=HASH)}, Forged, "STATEMENT"),
    ("another mandate's statement", {"statement": put(mandate_digest=HASH)}, Forged, "STATEMENT"),
    ("another partner's statement", {"statement": put(partner_id="police")}, Forged, "STATEMENT"),
    ("another case's statement", {"statement": put(case_commitment=HASH)}, Forged, "STATEMENT"),
    ("a stale statement", {"statement": put(issued_at=int(NOW) - 121)}, Stale, "QUERY_WINDOW"),
    ("a closed case", {"statement": put(case_open=False)}, Refused, "CASE"),
    ("no guard", {"statement": put(guard_passed=False)}, Refused, "GUARD"),
    (
        "an instrument without a commitment",
        {"statement": order(commitment=b"")},
        InvalidInput,
        "DIGESTS",
    ),
    ("an instrument of no kind", {"statement": order(kind="")}, InvalidInput, "CODE"),
    (
        "an instrument of no authority",
        {"statement": order(authority="A court")},
        InvalidInput,
        "CODE",
    ),
    ("an unassigned user", {"statement": put(user_assigned=False)}, Refused, "CASE"),
]


def test_the_legal_instrument_of_a_case_arrives_as_its_node_vouched_for_it(world: World) -> None:
    """Kind, authority, end and commitment; a case without one brings none."""
    assert world.walk().verify().instrument is None
    walk = world.walk().resigned(statement=order())
    assert walk.verify().instrument == Instrument(
        kind="court-order", authority="court", valid_until=int(NOW) + 9, commitment=HASH
    )


@pytest.mark.parametrize(
    ("changes", "error", "code"), [item[1:] for item in WRONG], ids=[item[0] for item in WRONG]
)
def test_one_wrong_thing_under_right_signatures_is_refused(
    world: World, changes: Changes, error: type[FairleadError], code: str
) -> None:
    """Everything is signed again, so what is refused is the change itself, by its own code."""
    walk = world.walk()
    with pytest.raises(error) as caught:
        walk.resigned(**changes).verify()  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert code in ("", caught.value.code)


@pytest.mark.parametrize("offset", [-WINDOW_S, WINDOW_S])
def test_the_window_includes_its_edges(world: World, offset: int) -> None:
    """A query 120 seconds old or early is accepted; see the second beyond it above."""
    world.walk(now=NOW + 1000).verify(NOW + 1000 + offset)


@pytest.mark.parametrize(
    "name",
    ["mandate_signature", "session_signature", "statement_signature"],
)
def test_every_signature_counts(world: World, name: str) -> None:
    """A changed, missing or foreign signature is Forged, one at a time."""
    for value in (b"", bytes(64), b"\x30\x00"):
        walk = world.walk()
        setattr(walk.signed, name, value)
        with pytest.raises(Forged):
            walk.verify()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_changed_octet_is_accepted(world: World, data: st.DataObject) -> None:
    """Whatever octet of whatever part of the front is changed, the query is refused."""
    walk = world.walk()
    name = data.draw(st.sampled_from(OCTETS))
    good: bytes = getattr(walk.signed, name)
    place = data.draw(st.integers(0, 10_000)) % len(good)
    value = data.draw(st.integers(1, 255))
    setattr(walk.signed, name, good[:place] + bytes([good[place] ^ value]) + good[place + 1 :])
    with pytest.raises(FairleadError):
        walk.verify()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=7, max_size=7))
def test_any_octets_are_refused_not_crashed(world: World, parts: Sequence[bytes]) -> None:
    """Garbage in every field is a refusal of our own."""
    walk = world.walk()
    walk.signed.CopyFrom(pb.SignedQuery(**dict(zip(OCTETS, parts, strict=True))))  # type: ignore[arg-type]
    with pytest.raises(FairleadError):
        walk.verify()


def test_another_users_certificate_of_the_same_partner_is_another_mandate(world: World) -> None:
    """Under the approver's certificate and key the query is the approver's, not the analyst's."""
    query = world.walk().resigned(user=(ASKER, "u-c02")).verify()
    assert query.user.name == "u-c02"


def test_a_denied_user_is_refused_although_everything_is_signed(world: World) -> None:
    """The deny list counts for the person behind a mandate, not only for connections."""
    held = DenyLists()
    held.update(
        deny(world.opened.layout, [USER], serial=2, now=NOW),
        directory=world.directory,
        operators=world.opened.operators,
        now=NOW,
    )
    with pytest.raises(Unauthenticated):
        verify_query(world.walk().signed, directory=world.directory, deny_lists=held, now=NOW)
