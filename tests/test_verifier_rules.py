"""Single rules of the verifier of evidence: histories, gateways, and certificates of people."""

from __future__ import annotations

import pytest

from fairlead.trust import Trust
from fairlead.verifier.anchors import Anchors, Listing, listing
from fairlead.verifier.answered import _require_later
from fairlead.verifier.finding import EvidenceFailed
from fairlead.verifier.note import LogHead
from fairlead.verifier.people import somebody
from tests.walks import ASKER, NOW, World, make_world

ONE, OTHER = b"1" * 32, b"2" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def listed(world: World) -> Listing:
    """The world's directory, as the verifier reads it."""
    trust = Trust.load(world.opened.layout.pins)
    anchors = Anchors(trust.federation, trust.operators, dict(trust.roots))
    return listing(world.opened.layout.directory.read_bytes(), anchors)


def head(size: int, root: bytes) -> LogHead:
    return LogHead("fairlead.demo/log", size, root, "")


@pytest.mark.parametrize(
    ("ended", "begins", "told"),
    [
        (head(4, ONE), 0, "earlier state"),
        (head(5, OTHER), 0, "another history"),
        (head(6, ONE), 0, "does not extend"),
        (head(6, ONE), 4, "does not extend"),
    ],
)
def test_an_outcome_stands_in_a_later_state_of_its_intents_log(
    ended: LogHead, begins: int, told: str
) -> None:
    """Of a smaller tree, of another tree of the same size, or without a proof from the INTENT's."""
    closing = {"consistency_from": begins, "consistency": []}
    with pytest.raises(EvidenceFailed, match=told):
        _require_later(head(5, ONE), ended, closing)
    _require_later(head(5, ONE), head(5, ONE), closing)  # the control


def test_a_gateway_is_the_one_of_its_name() -> None:
    """Two gateways of one log: an outcome is verified under the key of the one it names."""
    gateways = tuple({"spiffe_id": f"spiffe://x/gateway/gw-{n}"} for n in (1, 2))
    listed = Listing("x", 1, 0, 1, (), {}, gateways, ())
    assert listed.gateway("spiffe://x/gateway/gw-2") is gateways[1]
    with pytest.raises(EvidenceFailed):
        listed.gateway("spiffe://x/gateway/gw-3")


def test_no_certificate_raises_anything_else(world: World, listed: Listing) -> None:
    """Unknown versions, keys and curves, and any octet: read as the person's, or our own error."""
    der = world.certificate(ASKER)
    moment = int(NOW)
    assert somebody(der, listed, moment).partner_id == ASKER  # the control
    version = bytes.fromhex("a003020102")
    curve = bytes.fromhex("06082a8648ce3d030107")
    assert der.count(version) == der.count(curve) == 1
    changed = [
        der.replace(version, bytes.fromhex("a003020105")),
        der.replace(curve, bytes.fromhex("06082a8648ce3d03017f")),
        der.replace(curve, bytes.fromhex("06082a8648ce3d030101")),
        b"", der[:-1], der + b"\x00",
    ]  # fmt: skip
    changed += [der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :] for at in range(len(der))]
    for octets in changed:
        with pytest.raises(EvidenceFailed):
            somebody(octets, listed, moment)
    for odd in (-1, 2**62):
        with pytest.raises(EvidenceFailed):
            somebody(der, listed, odd)
