"""Enrolment: three files and two telephone calls, and every way in which they can be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fairlead import signing
from fairlead.config import NodeConfig, load
from fairlead.enrolment.admission import read_admission
from fairlead.enrolment.invitation import Invitation, compare
from fairlead.enrolment.request import LIFETIME_S, read_request
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Misconfigured, Stale
from fairlead.partners import sign_as_operator
from fairlead.phrases import check_phrase
from fairlead.trust import Trust
from fairlead.v1 import enrolment_pb2
from node import enrolling
from node.founding import NodeFolder, found
from node.opening import own_keys
from tests.founders import FEDERATION, Founded, card, enrol, founded, node, root_phrase

DAY = 86_400


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return founded(tmp_path_factory.mktemp("enrolment") / "gateway")


@pytest.fixture
def made(tmp_path: Path) -> tuple[Founded, NodeFolder]:
    gateway = founded(tmp_path / "gateway")
    return gateway, node(tmp_path / "node", gateway.invitation)


def read(data: bytes, *, after: float = 0) -> object:
    return read_request(data, federation=FEDERATION, now=time.time() + after)


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


# ── The whole way ────────────────────────────────────────────────────────────────────────────


def test_a_node_that_followed_every_step_may_start(made: tuple[Founded, NodeFolder]) -> None:
    """Keys made at the node, two operators, one admission: the configuration loads and verifies."""
    gateway, place = made
    done = enrol(place, gateway.admission(place))
    from fairlead import process

    config = load(NodeConfig, place.config)
    member = process.join(config, time.time)
    assert own_keys(config, member)[0].partner_id == "customs"
    assert done.admission.directory.serial == 2
    process.load_policy(config, member.trust, now=time.time())


def test_no_private_key_leaves_the_node(made: tuple[Founded, NodeFolder]) -> None:
    """Neither the request nor the admission holds an octet string of any private key file."""
    gateway, place = made
    travelling = place.request().read_bytes() + gateway.admission(place)
    keys = [path for path in place.root.rglob("*") if path.suffix in {".key", ".seed"}]
    assert len(keys) == 8
    for path in keys:
        octets = path.read_bytes()
        assert octets not in travelling
        assert path.stat().st_mode & 0o077 == 0
        if path.suffix == ".seed":
            assert octets[:32] not in travelling


def test_init_again_changes_nothing(made: tuple[Founded, NodeFolder]) -> None:
    """Running init twice keeps every key and the request, octet for octet."""
    gateway, place = made
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    certificate = read(place.request().read_bytes()).partner.user_authority  # type: ignore[attr-defined]
    _, new = found(place, card(), gateway.invitation, certificate, now=time.time())
    assert not new
    assert {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()} == before


def test_an_expired_request_is_made_anew_with_the_same_keys(
    made: tuple[Founded, NodeFolder],
) -> None:
    """After two weeks init makes a fresh request, for which it needs the root key back."""
    gateway, place = made
    old = place.request().read_bytes()
    certificate = read(old).partner.user_authority  # type: ignore[attr-defined]
    later = time.time() + 15 * DAY
    root = place.root_key.read_bytes()
    place.root_key.unlink()
    with pytest.raises(Misconfigured, match="root key") as caught:
        found(place, card(), gateway.invitation, certificate, now=later)
    assert caught.value.code == "ROOT_KEY_AWAY"
    place.root_key.write_bytes(root)
    place.root_key.chmod(0o600)
    request, new = found(place, card(), gateway.invitation, certificate, now=later)
    assert new
    assert root_phrase(place.request().read_bytes()) == root_phrase(old)
    assert request.digest != signing.digest(old)


def test_init_does_not_touch_a_folder_of_something_else(tmp_path: Path, gateway: Founded) -> None:
    """A folder with other things in it stays as it is."""
    (tmp_path / "precious").write_text("data")
    with pytest.raises(Misconfigured) as caught:
        node(tmp_path, gateway.invitation)
    assert caught.value.code == "FOLDER_IN_THE_WAY"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


# ── The telephone ────────────────────────────────────────────────────────────────────────────


def test_another_invitation_has_another_phrase(gateway: Founded) -> None:
    """Changing anything an invitation says changes the phrase that is read to the newcomer."""
    true = gateway.invitation
    text = true.render().decode()
    for old, new in (
        (true.operators[0].hex(), "ab" * 32),
        (true.policy_officers[1].key.hex(), "cd" * 32),
        (true.federation_ca.hex(), "ef" * 32),
        (true.gateway, "evil.example:7443"),
    ):
        changed = Invitation.parse(text.replace(old, new).encode())
        with pytest.raises(Forged) as caught:
            compare(true.phrase, changed.fingerprint, code="INVITATION_PHRASE")
        assert caught.value.code == "INVITATION_PHRASE"
    compare(true.phrase.upper(), true.fingerprint, code="INVITATION_PHRASE")


def test_a_request_under_another_root_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """A request swapped on its way does not have the phrase the partner reads out."""
    gateway, place = made
    other = check_phrase(signing.digest(b"another root"))
    with pytest.raises(Forged) as caught:
        gateway.admit(place.request().read_bytes(), by=0, spoken=other)
    assert caught.value.code == "ROOT_PHRASE"
    assert caught.value.remedy
    assert gateway.books().desk().pending() == []


def test_a_compared_phrase_pins_and_a_wrong_one_writes_nothing(tmp_path: Path) -> None:
    """A newcomer pins whom it telephoned; a phrase that differs stops everything."""
    gateway = founded(tmp_path / "gateway")
    first = node(tmp_path / "police", gateway.invitation, "police")
    enrol(first, gateway.admission(first))
    second = node(tmp_path / "customs", gateway.invitation)
    admission = gateway.admission(second)
    wrong = check_phrase(signing.digest(b"another root"))
    with pytest.raises(Forged) as caught:
        enrolling.enrol(second, admission, spoken=[f"police {wrong}"], now=time.time())
    assert caught.value.code == "ROOT_PHRASE"
    assert not second.used.exists()
    assert not (second.keys / "tls.pem").exists()
    right = root_phrase(first.request().read_bytes())
    done = enrolling.enrol(second, admission, spoken=[f"police {right}"], now=time.time())
    assert set(done.pins) == {"police"}


def test_nobody_is_pinned_whom_nobody_compared(tmp_path: Path) -> None:
    """Without phrases and without the operators' word, the others stay unpinned."""
    gateway = founded(tmp_path / "gateway")
    first = node(tmp_path / "police", gateway.invitation, "police")
    enrol(first, gateway.admission(first))
    second = node(tmp_path / "customs", gateway.invitation)
    done = enrolling.enrol(second, gateway.admission(second), now=time.time())
    assert done.pins == {}
    assert "police" not in (second.federation / "pins.toml").read_text()


