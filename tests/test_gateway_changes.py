"""Operators change the federation together: two keys, one draft, nothing alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import process, signing
from fairlead.appointed import Appointed
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Misconfigured, Refused
from fairlead.lists import sign_entry
from fairlead.v1 import directory_pb2, enrolment_pb2
from gateway import changes
from gateway.changes import Outcome
from gateway.founding import Charter, found, new_operator
from node.founding import NodeFolder
from tests.federation import ROOT
from tests.founders import FEDERATION, Founded, enrol, founded, node

DAY = 86_400
NODE = f"spiffe://{FEDERATION}/partner/customs/node/node-1"


@pytest.fixture
def gateway(tmp_path: Path) -> Founded:
    return founded(tmp_path / "gateway")


def act(
    gateway: Founded, by: int, what: Callable[..., Outcome], *args: object, **more: object
) -> Outcome:
    books = gateway.books()
    with books.desk().alone():
        return what(books, *args, gateway.operators[by], now=time.time(), **more)


def listed(gateway: Founded, tmp_path: Path) -> NodeFolder:
    place = node(tmp_path / "node", gateway.invitation)
    enrol(place, gateway.admission(place))
    return place


def denied(gateway: Founded) -> list[str]:
    return list(gateway.books().denied.spiffe_ids)


def test_a_founded_gateway_may_start_without_any_partner(gateway: Founded) -> None:
    """Keys, first directory, deny list, policy and configuration verify as they were made."""
    from gateway.app import own_keys

    member = process.join(gateway.config, time.time)
    assert own_keys(gateway.config, member)[0].spiffe_id == f"spiffe://{FEDERATION}/gateway/gw-1"
    assert (member.directory.current.serial, dict(member.directory.current.partners)) == (1, {})
    process.load_policy(gateway.config, member.trust, now=time.time())


def test_founding_again_changes_nothing(gateway: Founded) -> None:
    """A second init in the same folder leaves every octet; another federation's is refused."""
    before = {p: p.read_bytes() for p in gateway.folder.rglob("*") if p.is_file()}
    assert founded(gateway.folder).invitation == gateway.invitation
    assert {p: p.read_bytes() for p in gateway.folder.rglob("*") if p.is_file()} == before


def test_a_founding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Without usable policies no folder is left behind, so that init can simply be run again."""
    charter = Charter(
        federation=FEDERATION, name="gw-1", listen="127.0.0.1:0", endpoint="127.0.0.1:7499",
        hosts=(), operators=(), policies=tmp_path / "nothing", agreements=(),
    )  # fmt: skip
    with pytest.raises(Misconfigured):
        found(tmp_path / "gateway", charter, now=time.time())
    assert list(tmp_path.iterdir()) == []


def test_operators_with_keys_of_their_own_sign_the_first_directory(tmp_path: Path) -> None:
    """When init never saw the operators' keys, nothing starts before both have signed."""
    publics = tuple(new_operator(tmp_path / name) for name in ("a", "b"))
    charter = Charter(
        federation=FEDERATION, name="gw-1", listen="127.0.0.1:0", endpoint="127.0.0.1:7499",
        hosts=(), operators=publics, policies=ROOT / "policies", agreements=(),
    )  # fmt: skip
    invitation, signed = found(tmp_path / "gateway", charter, now=time.time())
    assert not signed
    assert not (tmp_path / "gateway" / "hand-over" / "operator-1").exists()
    keys = tuple(signing.load_signing_key(tmp_path / n / "operator.key") for n in ("a", "b"))
    gateway = Founded(folder=tmp_path / "gateway", invitation=invitation, operators=keys)
    with pytest.raises(FairleadError):
        process.join(gateway.config, time.time)
    assert not act(gateway, 0, changes.renew).published
    assert act(gateway, 1, changes.renew).published
    assert process.join(gateway.config, time.time).directory.current.serial == 1


