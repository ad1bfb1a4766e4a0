"""An authority's folder: its keys, its register, its first deny list.

::

    authority.toml
    authority.pem        its certificate: to the node, and its fingerprint to each person
    keys/                authority.pem authority.key log.key
    federation/          directory.bin pins.toml, as the node has them (or named elsewhere)
    state/               register.sqlite audit.sqlite user-deny-list.bin (or at the node)
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import authority, signing
from fairlead.config import load
from fairlead.errors import Misconfigured
from fairlead.keyfile import private_folder, write_private
from fairlead.lists import USER_DENY_LIST
from fairlead.names import check_partner_id
from fairlead.user_authority.app import open_people
from fairlead.user_authority.config import AuthorityConfig

LIFETIME = timedelta(days=2 * 365)


def found(
    folder: Path,
    *,
    partner: str,
    federation: str,
    listen: str,
    node_folder: Path | None,
    now: float,
) -> authority.Issuer:
    """Make an authority's folder; again, change nothing.

    :param node_folder: the node's folder, when it is on this machine: its directory and trust
        anchors are handed out to people, and the deny list is written there.
    :raises Misconfigured: FOLDER_IN_THE_WAY. :raises InvalidInput: a name is misspelt.
    """
    check_partner_id(partner)
    path = folder / "authority.toml"
    if path.exists():
        config = load(AuthorityConfig, path)
        if (config.partner, config.federation) != (partner, federation):
            raise _in_the_way()
        return authority.Issuer.load(
            config.keys_dir / "authority.pem", config.keys_dir / "authority.key"
        )
    if folder.exists() and any(folder.iterdir()):
        raise _in_the_way()
    keys = private_folder(folder / "keys")
    private_folder(folder / "federation")
    made = authority.create_ca(
        common_name=f"{partner} user authority",
        now=now,
        lifetime=LIFETIME,
        server_name=f"authority.{partner}.{federation}",
    )
    made.save(keys / "authority.pem", keys / "authority.key")
    authority.save_certificate(folder / "authority.pem", made.certificate)
    signing.save_key(keys / "log.key", Ed25519PrivateKey.generate())
    source = (node_folder.absolute() / "federation") if node_folder else Path("federation")
    settings = {
        "federation": federation,
        "partner": partner,
        "listen": listen,
        "state_dir": "state",
        "keys_dir": "keys",
        "directory": str(source / "directory.bin"),
        "trust": str(source / "pins.toml"),
        "deny_list": str((source if node_folder else Path("state")) / USER_DENY_LIST),
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    write_private(path, text.encode())
    people = open_people(load(AuthorityConfig, path))
    people.sign_deny_list()
    people.register.close()
    return made


def _in_the_way() -> Misconfigured:
    return Misconfigured(
        "the folder holds something else",
        reasons=("FOLDER_IN_THE_WAY",),
        remedy="choose an empty folder: fairlead-authority init FOLDER …",
    )
