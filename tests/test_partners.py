"""The signed directory and the deny lists: who may say what, and that nothing goes backwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from certs.dev.lists import sign_directory, sign_entry
from fairlead import signing
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Stale, Unauthenticated
from fairlead.partners import (
    MAX_SERIAL,
    SKEW_S,
    DenyLists,
    Directory,
    PartnerKind,
    Sector,
    sign_as_operator,
    verify_operators,
)
from fairlead.v1 import directory_pb2 as pb
from tests.walks import NOW, World, make_world

USER = "spiffe://fairlead.demo/partner/customs/user/u-c01"
NODE = "spiffe://fairlead.demo/partner/customs/node/node-1"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("partners"))


def operators(world: World) -> list[Ed25519PrivateKey]:
    folder = world.opened.layout.federation
    return [signing.load_signing_key(folder / f"operator-{n}.key") for n in (1, 2)]


def root_key(world: World, partner: str) -> Ed25519PrivateKey:
    return signing.load_signing_key(world.opened.layout.partner(partner) / "root" / "root.key")


def content_of(world: World) -> pb.Directory:
    signed = pb.SignedDirectory.FromString(world.opened.layout.directory.read_bytes())
    return pb.Directory.FromString(signed.directory)


def load(
    world: World,
    data: bytes,
    *,
    now: float = NOW,
    previous: Directory | None = None,
    keys: Sequence[bytes] | None = None,
) -> Directory:
    return Directory.from_signed(
        data,
        operators=world.opened.operators if keys is None else keys,
        pins=world.opened.pins,
        now=now,
        previous=previous,
    )


def changed(world: World, change: Callable[[pb.Directory], object]) -> bytes:
    """The directory with one change, signed by both operators."""
    content = content_of(world)
    change(content)
    return sign_directory(content, operators(world))


def with_entry(
    world: World, partner: str, change: Callable[[pb.PartnerEntry], object], **directory: Any
) -> bytes:
    """The directory with one partner's entry changed and signed by that partner's root."""
    content = content_of(world)
    for name, value in directory.items():
        setattr(content, name, value)
    for item in content.partners:
        entry = pb.PartnerEntry.FromString(item.entry)
        if entry.partner_id == partner:
            change(entry)
            item.CopyFrom(sign_entry(entry, root_key(world, partner)))
    return sign_directory(content, operators(world))


# ── Directory ────────────────────────────────────────────────────────────────────────────────


def test_the_made_directory_verifies(world: World) -> None:
    """A directory signed by both operators and every root says what the recipe was asked for."""
    found = load(world, world.opened.layout.directory.read_bytes())
    assert list(found.partners) == ["customs", "oceanic-line", "police", "terminal-north"]
    assert found.partner("customs").sector is Sector.PUBLIC
    assert found.partner("oceanic-line").sector is Sector.PRIVATE
    assert found.gateway.spiffe_id == "spiffe://fairlead.demo/gateway/gw-1"
    with pytest.raises(NotFound):
        found.partner("nobody")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_octet_is_accepted(world: World, data: st.DataObject) -> None:
    """Whatever octet of a signed directory is changed, the result is refused."""
    good = world.opened.layout.directory.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(1, 255))
    bad = good[:place] + bytes([good[place] ^ value]) + good[place + 1 :]
    with pytest.raises((Forged, InvalidInput)):
        load(world, bad)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_octets_are_refused_not_crashed(world: World, data: bytes) -> None:
    """Garbage in place of a directory is refused."""
    with pytest.raises((Forged, InvalidInput)):
        load(world, data)


@pytest.mark.parametrize(
    ("now", "good"),
    [
        (NOW - SKEW_S - 1, False),
        (NOW - SKEW_S, True),
        (NOW, True),
        (NOW + 7 * 86_400 - 1, True),
        (NOW + 7 * 86_400, False),
    ],
)
def test_the_directory_is_in_force_between_its_times(world: World, now: float, good: bool) -> None:
    """From the second of issue, less two minutes of skew, and not in the second of expiry."""
    data = world.opened.layout.directory.read_bytes()
    if good:
        load(world, data, now=now).check_current(now)
        return
    with pytest.raises(Stale):
        load(world, data, now=now)


def test_a_directory_in_use_expires(world: World) -> None:
    """A directory that was loaded in time is refused once its time is over."""
    with pytest.raises(Stale):
        world.directory.check_current(world.directory.expires_at)


def test_one_operator_twice_is_not_two_operators(world: World) -> None:
    """The quorum counts different keys, and only configured ones."""
    data = b"anything"
    one, two = operators(world)
    known = world.opened.operators
    good = [sign_as_operator(key, "directory", data) for key in (one, two)]
    verify_operators(data, good, "directory", known)
    stranger = sign_as_operator(Ed25519PrivateKey.generate(), "directory", data)
    for signatures in ([], good[:1], [good[0], good[0]], [good[0], stranger]):
        with pytest.raises(Forged):
            verify_operators(data, signatures, "directory", known)
    with pytest.raises(Forged):
        verify_operators(data, good, "deny-list", known)
    with pytest.raises(Forged):
        verify_operators(data, good, "directory", [])


def test_a_wrong_signature_spoils_right_ones(world: World) -> None:
    """A known operator's wrong signature beside a quorum is refused, not skipped."""
    data = b"anything"
    good = [sign_as_operator(key, "directory", data) for key in operators(world)]
    bad = pb.OperatorSignature(key_id=good[0].key_id, signature=bytes(64))
    with pytest.raises(Forged):
        verify_operators(data, [*good, bad], "directory", world.opened.operators)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param(lambda e: setattr(e, "root_key", bytes(32)), Forged, id="root"),
        pytest.param(lambda e: setattr(e, "sequence", 0), InvalidInput, id="sequence 0"),
        pytest.param(lambda e: setattr(e, "sequence", 2), InvalidInput, id="second without first"),
        pytest.param(
            lambda e: (setattr(e, "sequence", 2**63), setattr(e, "previous_digest", bytes(32))),
            InvalidInput,
            id="a sequence no log could count",
        ),
        pytest.param(
            lambda e: setattr(e, "previous_digest", bytes(32)), InvalidInput, id="first with one"
        ),
        pytest.param(lambda e: setattr(e, "kind", 0), InvalidInput, id="kind unspecified"),
        pytest.param(lambda e: setattr(e, "kind", 99), InvalidInput, id="kind unknown"),
        pytest.param(lambda e: setattr(e, "sealing_key", bytes(32)), InvalidInput, id="sealing"),
        pytest.param(lambda e: setattr(e, "oversight_key", b""), InvalidInput, id="oversight"),
        pytest.param(lambda e: setattr(e, "user_authority", b"x"), InvalidInput, id="authority"),
    ],
)
def test_an_entry_its_own_root_signed_must_still_make_sense(
    world: World, change: Callable[[pb.PartnerEntry], object], error: type[FairleadError]
) -> None:
    """A partner's own signature does not make a broken entry valid."""
    with pytest.raises(error):
        load(world, with_entry(world, "police", change))


