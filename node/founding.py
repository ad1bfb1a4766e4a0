"""A node's folder: keys made where they are used, and the request that asks to join.

::

    node.toml
    <partner>.request    to the operators
    keys/                tls.key signing.key sealing.seed mask.key witness.key index.key
                         noise.secret; tls.pem
    root/root.key        the partner's root: take it away, keep it offline
    oversight/           oversight.public, and unless oversight made its key itself
                         oversight.seed: hand it to the partner's oversight
    federation/          invitation.toml; after enrolment directory.bin deny-lists.bin pins.toml;
                         user-deny-list.bin, which the user authority writes
    policy/ state/
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fairlead import signing
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.enrolment.invitation import Invitation
from fairlead.enrolment.request import Request, make_request, read_request
from fairlead.errors import FairleadError, InvalidInput, Misconfigured, Stale
from fairlead.keyfile import private_folder, write_private
from fairlead.keyring import load_mask_key, mask_public
from fairlead.lists import USER_DENY_LIST, sign_entry
from fairlead.names import check_code, check_partner_id
from fairlead.partners import PartnerKind
from fairlead.sealing import PUBLIC_KEY_SIZE, SealingKey, check_public_key
from fairlead.summing.noise import SECRET_SIZE
from fairlead.v1 import directory_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How a partner describes itself."""

    partner_id: str
    display_name: str
    kind: PartnerKind
    country: str
    contact_desk: str
    schemes: tuple[str, ...]
    listen: str
    endpoint: str
    hosts: tuple[str, ...]
    node: str = "node-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFolder:
    """The paths under a node's folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "node.toml"

    @property
    def keys(self) -> Path:
        """The node's keys."""
        return self.root / "keys"

    @property
    def root_key(self) -> Path:
        """The partner's root key, while it is here."""
        return self.root / "root" / "root.key"

    @property
    def federation(self) -> Path:
        """What the node believes about the federation."""
        return self.root / "federation"

    @property
    def invitation(self) -> Path:
        """The invitation as compared."""
        return self.federation / "invitation.toml"

    @property
    def used(self) -> Path:
        """SHA-256 (hexadecimal) of the admission that enrolled this node."""
        return self.federation / "enrolled"

    def request(self) -> Path:
        """The one request file.

        :raises Misconfigured: NO_REQUEST.
        """
        found = sorted(self.root.glob("*.request"))
        if len(found) != 1:
            raise Misconfigured(
                "this folder holds no enrolment request",
                reasons=("NO_REQUEST",),
                remedy="fairlead-node init FOLDER … first, or name its folder: --folder FOLDER",
            )
        return found[0]


