"""One snapshot to be made: for whom, of which scheme, under which key, and what it may tell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fairlead.entries import ENTRY_SIZE
from fairlead.snapshot import padded_count
from node.publication.decision import Telling
from node.publication.kind import Kind

_PERSON = b"fairlead filler1"


def target_name(audience: bytes, epoch: int, scheme: str) -> bytes:
    """:attr:`Target.name` of a target that is not at hand."""
    return hashlib.sha256(audience + epoch.to_bytes(4, "big") + scheme.encode("ascii")).digest()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Target:
    """``audience`` names the class (32 octets); ``scalar`` is the private key (32); ``told`` holds
    the kinds that may be published. ``desk`` is what an entry says where it may name one."""

    audience: bytes
    epoch: int
    scheme: str
    scalar: bytes
    desk: int
    told: Mapping[Kind, Telling]

    @property
    def name(self) -> bytes:
        """32 octets that tell class, epoch and scheme from all others, whatever the key."""
        return target_name(self.audience, self.epoch, self.scheme)

    @property
    def keyed_name(self) -> bytes:
        """32 octets that also tell the key: entries under another are of no use."""
        return hashlib.blake2b(self.name, digest_size=32, key=self.scalar, person=_PERSON).digest()

    def fillers(self, terms: int) -> Iterator[bytes]:
        """The entries that are none, up to the next rung, in the order of their tags.

        A function of the key: the next snapshot has the same ones, so that what stays and what
        goes does not tell entries from fillers.
        """
        secret = hashlib.blake2b(self.scalar, person=_PERSON).digest()
        count = padded_count(terms) - terms
        return iter(
            sorted(
                hashlib.shake_256(secret + place.to_bytes(8, "big")).digest(ENTRY_SIZE)
                for place in range(count)
            )
        )

    def to_document(self) -> dict[str, Any]:
        """For another process of this node, through a pipe: it holds the key."""
        return {
            "audience": self.audience.hex(),
            "epoch": self.epoch,
            "scheme": self.scheme,
            "scalar": self.scalar.hex(),
            "desk": self.desk,
            "told": [[kind.to_document(), asdict(said)] for kind, said in self.told.items()],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Target:
        """Undo :meth:`to_document`."""
        return cls(
            audience=bytes.fromhex(document["audience"]),
            epoch=document["epoch"],
            scheme=document["scheme"],
            scalar=bytes.fromhex(document["scalar"]),
            desk=document["desk"],
            told={Kind.from_document(k): Telling(**said) for k, said in document["told"]},
        )