def test_a_user_authority_with_another_curve_is_refused(world: World) -> None:
    """A P-384 user authority is refused when the directory is read, not when a user comes."""
    other = _certificate_of(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(InvalidInput):
        load(world, with_entry(world, "police", lambda e: setattr(e, "user_authority", other)))


def _certificate_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_partner_nobody_pinned_is_listed_and_no_partner(world: World) -> None:
    """Two operators can list whom they like; without a pinned root it is nobody's partner."""
    content = content_of(world)
    entry = pb.PartnerEntry.FromString(content.partners[0].entry)
    entry.partner_id = "aaa"
    content.partners.insert(0, sign_entry(entry, Ed25519PrivateKey.generate()))
    found = load(world, sign_directory(content, operators(world)))
    assert found.listed == ("aaa", *found.partners)
    assert found.unpinned == {"aaa": signing.digest(entry.root_key)}
    assert [found.place(partner) for partner in found.listed] == list(range(len(found.listed)))
    with pytest.raises(NotFound) as caught:
        found.partner("aaa")
    assert caught.value.code == "ROOT_UNPINNED"
    assert "partner pin" in caught.value.remedy


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 0, 1, 2, 3)])
def test_the_list_has_one_order_and_no_doubles(world: World, order: tuple[int, ...]) -> None:
    """Partners out of order or twice are refused: digests count places."""

    def reorder(content: pb.Directory) -> None:
        items = [pb.SignedPartnerEntry.FromString(p.SerializeToString()) for p in content.partners]
        del content.partners[:]
        content.partners.extend(items[place] for place in order)

    with pytest.raises(InvalidInput):
        load(world, changed(world, reorder))


