"""An oversight's folder: its keys and its configuration.

::

    oversight.toml
    oversight.public     for the node: fairlead-node init … --oversight
    keys/                oversight.seed log.key
    federation/          directory.bin pins.toml, as the node has them (or named elsewhere)
    state/               oversight.sqlite audit.sqlite quarantine/
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.config import load
from fairlead.errors import Misconfigured
from fairlead.keyfile import private_folder, write_private
from fairlead.names import check_partner_id
from fairlead.oversight.config import OversightConfig
from fairlead.sealing import SealingKey

SEED = "oversight.seed"
PUBLIC = "oversight.public"


def found(
    folder: Path,
    *,
    partner: str,
    federation: str,
    node_folder: Path | None,
    seed: Path | None,
) -> Path:
    """Make an oversight's folder; again, change nothing.

    :param node_folder: the node's folder, when it is on this machine.
    :param seed: a key that the node made for its oversight, to be taken over.
    :returns: the public half of its key.
    :raises Misconfigured: FOLDER_IN_THE_WAY, or the seed cannot be used.
    :raises InvalidInput: a name is misspelt.
    """
    check_partner_id(partner)
    path, public = folder / "oversight.toml", folder / PUBLIC
    if path.exists():
        config = load(OversightConfig, path)
        if (config.partner, config.federation) != (partner, federation):
            raise _in_the_way()
        return public
    if folder.exists() and any(folder.iterdir()):
        raise _in_the_way()
    key = SealingKey.load(seed) if seed else SealingKey.generate()
    keys = private_folder(folder / "keys")
    private_folder(folder / "federation")
    write_private(keys / SEED, key.to_seed())
    write_private(public, key.public_bytes())
    signing.save_key(keys / "log.key", Ed25519PrivateKey.generate())
    node = node_folder.absolute() if node_folder else None
    source = node / "federation" if node else Path("federation")
    settings = {
        "federation": federation,
        "partner": partner,
        "outbox": str((node or Path()) / "state" / "oversight" / "outbox") if node else "outbox",
        "state_dir": "state",
        "keys_dir": "keys",
        "directory": str(source / "directory.bin"),
        "trust": str(source / "pins.toml"),
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    write_private(path, text.encode())
    return public


def _in_the_way() -> Misconfigured:
    return Misconfigured(
        "the folder holds something else",
        reasons=("FOLDER_IN_THE_WAY",),
        remedy="choose an empty folder: fairlead-oversight init FOLDER …",
    )
