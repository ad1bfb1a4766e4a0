"""Policy releases of a development federation: its own, and a partner's own bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.layout import Layout
from fairlead.config import LocalPolicy
from fairlead.officers import Officer, render_officers
from fairlead.policy.issuing import Wishes, make_release
from fairlead.policy.manifest import Manifest
from fairlead.signing import load_signing_key, public_bytes, save_key

POLICIES = Path(__file__).resolve().parents[2] / "policies"
BASELINE, DEMO = "data/agreements.yaml", "data/demo.yaml"


def officer_keys(layout: Layout) -> list[Ed25519PrivateKey]:
    """The two policy officers, of two partners."""
    return [load_signing_key(layout.federation / f"policy-{number}.key") for number in (1, 2)]


def publish(
    layout: Layout,
    folder: Path,
    wishes: Wishes,
    *,
    source: Path = POLICIES,
    data: Sequence[str] = (BASELINE, DEMO),
) -> Manifest:
    """Two development officers sign the committed policy with the demo's agreement."""
    return make_release(source, folder, wishes, data=data, signers=officer_keys(layout))


def local_policy(
    folder: Path, agreements: bytes, wishes: Wishes, *, partner: str = "customs"
) -> LocalPolicy:
    """A partner's own bundle in ``folder``, signed by two people there whose keys are made now or
    were made before."""
    source, keys = folder / "source", folder / "officers"
    for place in (source / "data", keys):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (source / "data" / "local.yaml").write_bytes(agreements)
    signers = [_key(keys / f"officer-{number}.key") for number in (1, 2)]
    make_release(source, folder / "bundle", wishes, signers=signers, local=True)
    return LocalPolicy(
        dir=folder / "bundle",
        officers=tuple(
            Officer(key=public_bytes(key), person=f"own-officer-{number}", organisation=partner)
            for number, key in enumerate(signers, 1)
        ),
    )


def toml(local: LocalPolicy) -> str:
    """The table as a configuration file spells it."""
    folder = json.dumps(str(local.dir))
    return f"[local_policy]\ndir = {folder}\nofficers = {render_officers(local.officers)}\n"


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        save_key(path, Ed25519PrivateKey.generate())
    return load_signing_key(path)
