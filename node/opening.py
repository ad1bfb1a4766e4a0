"""What a node has on its disk: opened and checked, or refused with what to do."""

from __future__ import annotations

import os
import time

from cryptography import x509

from fairlead import admission, authority, budgets, process, signing
from fairlead.config import NodeConfig
from fairlead.cubes.registry import Registry as Cubes
from fairlead.errors import Misconfigured
from fairlead.keyfile import read_private, require_private
from fairlead.keyring import KeyRing
from fairlead.membership import Membership
from fairlead.partners import Directory, Partner
from fairlead.policy.cubes import CUBES, cubes_in
from fairlead.policy.points import PolicyPoints
from fairlead.policy.words import Words
from fairlead.summing.noise import SECRET_SIZE
from node import (
    cases,
    decoys,
    feedback,
    held,
    history,
    kept,
    pausing,
    reconciling,
    register,
    reviews,
    snapshots,
    statistics,
    termlist,
    watches,
    witness,
)
from node.exposure import acceptance
from node.index import Index
from node.indexing import INDEX_FILE, index_keys
from node.publication import shelf
from node.statistics import waiving
from node.vault import Vault

UNKNOWN = "UNKNOWN_PARTNER"
MIGRATIONS = (
    *process.MIGRATIONS,
    *admission.MIGRATIONS,
    *cases.MIGRATIONS,
    *acceptance.MIGRATIONS,
    *pausing.MIGRATIONS,
    *budgets.MIGRATIONS,
    *shelf.MIGRATIONS,
    *snapshots.MIGRATIONS,
    *reviews.MIGRATIONS[:1],
    *decoys.MIGRATIONS,
    *reviews.MIGRATIONS[1:],
    *witness.MIGRATIONS,
    *reconciling.MIGRATIONS,
    *register.MIGRATIONS,
    *statistics.MIGRATIONS,
    *waiving.MIGRATIONS,
)
"""Tables of the node in its log's file, in the order in which they were invented."""
VAULT_MIGRATIONS = (
    *history.MIGRATIONS,
    *feedback.MIGRATIONS,
    *held.MIGRATIONS,
    *watches.MIGRATIONS,
    *termlist.MIGRATIONS,
    *kept.MIGRATIONS,
)
"""Those of the vault, likewise."""
HISTORY_FILE = "history.sqlite"
HISTORY_KEY_FILE = "history.secret"
WATCH_KEY_FILE = "watches.secret"
NOISE_FILE = "noise.secret"


def log_origin(directory: Directory, partner_id: str) -> str:
    """Origin line of a partner's own audit log."""
    return f"{directory.federation}/partner/{partner_id}"


def _secret(config: NodeConfig, name: str) -> bytes:
    """A secret of this node's own, made at first use, readable by its owner alone."""
    path = config.state_dir / name
    if not path.exists():
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(32))
    return path.read_bytes()


def history_key(config: NodeConfig) -> bytes:
    """The 32-octet key of the history.

    :raises Misconfigured: its file is shorter than the secret that was written.
    """
    secret = _secret(config, HISTORY_KEY_FILE)
    if len(secret) < 32:
        raise Misconfigured(
            "the history's secret is shorter than 32 octets", reasons=("HISTORY_KEY",)
        )
    return signing.commit(secret, b"history")


def register_key(config: NodeConfig) -> bytes:
    """The 32-octet key of the register, which follows from the same secret as the history's.

    :raises Misconfigured: see :func:`history_key`.
    """
    return signing.commit(history_key(config), b"register")


def watch_key(config: NodeConfig) -> bytes:
    """The 32-octet key of what is evaluated for watches; no backup holds its secret, so that an
    old archive looks nothing up.

    :raises Misconfigured: its file is shorter than the secret that was written.
    """
    secret = _secret(config, WATCH_KEY_FILE)
    if len(secret) < 32:
        raise Misconfigured(
            "the watches' secret is shorter than 32 octets",
            reasons=("HISTORY_KEY",),
            remedy="remove watches.secret under state_dir: every watch must then be renewed",
        )
    return signing.commit(secret, b"watches")


