"""Founding a federation: a gateway's folder with its keys, its CA, and the first signed lists.

::

    gateway.toml
    invitation.toml      for every newcomer
    keys/                tls.pem tls.key signing.key log.key; ca.pem ca.key (the federation CA)
    public/              directory.bin deny-lists.bin pins.toml
    policy/              the bundle, signed by two policy officers
    hand-over/<who>/     operator.key or policy-officer.key: to be taken away by its holder
    state/
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import authority, signing
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.config import GatewayConfig, load
from fairlead.enrolment.invitation import Invitation
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.keyfile import private_folder, write_private
from fairlead.officers import Officer, parse_officers
from fairlead.policy.issuing import Wishes, make_release
from fairlead.trust import Trust
from fairlead.v1 import directory_pb2 as pb
from gateway import changes
from gateway.books import Books

CA_LIFETIME = timedelta(days=5 * 365)
GATEWAY_LIFETIME = timedelta(days=14)
POLICY_LIFETIME_S = 365 * 86_400
RELEASE_TICK_MS = 50
BASELINE = "data/agreements.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a gateway is."""

    name: str
    listen: str
    endpoint: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """What a federation is to be. ``operators`` are raw public keys, none: make two."""

    federation: str
    name: str
    listen: str
    endpoint: str
    hosts: tuple[str, ...]
    operators: tuple[bytes, ...]
    policies: Path
    agreements: tuple[str, ...]
    officers: tuple[tuple[str, str], ...] = (("officer-1", "founder-1"), ("officer-2", "founder-2"))
    """The two policy officers whose keys are made: pseudonym and organisation of each."""


