"""What two bought operators can do to the directory: sign any list they like."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.lists import sign_directory
from fairlead import signing
from fairlead.v1 import directory_pb2
from tests.attacks.crafted import changed
from tests.federation import Federation


def content(made: Federation) -> directory_pb2.Directory:
    """The directory in force."""
    signed = directory_pb2.SignedDirectory.FromString(made.layout.directory.read_bytes())
    return directory_pb2.Directory.FromString(signed.directory)


def operators(made: Federation) -> list[Ed25519PrivateKey]:
    """Both operators' keys."""
    folder = made.layout.federation
    return [signing.load_signing_key(folder / f"operator-{n}.key") for n in (1, 2)]


def root_key(made: Federation, partner: str) -> Ed25519PrivateKey:
    """A partner's offline root key: nobody's but the partner's."""
    return signing.load_signing_key(made.layout.partner(partner) / "root" / "root.key")


def entry_of(listed: directory_pb2.Directory, partner: str) -> directory_pb2.PartnerEntry:
    """One partner's entry."""
    entries = (directory_pb2.PartnerEntry.FromString(item.entry) for item in listed.partners)
    return next(entry for entry in entries if entry.partner_id == partner)


def with_entry(
    listed: directory_pb2.Directory, partner: str, fresh: directory_pb2.SignedPartnerEntry
) -> list[directory_pb2.SignedPartnerEntry]:
    """The list with one partner's entry replaced."""
    return [
        fresh if directory_pb2.PartnerEntry.FromString(i.entry).partner_id == partner else i
        for i in listed.partners
    ]


def resign(made: Federation, **changes: object) -> bytes:
    """Publish the directory with some fields replaced, under both operators' real signatures."""
    data = sign_directory(changed(content(made), **changes), operators(made))
    made.layout.directory.write_bytes(data)
    return data