# ── Files that are wrong ─────────────────────────────────────────────────────────────────────


def test_a_pin_for_nobody_listed_is_not_taken_on_anybodys_word(tmp_path: Path) -> None:
    """Operators cannot plant, unseen, the root of a partner they will list later."""
    gateway = founded(tmp_path / "gateway")
    planted = gateway.config.pins
    Trust.load(planted).with_root("ghost", bytes(32)).save(planted)
    place = node(tmp_path / "customs", gateway.invitation)
    enrol(place, gateway.admission(place))
    assert set(Trust.load(place.federation / "pins.toml").roots) == {"customs"}


def test_an_expired_request_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """A request lives two weeks."""
    gateway, place = made
    data = place.request().read_bytes()
    with pytest.raises(Stale) as caught:
        gateway.admit(data, by=0, now=time.time() + LIFETIME_S + 1)
    assert caught.value.code == "REQUEST_EXPIRED"
    assert "fairlead-node init" in caught.value.remedy


@pytest.mark.parametrize(("skew", "code"), [(-119, None), (-122, "CLOCK_SKEW")])
def test_clocks_may_differ_by_two_minutes(
    made: tuple[Founded, NodeFolder], skew: float, code: str | None
) -> None:
    """A request from a clock that runs ahead by more is refused, and says so."""
    _, place = made
    data = place.request().read_bytes()
    if code is None:
        read(data, after=skew)
        return
    with pytest.raises(Stale) as caught:
        read(data, after=skew)
    assert caught.value.code == code
    assert "timedatectl" in caught.value.remedy


def test_an_edited_request_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """No octet of a request can be changed without its root noticing."""
    _, place = made
    data = place.request().read_bytes()
    for position in range(0, len(data), 37):
        with pytest.raises(FairleadError):
            read(flip(data, position))