def test_one_operator_admits_nobody(gateway: Founded, tmp_path: Path) -> None:
    """The first signature is a draft, a second by the same operator changes nothing."""
    place = node(tmp_path / "node", gateway.invitation)
    data = place.request().read_bytes()
    before = gateway.config.directory.read_bytes()
    first = gateway.admit(data, by=0)
    again = gateway.admit(data, by=0)
    assert (first.published, first.again) == (False, False)
    assert (again.published, again.again) == (False, True)
    assert gateway.config.directory.read_bytes() == before
    assert [draft.kind for draft in gateway.books().desk().pending()] == ["admit"]


def test_the_second_operator_completes_and_the_gateway_pins(
    gateway: Founded, tmp_path: Path
) -> None:
    """After the second signature the next serial is published, pinned and verifies."""
    place = node(tmp_path / "node", gateway.invitation)
    data = place.request().read_bytes()
    gateway.admit(data, by=1)
    assert gateway.admit(data, by=0).published
    member = process.join(gateway.config, time.time)
    assert (member.directory.current.serial, list(member.directory.current.partners)) == (
        2,
        ["customs"],
    )
    assert gateway.books().desk().pending() == []
    repeated = gateway.admit(data, by=0)
    assert (repeated.published, repeated.again, repeated.serial) == (True, True, 2)


def test_a_strangers_key_signs_nothing(gateway: Founded, tmp_path: Path) -> None:
    """A key that is no operator's leaves not even a draft."""
    stranger = Founded(
        folder=gateway.folder,
        invitation=gateway.invitation,
        operators=(Ed25519PrivateKey.generate(),),
    )
    place = node(tmp_path / "node", gateway.invitation)
    with pytest.raises(Refused) as caught:
        stranger.admit(place.request().read_bytes(), by=0)
    assert caught.value.code == "OPERATOR_UNKNOWN"
    assert gateway.books().desk().pending() == []


def test_an_edited_draft_is_signed_by_nobody(gateway: Founded, tmp_path: Path) -> None:
    """Whoever changes the directory inside a draft makes the second operator a first one."""
    place = node(tmp_path / "node", gateway.invitation)
    other = node(tmp_path / "other", gateway.invitation, "police")
    data = place.request().read_bytes()
    gateway.admit(data, by=0)
    gateway.admit(other.request().read_bytes(), by=0)
    folder = gateway.config.state_dir / "drafts"
    mine = enrolment_pb2.Draft.FromString((folder / "admit-customs.draft").read_bytes())
    theirs = enrolment_pb2.Draft.FromString((folder / "admit-police.draft").read_bytes())
    mine.parts[0].CopyFrom(theirs.parts[0])
    (folder / "admit-customs.draft").write_bytes(signing.canonical(mine))
    outcome = gateway.admit(data, by=1)
    assert (outcome.published, outcome.again) == (False, False)
    assert list(gateway.books().entries()) == []


def test_a_draft_overtaken_by_another_change_starts_over(gateway: Founded, tmp_path: Path) -> None:
    """Two admissions drafted side by side never produce two directories of one serial."""
    first = node(tmp_path / "node", gateway.invitation).request().read_bytes()
    second = node(tmp_path / "other", gateway.invitation, "police").request().read_bytes()
    gateway.admit(first, by=0)
    gateway.admit(second, by=0)
    assert gateway.admit(first, by=1).serial == 2
    assert not gateway.admit(second, by=1).published
    assert gateway.admit(second, by=0).serial == 3
    assert sorted(gateway.books().entries()) == ["customs", "police"]


def test_a_listed_partner_is_not_admitted_under_another_root(
    gateway: Founded, tmp_path: Path
) -> None:
    """A second request for a listed id is a conflict, whoever reads out its phrase."""
    listed(gateway, tmp_path)
    imposter = node(tmp_path / "imposter", gateway.invitation)
    with pytest.raises(Conflict) as caught:
        gateway.admit(imposter.request().read_bytes(), by=0)
    assert caught.value.code == "ALREADY_LISTED"


def test_suspending_takes_two_and_resuming_too(gateway: Founded, tmp_path: Path) -> None:
    """The deny list names the partner's node only once both operators signed it."""
    listed(gateway, tmp_path)
    assert not act(gateway, 0, changes.suspend, "customs").published
    assert denied(gateway) == []
    assert act(gateway, 1, changes.suspend, "customs").published
    assert denied(gateway) == [NODE]
    assert act(gateway, 1, changes.suspend, "customs").again
    assert not act(gateway, 1, changes.suspend, "customs", resume=True).published
    assert act(gateway, 0, changes.suspend, "customs", resume=True).published
    assert denied(gateway) == []
    assert gateway.books().denied.serial == 3