def test_an_older_serial_is_refused_and_a_newer_accepted(world: World) -> None:
    """Against the directory seen last, the serial never goes back."""
    newer = load(world, changed(world, lambda c: setattr(c, "serial", 5)), previous=world.directory)
    assert newer.serial == 5
    with pytest.raises(Stale):
        load(world, changed(world, lambda c: setattr(c, "serial", 4)), previous=newer)


def test_a_serial_that_no_log_could_count_is_refused(world: World) -> None:
    """Two bought operators cannot use up the serials of a federation, or stop its logs."""
    with pytest.raises(InvalidInput):
        load(world, changed(world, lambda c: setattr(c, "serial", 2**63)))


def test_an_entry_changes_by_one_step_that_names_the_one_before(world: World) -> None:
    """The next sequence over the right predecessor is accepted; anything else is Forged."""
    old = world.directory.partner("police")

    def step(sequence: int, previous: bytes) -> Callable[[pb.PartnerEntry], None]:
        def change(entry: pb.PartnerEntry) -> None:
            entry.display_name = "Police renamed"
            entry.sequence, entry.previous_digest = sequence, previous

        return change

    good = with_entry(world, "police", step(2, old.entry_digest), serial=2)
    moved = load(world, good, previous=world.directory)
    assert moved.partner("police").display_name == "Police renamed"
    for change in (step(2, bytes(32)), step(3, old.entry_digest), step(1, b"")):
        with pytest.raises(Forged):
            load(world, with_entry(world, "police", change, serial=3), previous=world.directory)
    # and back again, under a new serial, to the entry (and keys) of before
    with pytest.raises(Forged):
        load(world, changed(world, lambda c: setattr(c, "serial", 3)), previous=moved)


def test_a_directory_without_a_gateway_has_none(world: World) -> None:
    """Asking for the gateway of a directory that lists none is NotFound."""

    def empty(content: pb.Directory) -> None:
        del content.gateways[:]

    with pytest.raises(NotFound):
        _ = load(world, changed(world, empty)).gateway


@given(st.sampled_from(PartnerKind))
def test_kinds_survive_the_wire_and_have_a_sector(kind: PartnerKind) -> None:
    """Every kind has a wire number of its own and is public or private."""
    assert PartnerKind.from_wire(kind.to_wire()) is kind
    assert kind.sector in Sector


# ── Deny lists ───────────────────────────────────────────────────────────────────────────────


def deny(
    world: World,
    issuer: str,
    serial: int,
    ids: Sequence[str] = (),
    *,
    issued: float = NOW,
    expires: float = NOW + 600,
    signer: str | None = None,
) -> pb.SignedDenyList:
    """One signed deny list; ``signer`` is whose key signs it, by default the issuer's."""
    content = pb.DenyList(
        issuer=issuer,
        serial=serial,
        issued_at=int(issued),
        expires_at=int(expires),
        spiffe_ids=ids,
    )
    data = signing.canonical(content)
    signed = pb.SignedDenyList(deny_list=data)
    by = signer or issuer
    if by == "operators":
        signed.signatures.extend(
            sign_as_operator(key, "deny-list", data) for key in operators(world)
        )
    else:
        key = world.opened.user_authority(by).key
        signed.signatures.add(signature=signing.sign_as_user(key, "deny-list", data))
    return signed


def bundle(*lists: pb.SignedDenyList) -> bytes:
    return signing.canonical(pb.DenyListBundle(lists=lists))