def found(folder: Path, charter: Charter, *, now: float) -> tuple[Invitation, bool]:
    """Make a gateway's folder; in a folder made before, change nothing.

    :returns: the invitation, and whether the first directory is signed. It is not when the
        operators made their own keys: they sign it with ``fairlead-gateway directory renew``.
    :raises Misconfigured: FOLDER_IN_THE_WAY, or the policies cannot be used.
    :raises InvalidInput: a name, an address or a key is misspelt.
    """
    invitation_file = folder / "invitation.toml"
    if invitation_file.exists():
        made = Invitation.load(invitation_file)
        if made.federation != charter.federation:
            raise _in_the_way()
        books = Books.load(load(GatewayConfig, folder / "gateway.toml"))
        return made, books.directory.serial > 0
    if len(charter.operators) == 1:
        raise InvalidInput("a federation needs two operators", reasons=("OPERATORS",))
    _check_officers(charter)
    with whole(folder) as fresh:
        return _make(fresh, charter, now)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder that is there with everything in it, or not at all.

    :raises Misconfigured: FOLDER_IN_THE_WAY.
    """
    if folder.exists() and any(folder.iterdir()):
        raise _in_the_way()
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        yield private_folder(fresh)
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_officers(charter: Charter) -> None:
    named = [
        {"key": f"{number:064x}", "person": person, "organisation": organisation}
        for number, (person, organisation) in enumerate(charter.officers)
    ]
    found = parse_officers(named)
    people, organisations = {o.person for o in found}, {o.organisation for o in found}
    if not len(found) == len(people) == len(organisations) == 2:
        raise InvalidInput(
            "a federation needs two policy officers, of two organisations",
            reasons=("OFFICERS",),
            remedy="--officer PERSON@PARTNER, twice",
        )


def _make(folder: Path, charter: Charter, now: float) -> tuple[Invitation, bool]:
    keys, public = private_folder(folder / "keys"), private_folder(folder / "public")
    own = [] if charter.operators else _hand_over(folder, "operator")
    operators = charter.operators or tuple(signing.public_bytes(key) for key in own)
    officers = _hand_over(folder, "policy-officer")
    make_release(
        charter.policies,
        private_folder(folder / "policy"),
        Wishes(issued_at=int(now), not_after=int(now) + POLICY_LIFETIME_S, note="the first policy"),
        data=[BASELINE, *charter.agreements],
        signers=officers,
    )
    ca = authority.create_ca(
        common_name=f"{charter.federation} federation CA", now=now, lifetime=CA_LIFETIME
    )
    ca.save(keys / "ca.pem", keys / "ca.key")
    seat = Seat(
        name=charter.name, listen=charter.listen, endpoint=charter.endpoint, hosts=charter.hosts
    )
    log_key = Ed25519PrivateKey.generate()
    entry = gateway_keys(keys, seat, ca, log_key, federation=charter.federation, now=now)
    trust = Trust(
        federation=charter.federation,
        operators=operators,
        policy_officers=_officers(charter, officers),
        roots={},
    )
    trust.save(public / "pins.toml")
    _first_lists(public, charter, entry, ca)
    write_config(folder, seat)
    for key in own:
        books = Books.load(load(GatewayConfig, folder / "gateway.toml"))
        with books.desk().alone():
            changes.renew(books, key, now=now)
    invitation = Books.load(load(GatewayConfig, folder / "gateway.toml")).invitation()
    write_private(folder / "invitation.toml", invitation.render())
    return invitation, bool(own)


def new_operator(folder: Path) -> bytes:
    """Make an operator's key in ``folder``, or find the one made before; returns its public half.

    :raises Misconfigured: the key file there cannot be used.
    """
    path = private_folder(folder) / "operator.key"
    if not path.exists():
        signing.save_key(path, Ed25519PrivateKey.generate())
    return signing.public_bytes(signing.load_signing_key(path))


def _hand_over(folder: Path, who: str) -> list[Ed25519PrivateKey]:
    made = []
    for number in (1, 2):
        key = Ed25519PrivateKey.generate()
        place = private_folder(folder / "hand-over" / f"{who}-{number}")
        signing.save_key(place / f"{who}.key", key)
        made.append(key)
    return made


def _officers(charter: Charter, keys: Sequence[Ed25519PrivateKey]) -> tuple[Officer, ...]:
    return tuple(
        Officer(key=signing.public_bytes(key), person=person, organisation=organisation)
        for key, (person, organisation) in zip(keys, charter.officers, strict=True)
    )


def gateway_keys(
    keys: Path,
    seat: Seat,
    ca: authority.Issuer,
    log_key: Ed25519PrivateKey,
    *,
    federation: str,
    now: float,
) -> pb.GatewayEntry:
    """Make a gateway's keys in its key folder; returns its entry, whose log is its own.

    :raises InvalidInput: the name cannot be a gateway's.
    """
    gateway_id = SpiffeId(
        federation=federation, kind=IdentityKind.GATEWAY, partner_id=None, name=seat.name
    )
    if SpiffeId.parse(str(gateway_id)) != gateway_id:
        raise InvalidInput("a gateway's name is misspelt", reasons=("DIRECTORY",))
    tls_key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.issue_gateway(
        ca,
        federation=federation,
        name=seat.name,
        public_key=tls_key.public_key(),
        hosts=seat.hosts,
        now=now,
        lifetime=GATEWAY_LIFETIME,
    )
    authority.save_certificate(keys / "tls.pem", certificate)
    signing.save_key(keys / "tls.key", tls_key)
    signing_key = Ed25519PrivateKey.generate()
    signing.save_key(keys / "signing.key", signing_key)
    signing.save_key(keys / "log.key", log_key)
    return pb.GatewayEntry(
        spiffe_id=str(gateway_id),
        endpoint=seat.endpoint,
        signing_key=signing.public_bytes(signing_key),
        log_key=signing.public_bytes(log_key),
        log_origin=f"{federation}/gateway/{seat.name}",
    )


def _first_lists(
    public: Path, charter: Charter, entry: pb.GatewayEntry, ca: authority.Issuer
) -> None:
    """A directory of serial 0, which nobody signed and nothing accepts, to start from."""
    directory = pb.Directory(
        federation=charter.federation,
        gateways=[entry],
        federation_ca=ca.certificate.public_bytes(Encoding.DER),
        release_tick_ms=RELEASE_TICK_MS,
    )
    unsigned = pb.SignedDirectory(directory=signing.canonical(directory))
    write_private(public / "directory.bin", signing.canonical(unsigned))
    write_private(public / "deny-lists.bin", signing.canonical(pb.DenyListBundle()))


def write_config(folder: Path, seat: Seat, *more: tuple[str, str]) -> None:
    """Write a gateway's configuration; every path in it is its folder's own.

    :param more: further keys.
    """
    settings: Sequence[tuple[str, str]] = (
        ("name", seat.name),
        ("listen", seat.listen),
        ("state_dir", "state"),
        ("keys_dir", "keys"),
        ("directory", "public/directory.bin"),
        ("pins", "public/pins.toml"),
        ("deny_lists", "public/deny-lists.bin"),
        ("policy_dir", "policy"),
        *more,
    )
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings)
    write_private(folder / "gateway.toml", text.encode())


def _in_the_way() -> Misconfigured:
    return Misconfigured(
        "the folder holds something else",
        reasons=("FOLDER_IN_THE_WAY",),
        remedy="choose an empty folder: fairlead-gateway init FOLDER …",
    )