def test_two_reasons_are_two_drafts(gateway: Founded, tmp_path: Path) -> None:
    """Operators who state different reasons do not agree, and free text is no reason."""
    listed(gateway, tmp_path)
    act(gateway, 0, changes.suspend, "customs", reason="KEY_STOLEN")
    assert not act(gateway, 1, changes.suspend, "customs", reason="CONTRACT_ENDED").published
    with pytest.raises(InvalidInput):
        act(gateway, 0, changes.suspend, "customs", reason="because of u-c01")


def next_entry(place: NodeFolder, gateway: Founded, **changed: object) -> bytes:
    old = gateway.books().entries()["customs"]
    entry = directory_pb2.PartnerEntry.FromString(old.entry)
    entry.sequence += 1
    entry.previous_digest = signing.digest(old.entry)
    for name, value in changed.items():
        setattr(entry, name, value)
    root = signing.load_signing_key(place.root_key)
    return signing.canonical(sign_entry(entry, root))


def test_a_partner_changes_its_keys_under_its_root(gateway: Founded, tmp_path: Path) -> None:
    """The next entry of a listed partner is published by two operators; the root stays."""
    place = listed(gateway, tmp_path)
    fresh = signing.public_bytes(Ed25519PrivateKey.generate())
    data = next_entry(place, gateway, signing_key=fresh)
    act(gateway, 0, changes.update, data)
    assert act(gateway, 1, changes.update, data).published
    assert gateway.books().partner("customs").signing_key == fresh
    assert act(gateway, 0, changes.update, data).again


def test_an_entry_out_of_order_or_under_another_root_is_refused(
    gateway: Founded, tmp_path: Path
) -> None:
    """Operators cannot list an entry that skips one, or that the partner's root did not sign."""
    place = listed(gateway, tmp_path)
    with pytest.raises(Forged) as caught:
        act(gateway, 0, changes.update, next_entry(place, gateway, sequence=5))
    assert caught.value.code == "ENTRY_CHAIN"
    other = Ed25519PrivateKey.generate()
    entry = directory_pb2.SignedPartnerEntry.FromString(next_entry(place, gateway))
    entry.root_signature = signing.sign(other, "partner-entry", entry.entry)
    with pytest.raises(Forged):
        act(gateway, 0, changes.update, signing.canonical(entry))


def test_an_expired_directory_can_still_be_renewed(tmp_path: Path) -> None:
    """Operators who come too late renew all the same; the same partners stay listed."""
    gateway = founded(tmp_path / "gateway", now=time.time() - 40 * DAY)
    with pytest.raises(FairleadError):
        process.join(gateway.config, time.time)
    act(gateway, 0, changes.renew)
    assert act(gateway, 1, changes.renew).serial == 2
    process.join(gateway.config, time.time)


def test_books_that_two_operators_did_not_sign_are_no_books(gateway: Founded) -> None:
    """A directory edited on the gateway's disk is never the base of the next one."""
    signed = directory_pb2.SignedDirectory.FromString(gateway.config.directory.read_bytes())
    content = directory_pb2.Directory.FromString(signed.directory)
    content.release_tick_ms = 0
    signed.directory = signing.canonical(content)
    gateway.config.directory.write_bytes(signing.canonical(signed))
    with pytest.raises(Forged):
        gateway.books()


def test_two_operators_appoint_committee_and_witnesses(gateway: Founded) -> None:
    """One operator appoints nobody; what two appointed outlives a renewal; never a stranger."""
    with pytest.raises(InvalidInput):
        act(gateway, 0, changes.appoint, Appointed(witnesses=("nobody",)))
    assert not act(gateway, 0, changes.appoint, Appointed()).published
    assert act(gateway, 1, changes.appoint, Appointed()).published
    act(gateway, 0, changes.renew)
    assert act(gateway, 1, changes.renew).serial == 3
