"""Bundles: only what two people signed, not older, not expired, not touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from policy_cases import EXAMPLE, POLICIES

from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.policy.bundle import Manifest, load_bundle, publish, sign_manifest
from fairlead.policy.points import PolicyPoints
from fairlead.signing import public_bytes

ONE, TWO, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
TRUSTED = [public_bytes(ONE), public_bytes(TWO)]
DATA = ("data/agreements.yaml", "data/demo.yaml")
NOW = 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle: serial 7, until second 2000."""
    made(tmp_path)
    return tmp_path


def made(folder: Path, **changed: Any) -> Manifest:
    """Publish into ``folder``."""
    fields = {"data": DATA, "serial": 7, "not_after": 2_000, "signers": [ONE, TWO], **changed}
    return publish(POLICIES, folder, **fields)


def refusal(folder: Path, *, minimum: int = 1, now: float = NOW) -> str:
    """The code a load is refused with."""
    with pytest.raises(PolicyUnavailable) as caught:
        load_bundle(folder, TRUSTED, minimum, now)
    assert caught.value.remedy
    return caught.value.code


def test_a_good_bundle_loads_and_decides(folder: Path) -> None:
    """Two approvals, a serial not below the last, before its end: its layers start."""
    bundle = load_bundle(folder, TRUSTED, 7, NOW)
    assert bundle.serial == 7
    assert bundle.manifest.data == DATA
    assert len(bundle.layers()) == 1
    layers = bundle.layers(("local.yaml", EXAMPLE))
    assert len(layers) == 2
    assert PolicyPoints(layers, bundle.serial).serial == 7


def test_a_missing_bundle_or_file_is_no_policy(folder: Path, tmp_path: Path) -> None:
    """No manifest, or a file it names is gone: unavailable, not empty."""
    assert refusal(tmp_path / "nowhere") == "POLICY_MISSING"
    (folder / "data/demo.yaml").unlink()
    assert refusal(folder) == "POLICY_MISSING"


def test_an_older_bundle_is_refused_although_it_was_signed(folder: Path) -> None:
    """Rolling back to last month's agreements would widen without anybody's signature."""
    assert refusal(folder, minimum=8) == "POLICY_OLDER"


def test_an_expired_bundle_is_refused(folder: Path) -> None:
    """At its end a bundle ends, to the second."""
    load_bundle(folder, TRUSTED, 1, 1_999)
    assert refusal(folder, now=2_000) == "POLICY_EXPIRED"


@pytest.mark.parametrize("name", ["policy.wasm", *DATA])
def test_a_touched_file_is_refused(folder: Path, name: str) -> None:
    """One octet more in any file of the bundle."""
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert refusal(folder) == "POLICY_TAMPERED"


@pytest.mark.parametrize("signers", [[], [ONE], [ONE, ONE], [ONE, STRANGER], [STRANGER, STRANGER]])
def test_two_different_trusted_people_must_sign(
    tmp_path: Path, signers: list[Ed25519PrivateKey]
) -> None:
    """One person twice is one person, and a stranger is nobody."""
    made(tmp_path, signers=signers)
    assert refusal(tmp_path) == "POLICY_UNDERSIGNED"


def test_one_trusted_key_listed_twice_is_one_person(tmp_path: Path) -> None:
    """A careless list of trusted keys does not make one approval two."""
    made(tmp_path, signers=[ONE, ONE])
    with pytest.raises(PolicyUnavailable):
        load_bundle(tmp_path, [TRUSTED[0], TRUSTED[0]], 1, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 8},
        {"not_after": 3_000},
        {"revision": "0" * 64},
        {"data": ["data/agreements.yaml"]},
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, change: dict[str, object]) -> None:
    """Serial, end, revision and list of agreements are all under the signatures."""
    rewrite(folder, lambda document: document["manifest"].update(change))
    assert refusal(folder) == "POLICY_TAMPERED"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest file without signing it again."""
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["manifest"].pop("not_after"),
        lambda d: d["manifest"].update(extra=1),
        lambda d: d["manifest"].update(serial="7"),
        lambda d: d["manifest"].update(serial=True),
        lambda d: d["manifest"].update(schema=2),
        lambda d: d["manifest"].update(data=[]),
        lambda d: d["manifest"].update(data=["data/else.yaml"]),
        lambda d: d["manifest"]["files"].update({"../policy.wasm": "0" * 64}),
        lambda d: d["manifest"]["files"].update({"/etc/passwd": "0" * 64}),
        lambda d: d["manifest"]["files"].pop("policy.wasm"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("signatures"),
        lambda d: d.update(signatures=[{"key": "x", "signature": "y"}]),
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, change: Any) -> None:
    """Missing, unknown or mistyped keys, and names that leave the folder."""
    rewrite(folder, change)
    assert refusal(folder) == "POLICY_MALFORMED"


def test_octets_that_are_no_manifest_are_refused(folder: Path) -> None:
    """Empty, no JSON, a repeated key, a number for an object, nested without end."""
    for content in (b"", b"\xff", b'{"a":1,"a":1}', b"7", b"[" * 100_000, b'{"manifest":7}'):
        (folder / "manifest.json").write_bytes(content)
        assert refusal(folder) == "POLICY_MALFORMED"


def test_the_committed_list_is_not_a_bundle() -> None:
    """policies/manifest.json is what was built; nobody approved it."""
    assert refusal(POLICIES) == "POLICY_MALFORMED"


def test_signatures_do_not_come_from_another_domain(folder: Path) -> None:
    """A signature the same key made over the same octets for another use is not an approval."""
    from fairlead import signing
    from fairlead.policy.bundle import canonical

    bundle = load_bundle(folder, TRUSTED, 1, NOW)
    other = signing.sign(TWO, "directory", canonical(bundle.manifest)).hex()
    rewrite(folder, lambda d: d["signatures"][1].update(signature=other))
    assert refusal(folder) == "POLICY_TAMPERED"


def test_a_second_person_may_sign_later(folder: Path) -> None:
    """Signatures are over the manifest alone, so they can be put together afterwards."""
    manifest = load_bundle(folder, TRUSTED, 1, NOW).manifest
    parts = [json.loads(sign_manifest(manifest, [key])) for key in (TWO, ONE)]
    parts[0]["signatures"] += parts[1]["signatures"]
    (folder / "manifest.json").write_text(json.dumps(parts[0]))
    assert load_bundle(folder, TRUSTED, 1, NOW).serial == 7


def test_publishing_needs_what_was_built(tmp_path: Path) -> None:
    """Sources that are incomplete, or a module that is not the built one, are not published."""
    with pytest.raises(Misconfigured):
        publish(tmp_path, tmp_path, data=DATA, serial=1, not_after=2, signers=[ONE, TWO])
    with pytest.raises(Misconfigured):
        made(tmp_path, data=("data/none.yaml",))
