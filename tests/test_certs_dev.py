"""The development recipe: complete, verified, private, and never in anybody's way."""

from __future__ import annotations

import shutil
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.dev import federation as specs
from certs.dev.layout import Layout
from certs.dev.lists import deny
from certs.dev.make import OUT, main, make
from certs.dev.opened import open_federation
from fairlead import signing, tls
from fairlead.authority import load_certificate
from fairlead.certificates import IdentityKind, Role, identity_from_certificate
from fairlead.errors import Misconfigured, Stale, Unauthenticated
from fairlead.sealing import SealingKey

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The demo's whole federation."""
    return make(tmp_path_factory.mktemp("certs") / "out", now=NOW)


def octets(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_demo_federation_verifies(layout: Layout) -> None:
    """Six partners, one gateway, verified under two operators and pinned roots."""
    opened = open_federation(layout, now=NOW)
    kinds = {p.partner_id: (str(p.kind), p.country) for p in opened.directory.partners.values()}
    assert kinds == {
        "customs": ("customs", "NL"),
        "police": ("police", "NL"),
        "terminal-north": ("terminal", "NL"),
        "oceanic-line": ("shipping_line", "DK"),
        "quayguard": ("security_company", "BE"),
        "inland-port": ("inland_port", "DE"),
    }
    assert list(opened.directory.gateways) == ["spiffe://fairlead.demo/gateway/gw-1"]
    officers = {officer.key for officer in opened.policy_officers}
    assert len(set(opened.operators) | officers) == 4


def test_every_certificate_is_somebodys(layout: Layout) -> None:
    """Nodes, gateway and people are identified by the same check the servers use."""
    opened = open_federation(layout, now=NOW)
    seen: dict[str, tuple[IdentityKind, frozenset[Role]]] = {}
    for path in [*layout.root.rglob("tls.pem"), *layout.root.rglob("user.pem")]:
        der = load_certificate(path).public_bytes(Encoding.DER)
        identity = identity_from_certificate(der, directory=opened.directory, now=NOW)
        seen[identity.spiffe_id] = (identity.kind, identity.roles)
    people = {
        spiffe_id.rpartition("/")[2]: roles
        for spiffe_id, (kind, roles) in seen.items()
        if kind is IdentityKind.USER
    }
    assert people == {
        "u-c01": {Role.ANALYST},
        "u-c02": {Role.APPROVER},
        "u-c03": {Role.ANALYST},
        "u-c06": {Role.AUDITOR},
        "u-p01": {Role.ANALYST},
        "u-p02": {Role.APPROVER},
    }
    assert len(seen) == 1 + 6 + 6


def test_private_halves_match_the_directory(layout: Layout) -> None:
    """Signing, sealing, witness, log and oversight keys are those the directory publishes."""
    opened = open_federation(layout, now=NOW)
    for partner_id, partner in opened.directory.partners.items():
        node = layout.node(partner_id)
        signing_key = signing.load_signing_key(node / "signing.key")
        assert signing.public_bytes(signing_key) == partner.signing_key
        witness = signing.load_signing_key(node / "witness.key")
        assert signing.public_bytes(witness) == partner.witness_key
        assert SealingKey.load(node / "sealing.seed").public_bytes() == partner.sealing_key
        oversight = layout.partner(partner_id) / "oversight" / "oversight.seed"
        assert SealingKey.load(oversight).public_bytes() == partner.oversight_key
        root = signing.load_signing_key(layout.partner(partner_id) / "root" / "root.key")
        assert signing.digest(signing.public_bytes(root)) == opened.pins[partner_id]
    gateway = opened.directory.gateway
    log = signing.load_signing_key(layout.gateway("gw-1") / "log.key")
    assert signing.public_bytes(log) == gateway.log_key


def test_everything_is_private_and_marked(layout: Layout) -> None:
    """Files are 0600, folders 0700, and every folder with a file in it carries the marker."""
    for path in [layout.root, *layout.root.rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
        if path.is_file():
            assert (path.parent / tls.DEVELOPMENT_MARKER).is_file()


def test_running_again_changes_nothing(tmp_path: Path) -> None:
    """A second run with the same wishes leaves every octet; --force makes new keys."""
    out = tmp_path / "out"
    partners = specs.demo_partners()[:1]
    make(out, partners=partners, now=NOW)
    before = octets(out)
    make(out, partners=partners, now=NOW + 3600)
    assert octets(out) == before
    make(out, partners=partners, now=NOW + 3600, force=True)
    after = octets(out)
    assert after.keys() == before.keys()
    keys = [name for name in before if name.endswith((".key", ".seed"))]
    assert all(after[name] != before[name] for name in keys)


def test_other_wishes_and_expiry_need_force(tmp_path: Path) -> None:
    """Another federation, or one that has expired, is reported and left as it is."""
    out = tmp_path / "out"
    partners = specs.demo_partners()[:1]
    make(out, partners=partners, now=NOW)
    before = octets(out)
    with pytest.raises(Misconfigured) as caught:
        make(out, partners=partners, now=NOW, federation="other.demo")
    assert caught.value.code == "OUT_DIFFERS"
    with pytest.raises(Misconfigured) as caught:
        make(out, partners=partners, now=NOW + 7 * 86_400 - 60)
    assert caught.value.code == "OUT_EXPIRED"
    assert octets(out) == before


def test_a_damaged_folder_is_not_mistaken_for_a_good_one(tmp_path: Path) -> None:
    """Without its record of what was made, the folder is replaced only by force."""
    out = tmp_path / "out"
    partners = specs.demo_partners()[:1]
    layout = make(out, partners=partners, now=NOW)
    layout.made.write_bytes(b"[]")
    with pytest.raises(Misconfigured):
        make(out, partners=partners, now=NOW)
    make(out, partners=partners, now=NOW, force=True)


def test_force_never_deletes_what_it_did_not_make(tmp_path: Path) -> None:
    """A folder without the marker stays, whatever is asked."""
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for force in (False, True):
        with pytest.raises(Misconfigured) as caught:
            make(tmp_path, now=NOW, force=force)
        assert caught.value.code == "OUT_IN_THE_WAY"
    assert (tmp_path / "photo.jpg").read_bytes() == b"x"


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    """All or nothing: a wish that cannot be met leaves no half-made folder."""
    with pytest.raises(Exception, match="misspelt"):
        make(tmp_path / "out", federation="NOT A NAME", now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_the_default_output_is_ignored_by_git() -> None:
    """Keys are made where git does not look."""
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text("utf-8").splitlines()
    assert OUT.relative_to(Path(__file__).parent.parent).as_posix() + "/" in ignored


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command makes, repeats, and names the next command when it refuses."""
    out = str(tmp_path / "out")
    assert main(["--out", out]) == 0
    assert main(["--out", out]) == 0
    assert main(["--out", out, "--gateway-port", "9000"]) == 3
    assert "--force" in capsys.readouterr().err
    assert main(["--out", out, "--gateway-port", "9000", "--force"]) == 0
    opened = open_federation(Layout(Path(out)), now=time.time())
    endpoints = sorted(p.nodes[0].endpoint for p in opened.directory.partners.values())
    assert endpoints == [f"127.0.0.1:{port}" for port in range(9001, 9007)]


def test_denying_replaces_the_lists(tmp_path: Path) -> None:
    """A denied user and a denied node are refused; an older list is not taken back."""
    layout = make(tmp_path / "out", partners=specs.demo_partners()[:2], now=NOW)
    opened = open_federation(layout, now=NOW)
    first = layout.deny_lists.read_bytes()
    user = "spiffe://fairlead.demo/partner/customs/user/u-c03"
    node = "spiffe://fairlead.demo/partner/police/node/node-1"
    data = deny(layout, [user, node], serial=2, now=NOW, lifetime=timedelta(minutes=1))
    opened.deny_lists.update(data, directory=opened.directory, operators=opened.operators, now=NOW)
    for spiffe_id in (user, node):
        with pytest.raises(Unauthenticated):
            opened.deny_lists.check(spiffe_id, NOW)
    opened.deny_lists.check(str(opened.node_id("customs")), NOW)
    with pytest.raises(Stale):
        opened.deny_lists.update(
            first, directory=opened.directory, operators=opened.operators, now=NOW
        )


def test_a_copied_key_folder_stays_marked(layout: Layout, tmp_path: Path) -> None:
    """A node's folder handed to a server elsewhere still keeps it on loopback."""
    shutil.copytree(layout.node("customs"), tmp_path / "keys")
    with pytest.raises(Misconfigured) as caught:
        tls.refuse_non_loopback("0.0.0.0:7401", keys=tmp_path / "keys")
    assert caught.value.code == "DEVELOPMENT_KEYS"
