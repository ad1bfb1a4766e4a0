"""The manifest: what an owner signs of a snapshot, and what its reader refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fairlead import signing
from fairlead.audience import Audience
from fairlead.blinding import derive_key
from fairlead.envelope.manifest import Manifest, read_manifest, sign_manifest, verify_manifest
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Refused, Stale
from fairlead.identifiers import NORM_VERSION
from fairlead.v1 import blind_pb2 as pb
from tests.blind import require_libsodium
from tests.walks import ASKER, NOW, OWNER, World, make_world

require_libsodium()
DAY_S = 86_400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("manifest"), partners=("customs", OWNER))


def manifest(world: World, **changes: object) -> Manifest:
    node = world.directory.partner(OWNER).nodes[0].spiffe_id
    honest = Manifest(
        federation=world.directory.federation,
        owner=OWNER,
        node=node.removeprefix(f"spiffe://{world.directory.federation}/"),
        audience=Audience(
            partners=(ASKER, "police"), purposes=("drug-trafficking",), policy_serial=1
        ),
        epoch=2967,
        begins_at=int(NOW) - DAY_S,
        ends_at=int(NOW) + 6 * DAY_S,
        answers_until=int(NOW) + 7 * DAY_S,
        scheme="container",
        norm_version=NORM_VERSION,
        serial=1,
        predecessor=b"",
        public_key=derive_key(bytes(32), b"manifest").public,
        entry_count=1_024,
        snapshot_digest=bytes(32),
        contact_desks=("desk@terminal-north.example",),
        made_at=int(NOW),
    )
    return replace(honest, **changes)  # type: ignore[arg-type]


def signed(world: World, content: bytes, key: str = OWNER) -> pb.SignedBlindManifest:
    signature = signing.sign(world.signing_key(key), "blind-manifest", content)
    return pb.SignedBlindManifest(manifest=content, signature=signature)


def verify(
    world: World, message: pb.SignedBlindManifest, *, now: float = NOW, reader: str = ASKER,
    previous: Manifest | None = None,
) -> Manifest:  # fmt: skip
    return verify_manifest(
        message, directory=world.directory, partner_id=reader, now=now, previous=previous
    )


def test_what_is_signed_is_read(world: World) -> None:
    """Every field comes back, with the digest that the next manifest names."""
    message, digest = sign_manifest(manifest(world), world.signing_key(OWNER))
    found = verify(world, message)
    assert found == replace(manifest(world), digest=digest)
    assert read_manifest(message) == found


def test_only_its_owner_signs_a_manifest(world: World) -> None:
    """Another partner's key, another domain, and a single changed octet are Forged."""
    content = manifest(world).to_wire()
    key = world.signing_key(OWNER)
    for message in (
        signed(world, content, key="customs"),
        pb.SignedBlindManifest(manifest=content, signature=signing.sign(key, "answer", content)),
        pb.SignedBlindManifest(manifest=content, signature=bytes(64)),
        pb.SignedBlindManifest(
            manifest=manifest(world, entry_count=1_152).to_wire(),
            signature=signed(world, content).signature,
        ),
    ):
        with pytest.raises(Forged):
            verify(world, message)


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"owner": "nobody"}, NotFound, "UNKNOWN_PARTNER"),
        ({"federation": "elsewhere"}, Forged, "MANIFEST_OWNER"),
        ({"node": "partner/customs/node/n1"}, Forged, "MANIFEST_OWNER"),
        ({"norm_version": NORM_VERSION + 1}, Stale, "NORM_VERSION"),
        ({"norm_version": 0}, Stale, "NORM_VERSION"),
        ({"public_key": bytes(32)}, InvalidInput, "BLIND_KEY"),
        ({"public_key": b""}, InvalidInput, "BLIND_KEY"),
        ({"entry_count": 1_025}, InvalidInput, "SNAPSHOT_COUNT"),
        ({"entry_count": 0}, InvalidInput, "SNAPSHOT_COUNT"),
        ({"snapshot_digest": b""}, InvalidInput, "MANIFEST"),
        ({"serial": 0}, InvalidInput, "MANIFEST"),
        ({"serial": 2}, InvalidInput, "MANIFEST"),
        ({"predecessor": bytes(32)}, InvalidInput, "MANIFEST"),
        ({"ends_at": 0}, InvalidInput, "MANIFEST"),
        ({"begins_at": -1}, InvalidInput, "MANIFEST"),
        ({"answers_until": 5}, InvalidInput, "MANIFEST"),
        ({"contact_desks": ("",)}, InvalidInput, "MANIFEST"),
        ({"scheme": "Container"}, InvalidInput, "CODE"),
    ],
)
def test_a_signature_does_not_make_it_right(
    world: World, changes: dict[str, object], kind: type[FairleadError], code: str
) -> None:
    """What the owner itself signed is refused when it could mislead its reader."""
    with pytest.raises(kind) as caught:
        verify(world, signed(world, manifest(world, **changes).to_wire()))
    assert caught.value.code == code