def update(world: World, held: DenyLists, *lists: pb.SignedDenyList, now: float = NOW) -> None:
    held.update(
        bundle(*lists), directory=world.directory, operators=world.opened.operators, now=now
    )


def denied(held: DenyLists, spiffe_id: str, now: float = NOW) -> str:
    """The reason an identity is refused for, or nothing."""
    try:
        held.check(spiffe_id, now)
    except Unauthenticated as error:
        return error.code
    return ""


def test_without_a_current_list_everybody_is_refused(world: World) -> None:
    """No list, an expired list and somebody else's list all mean no."""
    held = DenyLists()
    assert denied(held, USER) == denied(held, NODE) == "DENY_LIST_EXPIRED"
    update(world, held, deny(world, "customs", 1), deny(world, "police", 1))
    assert denied(held, USER) == ""
    assert denied(held, NODE) == "DENY_LIST_EXPIRED"
    assert denied(held, USER, NOW + 600) == "DENY_LIST_EXPIRED"
    assert denied(held, USER, NOW + 599) == ""


def test_issuers_speak_about_their_own_alone(world: World) -> None:
    """A partner cannot deny another's users or any node, and cannot sign for another issuer."""
    held = DenyLists()
    other = USER.replace("customs", "police")
    for bad in (
        deny(world, "customs", 1, [other]),
        deny(world, "customs", 1, [NODE]),
        deny(world, "customs", 1, [USER, other]),
        deny(world, "customs", 1, signer="police"),
        deny(world, "operators", 1, signer="customs"),
        deny(world, "customs", 1, signer="operators"),
    ):
        with pytest.raises(Forged):
            update(world, held, bad)
    update(world, held, deny(world, "nobody", 1, signer="customs"))
    assert held.serials() == {}


def test_the_list_of_an_unpinned_partner_is_left_out_and_spoils_nothing(world: World) -> None:
    """Of a partner whose root is not pinned nobody is let in, so its list is not even verified."""
    held, pins = DenyLists(), {p: r for p, r in world.opened.pins.items() if p != "police"}
    found = Directory.from_signed(
        world.opened.layout.directory.read_bytes(),
        operators=world.opened.operators,
        pins=pins,
        now=NOW,
    )
    data = signing.canonical(
        pb.DenyListBundle(
            lists=[deny(world, "customs", 1, [USER]), deny(world, "police", 1, signer="customs")]
        )
    )
    held.update(data, directory=found, operators=world.opened.operators, now=NOW)
    assert held.serials() == {"customs": 1}


def test_one_serial_has_one_content(world: World) -> None:
    """Two lists of one issuer and serial that differ are a fork; the first one stays."""
    held = DenyLists()
    update(world, held, deny(world, "customs", 1, [USER]))
    with pytest.raises(Forged) as caught:
        update(world, held, deny(world, "customs", 1))
    assert caught.value.code == "DENY_LIST_FORK"
    assert denied(held, USER) == "DENIED"


def test_a_newer_list_counts_beside_an_older_one(world: World) -> None:
    """A file written over with one issuer's older list still brings the other's newer one."""
    held = DenyLists()
    update(world, held, deny(world, "customs", 2, [USER]), deny(world, "operators", 1))
    update(world, held, deny(world, "customs", 1), deny(world, "operators", 2, [NODE]))
    assert (denied(held, USER), denied(held, NODE)) == ("DENIED", "DENIED")
    assert held.serials() == {"customs": 2, "operators": 2}


def test_operators_deny_nodes_and_not_users(world: World) -> None:
    """The operators' list refuses the nodes it names; users are their own authority's matter."""
    held = DenyLists()
    update(world, held, deny(world, "operators", 1, [NODE, USER]), deny(world, "customs", 1))
    assert denied(held, NODE) == "DENIED"
    assert denied(held, USER) == ""


