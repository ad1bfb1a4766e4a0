"""Renewing a certificate: when it is due, for whom, and what a crash in between leaves behind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from fairlead import authority, renewal, signing, tls
from fairlead.certificates import SpiffeId
from fairlead.errors import FairleadError, InvalidInput, Refused
from tests.walks import NOW

NODE = SpiffeId.parse("spiffe://fairlead.demo/partner/customs/node/node-1")
OTHER = SpiffeId.parse("spiffe://fairlead.demo/partner/police/node/node-1")
CA = authority.create_ca(common_name="CA", now=NOW, lifetime=timedelta(days=30))


def issue(request: renewal.Request, *, days: float = 9) -> x509.Certificate:
    return authority.issue_node(
        CA,
        federation="fairlead.demo",
        partner_id="customs",
        name="node-1",
        public_key=authority.public_key_of_request(request.pem),
        hosts=["localhost", "127.0.0.1"],
        now=NOW,
        lifetime=timedelta(days=days),
    )


def test_a_certificate_is_due_when_a_third_of_its_life_is_left() -> None:
    """Nine days live six before they are renewed, for nine days and the same hosts again."""
    held = issue(renewal.Request.make(NODE))
    assert not renewal.due(held, NOW + 5.9 * 86_400)
    assert renewal.due(held, NOW + 6 * 86_400)
    assert renewal.lifetime(held) == timedelta(days=9)
    assert renewal.lifetime(issue(renewal.Request.make(NODE), days=365)) == renewal.MAX_LIFETIME
    assert renewal.hosts(held, NODE) == ["localhost", "127.0.0.1"]


def test_a_request_names_its_caller_and_nobody_else() -> None:
    """A request for another id is refused, whatever else it says."""
    renewal.check_request_names(renewal.Request.make(NODE).pem, str(NODE))
    with pytest.raises(Refused) as refused:
        renewal.check_request_names(renewal.Request.make(OTHER).pem, str(NODE))
    assert refused.value.code == "RENEW_OTHER"


@given(st.binary(max_size=4096))
def test_reading_a_request_is_total(data: bytes) -> None:
    """Any octets are an error of ours or a request."""
    with pytest.raises(FairleadError):
        renewal.check_request_names(data, str(NODE))


def test_a_renewed_certificate_is_the_one_asked_for() -> None:
    """Another key's, another id's, an expired one or garbage is not put in place."""
    request = renewal.Request.make(NODE)
    good = issue(request).public_bytes(Encoding.PEM)
    renewal.check_renewed(good, request, NODE, NOW)
    for pem, spiffe_id, now in (
        (issue(renewal.Request.make(NODE)).public_bytes(Encoding.PEM), NODE, NOW),
        (good, OTHER, NOW),
        (good, NODE, NOW + 10 * 86_400),
        (b"garbage", NODE, NOW),
    ):
        with pytest.raises(InvalidInput):
            renewal.check_renewed(pem, request, spiffe_id, now)


@pytest.mark.parametrize("crash", ["none", "before-key", "between", "torn", "key-only"])
def test_a_crash_while_renewing_leaves_a_pair_that_fits(tmp_path: Path, crash: str) -> None:
    """At every point the folder holds, or a start restores, a key and its certificate."""
    old, new = renewal.Request.make(NODE), renewal.Request.make(NODE)
    chains = {r: issue(r).public_bytes(Encoding.PEM) for r in (old, new)}
    tls.install(tmp_path, chain=chains[old], key=old.key_pem())
    if crash == "none":
        tls.install(tmp_path, chain=chains[new], key=new.key_pem())
    elif crash == "key-only":
        (tmp_path / "tls.next.key").write_bytes(new.key_pem())
    elif crash == "torn":
        (tmp_path / "tls.next.pem").write_bytes(chains[new])
        (tmp_path / "tls.next.key").write_bytes(renewal.Request.make(NODE).key_pem())
    else:
        (tmp_path / "tls.next.pem").write_bytes(chains[new])
        where = "tls.next.key" if crash == "before-key" else "tls.key"
        (tmp_path / where).touch(mode=0o600)
        (tmp_path / where).write_bytes(new.key_pem())
    tls.finish_renewal(tmp_path)
    loaded = tls.KeyMaterial.load(tmp_path / "tls.pem", tmp_path / "tls.key", [CA.certificate])
    kept = old if crash in {"torn", "key-only"} else new
    assert loaded.chain == chains[kept]
    assert not list(tmp_path.glob("tls.next.*"))


def test_half_a_renewal_leaves_the_last_good_material_in_use(tmp_path: Path) -> None:
    """A handshake that meets a key without its certificate goes on with the pair before."""
    old, new = renewal.Request.make(NODE), renewal.Request.make(NODE)
    tls.install(tmp_path, chain=issue(old).public_bytes(Encoding.PEM), key=old.key_pem())
    now = [0.0]
    live = tls.LiveMaterial(
        tmp_path / "tls.pem", tmp_path / "tls.key", lambda: [CA.certificate], clock=lambda: now[0]
    )
    before = live()
    (tmp_path / "tls.key").write_bytes(new.key_pem())
    now[0] += tls.LOOK_S
    assert live() is before
    fresh = issue(new).public_bytes(Encoding.PEM)
    authority.save_certificate(tmp_path / "tls.pem", x509.load_pem_x509_certificate(fresh))
    now[0] += tls.LOOK_S
    assert live().chain == fresh
    assert signing.digest(live().key) != signing.digest(before.key)