def test_a_class_without_the_reader_is_refused(world: World) -> None:
    """Another class's snapshot cannot be passed off as one's own."""
    with pytest.raises(Refused) as caught:
        verify(world, signed(world, manifest(world).to_wire()), reader="oceanic-line")
    assert caught.value.code == "NOT_IN_AUDIENCE"


@pytest.mark.parametrize("offset", [-2 * DAY_S, 7 * DAY_S, 30 * DAY_S])
def test_an_epoch_that_is_not_now_is_refused(world: World, offset: int) -> None:
    """Before its beginning and after the overlap its key answers nothing."""
    with pytest.raises(Stale) as caught:
        verify(world, signed(world, manifest(world).to_wire()), now=NOW + offset)
    assert caught.value.code == "EPOCH_OVER"


def test_a_manifest_names_the_one_before_it(world: World) -> None:
    """An attack: a second manifest for a serial, one left out, or a branch, is refused."""
    first = verify(world, signed(world, manifest(world).to_wire()))
    second = manifest(world, serial=2, predecessor=first.digest, made_at=int(NOW) + 5)
    assert verify(world, signed(world, second.to_wire()), previous=first).serial == 2
    for wrong in (
        replace(second, predecessor=bytes(32)),
        replace(second, serial=3),
        replace(second, scheme="seal"),
        replace(second, epoch=first.epoch - 1),
        replace(second, audience=replace(second.audience, partners=(ASKER,))),
        manifest(world, entry_count=2_048),
    ):
        with pytest.raises(Forged) as caught:
            verify(world, signed(world, wrong.to_wire()), previous=first)
        assert caught.value.code == "MANIFEST_CHAIN"
    other_serial = replace(second, audience=replace(second.audience, policy_serial=2))
    verify(world, signed(world, other_serial.to_wire()), previous=first)


@pytest.mark.parametrize(
    "change",
    [
        lambda octets: octets + b"\x08\x01",
        lambda octets: octets + b"\xf8\x7f\x01",
        lambda octets: octets[:-1],
        lambda octets: b"\xff" + octets,
        lambda octets: octets + bytes(300_000),
    ],
)
def test_only_one_encoding_is_read(world: World, change: Callable[[bytes], bytes]) -> None:
    """Appended, unknown, cut or oversized octets are refused although they are signed."""
    with pytest.raises(InvalidInput):
        verify(world, signed(world, change(manifest(world).to_wire())))


def test_nothing_unreadable_is_signed(world: World) -> None:
    """A node refuses to sign what every reader would refuse."""
    for changes in ({"entry_count": 1_025}, {"serial": 2}, {"public_key": bytes(32)}):
        with pytest.raises(InvalidInput):
            sign_manifest(manifest(world, **changes), world.signing_key(OWNER))