def test_one_bad_list_spoils_nobody_elses(world: World) -> None:
    """An authority that rotated its key, or lies, keeps no other issuer's suspensions back."""
    held = DenyLists()
    update(world, held, deny(world, "police", 1, signer="customs"), deny(world, "operators", 1))
    assert held.refused is not None
    assert held.refused.code == "SIGNATURE"
    other = USER.replace("customs", "police")
    bad = deny(world, "police", 1, [other], signer="customs")
    update(world, held, bad, deny(world, "customs", 2, [USER]))
    assert denied(held, USER) == "DENIED"
    assert denied(held, other) == "DENY_LIST_EXPIRED"
    with pytest.raises(Forged):  # nothing newer: the reason is said
        update(world, held, bad, deny(world, "customs", 2, [USER]))


def test_a_list_no_log_could_count_or_nobody_could_carry_is_refused(world: World) -> None:
    """A serial without a successor, or a list as large as a message, is nobody's list."""
    many = [f"{USER}{number:06d}" for number in range(2_000)]
    for bad, code in (
        (deny(world, "customs", MAX_SERIAL + 1), "LIMIT"),
        (deny(world, "customs", 2**64 - 1), "LIMIT"),
        (deny(world, "customs", 1, many), "TOO_LARGE"),
    ):
        with pytest.raises(InvalidInput) as caught:
            update(world, DenyLists(), bad)
        assert caught.value.code == code
    update(world, DenyLists(), deny(world, "customs", MAX_SERIAL))


def test_a_list_of_the_future_is_not_taken_over(world: World) -> None:
    """A list issued after now is refused, so that a fast clock cannot pin a serial."""
    with pytest.raises(Stale):
        update(world, DenyLists(), deny(world, "customs", 9, issued=NOW + SKEW_S + 1))


@settings(max_examples=60)
@given(st.binary(max_size=120))
def test_any_octets_are_no_bundle_or_an_empty_one(world: World, data: bytes) -> None:
    """Garbage in place of deny lists changes nothing."""
    held = DenyLists()
    update(world, held, deny(world, "customs", 1))
    with contextlib.suppress(FairleadError):
        held.update(data, directory=world.directory, operators=world.opened.operators, now=NOW)
    assert denied(held, USER) == ""


class DenyListMachine(RuleBasedStateMachine):
    """Any sequence of lists from two issuers, against a model of what must be held."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.held = DenyLists()
        self.model: dict[str, tuple[int, bool]] = {}

    @rule(
        issuer=st.sampled_from(["customs", "operators"]),
        serial=st.integers(1, 6),
        names=st.booleans(),
    )
    def publish(self, issuer: str, serial: int, names: bool) -> None:
        """A list arrives; it counts unless it is older than the one held, or forks it."""
        about = {"customs": USER, "operators": NODE}[issuer]
        signed = deny(self.world, issuer, serial, [about] if names else [])
        older = issuer in self.model and serial < self.model[issuer][0]
        same = issuer in self.model and serial == self.model[issuer][0]
        if older:
            with pytest.raises(Stale):
                update(self.world, self.held, signed)
        elif same and names != self.model[issuer][1]:
            with pytest.raises(Forged):
                update(self.world, self.held, signed)
        else:
            update(self.world, self.held, signed)
            self.model[issuer] = (serial, names)

    @invariant()
    def refuses_exactly_the_denied(self) -> None:
        """Only what the newest list of the right issuer says counts."""
        for issuer, identity in (("customs", USER), ("operators", NODE)):
            state = self.model.get(issuer)
            wanted = "DENY_LIST_EXPIRED" if state is None else "DENIED" if state[1] else ""
            assert denied(self.held, identity) == wanted


def test_the_serial_of_a_deny_list_never_goes_back(world: World) -> None:
    """Over any sequence of lists, an identity once denied is freed by a newer list alone."""
    DenyListMachine.world = world
    run_state_machine_as_test(
        DenyListMachine, settings=settings(max_examples=15, stateful_step_count=12, deadline=None)
    )


def test_two_lists_of_one_issuer_in_one_bundle_count_once(world: World) -> None:
    """An older list behind a newer one in the same bundle does not take its place."""
    held = DenyLists()
    try:
        update(world, held, deny(world, "customs", 5, [USER]), deny(world, "customs", 3))
    except FairleadError:
        update(world, held, deny(world, "customs", 5, [USER]))
    assert denied(held, USER) == "DENIED"