def test_an_edited_admission_is_refused_and_changes_nothing(
    made: tuple[Founded, NodeFolder],
) -> None:
    """Whatever octet of an admission is changed, nothing is written at the node."""
    gateway, place = made
    data = gateway.admission(place)
    step = max(1, len(data) // 60)
    for position in [*range(0, len(data), step), *range(0, 3000, 101)]:
        with pytest.raises(FairleadError):
            enrol(place, flip(data, position))
        assert not place.used.exists()
        assert not (place.keys / "tls.pem").exists()


def admission(data: bytes) -> enrolment_pb2.SignedAdmission:
    return enrolment_pb2.SignedAdmission.FromString(data)


def resign(
    gateway: Founded, data: bytes, change: Callable[[enrolment_pb2.Admission], object]
) -> bytes:
    """An admission whose content is another, signed by both real operators."""
    signed = admission(data)
    content = enrolment_pb2.Admission.FromString(signed.admission)
    change(content)
    octets = signing.canonical(content)
    del signed.signatures[:]
    for key in gateway.operators:
        signed.signatures.append(sign_as_operator(key, "admission", octets))
    signed.admission = octets
    return signing.canonical(signed)


def test_two_bought_operators_cannot_change_the_own_entry(tmp_path: Path) -> None:
    """An admission whose directory lists other keys for the newcomer is refused at the node."""
    gateway = founded(tmp_path / "gateway")
    place = node(tmp_path / "node", gateway.invitation)
    imposter = node(tmp_path / "imposter", gateway.invitation)
    theirs = gateway.admission(imposter)
    request = read_request(place.request().read_bytes(), federation=FEDERATION, now=time.time())
    forged = resign(gateway, theirs, lambda c: setattr(c, "request_digest", request.digest))
    with pytest.raises(Forged) as caught:
        enrol(place, forged)
    assert caught.value.code == "ROOT_PIN"


def test_an_admission_for_another_request_is_refused(tmp_path: Path) -> None:
    """A node takes up the answer to its own request and no other."""
    gateway = founded(tmp_path / "gateway")
    first = node(tmp_path / "first", gateway.invitation, "police")
    second = node(tmp_path / "second", gateway.invitation)
    gateway.admission(second)
    with pytest.raises(Forged) as caught:
        enrol(second, gateway.admission(first))
    assert caught.value.code == "OTHER_REQUEST"


def test_an_expired_admission_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """An admission lives two weeks; after that the node asks again."""
    gateway, place = made
    data = resign(
        gateway, gateway.admission(place), lambda c: setattr(c, "expires_at", int(time.time()))
    )
    with pytest.raises(Stale) as caught:
        enrol(place, data)
    assert caught.value.code == "ADMISSION_EXPIRED"


def test_an_admission_by_strangers_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """Only the operators of the invitation can admit, whatever keys others hold."""
    gateway, place = made
    data = gateway.admission(place)
    strangers = Founded(
        folder=gateway.folder,
        invitation=gateway.invitation,
        operators=(Ed25519PrivateKey.generate(), gateway.operators[0]),
    )
    with pytest.raises(Forged) as caught:
        enrol(place, resign(strangers, data, lambda _: None))
    assert caught.value.code == "OPERATOR_QUORUM"


def test_a_second_use_says_so_and_changes_nothing(made: tuple[Founded, NodeFolder]) -> None:
    """The admission that enrolled a node does not do it again, nor does another."""
    gateway, place = made
    data = gateway.admission(place)
    enrol(place, data)
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    assert enrolling.used_before(place, data)
    for again in (data, resign(gateway, data, lambda c: setattr(c, "issued_at", c.issued_at - 1))):
        with pytest.raises(Conflict) as caught:
            enrol(place, again)
        assert caught.value.code == "ADMISSION_USED"
    assert {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()} == before


def test_a_policy_under_other_officers_is_refused(made: tuple[Founded, NodeFolder]) -> None:
    """A bundle that the invitation's officers did not sign is not written in place."""
    gateway, place = made
    signed = admission(gateway.admission(place))
    for file in signed.policy:
        if file.name == "manifest.json":
            file.content = file.content.replace(b'"signature": "', b'"signature": "00')
    with pytest.raises(FairleadError):
        enrol(place, signing.canonical(signed))
    signed.policy[0].name = "../../escaped"
    with pytest.raises(FairleadError) as caught:
        enrol(place, signing.canonical(signed))
    assert caught.value.code == "POLICY_MALFORMED"
    assert not (place.root.parent / "escaped").exists()


# ── Any octets ───────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=300))
def test_any_octets_are_no_invitation(data: bytes) -> None:
    """The invitation's parser raises nothing but its own error."""
    with pytest.raises(InvalidInput):
        Invitation.parse(data)


@given(data=st.binary(max_size=300))
def test_any_octets_are_no_request_and_no_admission(gateway: Founded, data: bytes) -> None:
    """Both parsers are total: whatever arrives, only our own errors leave."""
    with pytest.raises(FairleadError):
        read_request(data, federation=FEDERATION, now=0)
    with pytest.raises(FairleadError):
        read_admission(data, request=None, invitation=gateway.invitation, now=0)  # type: ignore[arg-type]
