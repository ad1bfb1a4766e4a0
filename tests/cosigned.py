"""Cosignatures made by hand, as c2sp.org/tlog-cosignature has them: what witnesses will make."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = b"\x04"


@dataclass(frozen=True, slots=True)
class Witness:
    """One witness, with its key."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def of(cls, partner: str) -> Witness:
        """A partner's."""
        return cls(f"fairlead.demo/witness/{partner}", Ed25519PrivateKey.generate())

    @property
    def key_id(self) -> bytes:
        """What a line of its begins with."""
        public = self.key.public_key().public_bytes_raw()
        return hashlib.sha256(self.name.encode() + b"\n" + KIND + public).digest()[:4]

    def line(self, note: str, at: int = 1_795_000_000) -> str:
        """Its cosignature of a checkpoint."""
        stamp = at.to_bytes(8, "big")
        signature = self.key.sign(_message(note, at))
        blob = base64.b64encode(self.key_id + stamp + signature).decode()
        return f"\N{EM DASH} {self.name} {blob}\n"

    def signed(self, note: str) -> bool:
        """Whether one of the note's lines is its cosignature of it."""
        for line in note.rpartition("\n\n")[2].splitlines():
            name, _, blob = line.removeprefix("\N{EM DASH} ").partition(" ")
            octets = base64.b64decode(blob)
            if name != self.name or octets[:4] != self.key_id:
                continue
            with contextlib.suppress(InvalidSignature):
                at = int.from_bytes(octets[4:12], "big")
                self.key.public_key().verify(octets[12:], _message(note, at))
                return True
        return False


def _message(note: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{note.rpartition(chr(10) * 2)[0]}\n".encode()


def cosigned(note: str, witnesses: Iterable[Witness]) -> str:
    """The note with their lines."""
    return note + "".join(witness.line(note) for witness in witnesses)