def found(
    folder: NodeFolder,
    card: Card,
    invitation: Invitation,
    authority: x509.Certificate,
    *,
    now: float,
    oversight: bytes | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> tuple[Request, bool]:
    """Make a node's keys and its request; again, keep every key and a request still good.

    :param oversight: the public half of a key that the partner's oversight made itself; without
        one the node makes a key for it, to be handed over.
    :returns: the request, and whether it is a new one.
    :raises Misconfigured: FOLDER_IN_THE_WAY, ROOT_KEY_AWAY, or a key file cannot be used.
    :raises InvalidInput: a name is misspelt.
    """
    check_partner_id(card.partner_id)
    for scheme in card.schemes:
        check_code(scheme)
    path = folder.root / f"{card.partner_id}.request"
    began = folder.root.exists() and any(_begun(folder))
    if began and not (folder.federation / "invitation.toml").exists():
        raise _in_the_way()
    if began and Invitation.load(folder.invitation) != invitation:
        raise _in_the_way()
    private_folder(folder.federation)
    write_private(folder.invitation, invitation.render())
    if oversight is not None:
        _take_oversight(folder, oversight)
    entry = _entry(folder, card, invitation, authority, random)
    kept = _kept(path, entry, invitation, now)
    if kept is not None:
        return kept, False
    if not folder.root_key.exists():
        raise Misconfigured(
            "a new request needs the partner's root key, which has been taken away",
            reasons=("ROOT_KEY_AWAY",),
            remedy="put root.key back into the folder root while you run this again",
        )
    root = signing.load_signing_key(folder.root_key)
    data = make_request(
        sign_entry(entry, root),
        federation=invitation.federation,
        root=root,
        tls_key=signing.load_user_key(folder.keys / "tls.key"),
        hosts=card.hosts,
        nonce=random(32),
        now=now,
    )
    _write_config(folder, card, invitation)
    write_private(path, data)
    return read_request(data, federation=invitation.federation, now=now), True


def _begun(folder: NodeFolder) -> Iterator[Path]:
    """What lies in the folder already; a user authority may have been here before the node."""
    for path in folder.root.rglob("*"):
        if path.is_file() and path != folder.federation / USER_DENY_LIST:
            yield path


def _kept(path: Path, entry: pb.PartnerEntry, invitation: Invitation, now: float) -> Request | None:
    """The request made before, when it says the same and is still in force."""
    if not path.exists():
        return None
    try:
        request = read_request(path.read_bytes(), federation=invitation.federation, now=now)
    except Stale:
        return None
    except FairleadError:
        raise _in_the_way() from None
    return request if request.entry.entry == signing.canonical(entry) else None


def _entry(
    folder: NodeFolder,
    card: Card,
    invitation: Invitation,
    authority: x509.Certificate,
    random: Callable[[int], bytes],
) -> pb.PartnerEntry:
    keys = private_folder(folder.keys)
    private_folder(folder.root / "policy")
    _once(keys / "tls.key", lambda p: signing.save_key(p, ec.generate_private_key(ec.SECP256R1())))
    _once(keys / "index.key", lambda p: write_private(p, random(32).hex().encode()))
    _once(keys / "noise.secret", lambda p: write_private(p, random(SECRET_SIZE)))
    node = SpiffeId(
        federation=invitation.federation,
        kind=IdentityKind.NODE,
        partner_id=card.partner_id,
        name=card.node,
    )
    return pb.PartnerEntry(
        partner_id=card.partner_id,
        display_name=card.display_name,
        kind=card.kind.to_wire(),  # type: ignore[arg-type]
        country=card.country,
        nodes=[pb.NodeEntry(spiffe_id=str(SpiffeId.parse(str(node))), endpoint=card.endpoint)],
        signing_key=_ed25519(keys / "signing.key"),
        sealing_key=_sealing(keys / "sealing.seed"),
        mask_key=_x25519(keys / "mask.key"),
        witness_key=_ed25519(keys / "witness.key"),
        user_authority=authority.public_bytes(serialization.Encoding.DER),
        oversight_key=_sealing(private_folder(folder.root / "oversight") / "oversight.seed"),
        schemes=sorted(card.schemes),
        protocol_versions=[1],
        sequence=1,
        root_key=_root(folder),
        contact_desk=card.contact_desk,
    )


def _root(folder: NodeFolder) -> bytes:
    """The root's public half, kept beside the keys when the private one has been taken away."""
    public = folder.federation / "root.public"
    if not public.exists():
        private_folder(folder.root_key.parent)
        write_private(public, _ed25519(folder.root_key).hex().encode())
    return bytes.fromhex(public.read_text("ascii"))


def _once(path: Path, make: Callable[[Path], None]) -> Path:
    if not path.exists():
        make(path)
    return path


def _ed25519(path: Path) -> bytes:
    _once(path, lambda p: signing.save_key(p, Ed25519PrivateKey.generate()))
    return signing.public_bytes(signing.load_signing_key(path))


def _sealing(path: Path) -> bytes:
    """Oversight takes its seed away; then the public half kept beside it stands for it."""
    public = path.with_suffix(".public")
    if not public.exists():
        _once(path, lambda p: SealingKey.generate().save(p))
        write_private(public, SealingKey.load(path).public_bytes())
    return public.read_bytes()


def _take_oversight(folder: NodeFolder, key: bytes) -> None:
    """:raises Misconfigured: FOLDER_IN_THE_WAY: the node has made another one."""
    public = private_folder(folder.root / "oversight") / "oversight.public"
    if public.exists() and public.read_bytes() != key:
        raise _in_the_way()
    write_private(public, key)


def public_key(path: Path) -> bytes:
    """An oversight's public key as it made it.

    :raises InvalidInput: FILE or SEALING_KEY.
    """
    try:
        with path.open("rb") as file:
            key = file.read(PUBLIC_KEY_SIZE + 1)
    except OSError:
        raise InvalidInput(
            "the oversight's public key is missing or unreadable",
            reasons=("FILE",),
            remedy="fairlead-oversight init FOLDER --partner PARTNER --federation FEDERATION",
        ) from None
    check_public_key(key)
    return key


def _x25519(path: Path) -> bytes:
    def make(place: Path) -> None:
        pem = X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(place, pem)

    return mask_public(load_mask_key(_once(path, make)))


def _write_config(folder: NodeFolder, card: Card, invitation: Invitation) -> None:
    if folder.config.exists():
        return
    settings = {
        "partner": card.partner_id,
        "listen": card.listen,
        "gateway": invitation.gateway,
        "state_dir": "state",
        "keys_dir": "keys",
        "directory": "federation/directory.bin",
        "pins": "federation/pins.toml",
        "deny_lists": "federation/deny-lists.bin",
        "policy_dir": "policy",
        "user_deny_list": f"federation/{USER_DENY_LIST}",
        "index_key": "file:keys/index.key",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    write_private(folder.config, "\n".join([*lines, "sources = []", ""]).encode())


def _in_the_way() -> Misconfigured:
    return Misconfigured(
        "the folder holds something else",
        reasons=("FOLDER_IN_THE_WAY",),
        remedy="choose an empty folder: fairlead-node init FOLDER …",
    )