def noise_secret(config: NodeConfig) -> bytes:
    """The secret from which this partner's share of the noise on figures follows.

    :raises Misconfigured: KEY_FILE: missing or of another size; readable by others.
    """
    try:
        secret = read_private(config.keys_dir / NOISE_FILE)
    except OSError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise Misconfigured(
            "the secret of the noise is missing, or has not 32 octets",
            reasons=("KEY_FILE",),
            remedy=f"restore {NOISE_FILE} in keys_dir from the key folder's backup; a node that"
            f" never had one: (umask 077; head -c {SECRET_SIZE} /dev/urandom > {NOISE_FILE})",
        )
    return secret


def open_vault(config: NodeConfig, *, readonly: bool = False) -> Vault:
    """What this node keeps of its users' queries and of feedback.

    :param readonly: beside the process that serves it.
    :raises Misconfigured: in use, damaged, or not made yet.
    """
    path, key = config.state_dir / HISTORY_FILE, history_key(config)
    if readonly:
        return Vault.open_readonly(path, key=key)
    return Vault.open(path, key=key, migrations=VAULT_MIGRATIONS)


def open_index(config: NodeConfig) -> Index:
    """The index as last refreshed.

    :raises Misconfigured: not built yet. :raises SourceUnusable: see :meth:`Index.open`.
    """
    path = config.state_dir / INDEX_FILE
    if not path.exists():
        raise no_index()
    token_key, field_key = index_keys(config)
    return Index.open(path, token_key=token_key, field_key=field_key, clock=time.time)


def no_index() -> Misconfigured:
    """The error for an index that was never built."""
    return Misconfigured(
        "this node has no index yet",
        reasons=("NO_INDEX",),
        remedy="fairlead-node index --config FILE",
    )


def own_keys(config: NodeConfig, member: Membership) -> tuple[Partner, KeyRing]:
    """The node's partner and keys, among them those of the directory.

    :raises Misconfigured: UNKNOWN_PARTNER, ROOT_UNPINNED, KEY_MISMATCH, or a key file is missing.
    """
    directory = member.directory.current
    partner = directory.partners.get(config.partner)
    if partner is None:
        raise Misconfigured(
            "the directory does not list this partner",
            reasons=("ROOT_UNPINNED" if config.partner in directory.unpinned else UNKNOWN,),
            remedy="correct partner in the configuration, pin the own root key, or ask the "
            "operators to list it",
        )
    require_private(config.keys_dir)
    keys = KeyRing(config.keys_dir)
    keys.signing(partner.signing_key)
    keys.sealing(partner.sealing_key)
    keys.witness(partner.witness_key)
    keys.mask(partner.mask_key)
    noise_secret(config)
    process.material_of(config.keys_dir, member.directory)()
    return partner, keys


def own_node(config: NodeConfig, partner: Partner) -> str:
    """The SPIFFE id in the node's own certificate.

    :raises Misconfigured: UNKNOWN_NODE, the directory lists another.
    """
    certificate = authority.load_certificate(config.keys_dir / "tls.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if any(node.spiffe_id == uri for node in partner.nodes):
            return uri
    raise Misconfigured(
        "the certificate in the key folder is not this partner's node's",
        reasons=("UNKNOWN_NODE",),
        remedy="correct keys_dir, or enrol this node again",
    )


def words_of(policy: PolicyPoints) -> Words:
    """:raises Misconfigured: a policy without its registry."""
    if policy.registry is None:
        raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
    return Words.of(policy.registry)


def cubes_of(policy: PolicyPoints) -> Cubes:
    """The registry of cubes that is signed with the policy in force; read once, in a third of a
    second.

    :raises Misconfigured: CUBES_MISSING: the policy has none.
    """
    return cubes_in({CUBES: policy.cubes} if policy.cubes else {})
