"""The signature over a pack: a small file beside it that names each of its files by digest.

What is signed, the statement, is small: a node signs it for its own analyst without being sent the
pack (ADR 0040 says why it is the node's key).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, ValidationError

from fairlead import signing
from fairlead.cubes.period import FIRST_YEAR, LAST_YEAR
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.forms import STRICT
from fairlead.names import check_partner_id

DOMAIN = "kpi-pack"
MAX_FILE = 64 * 1024
ENDING = ".sig.json"
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def page_name(year: int) -> str:
    """The file that a person opens."""
    return f"kpi-{year}.html"


def bundle_name(year: int) -> str:
    """The file with the figures as CSV."""
    return f"kpi-{year}.zip"


def signature_name(year: int) -> str:
    """The file with the signature over both."""
    return f"kpi-{year}{ENDING}"


class _Said(BaseModel):
    model_config = STRICT

    schema_version: Annotated[Literal[1], Field(alias="fairlead_kpi_pack")]
    files: dict[str, _Digest]
    signer: str
    year: int


class _Signed(_Said):
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is signed: a partner's pack of a year has files with these digests (SHA-256, hex).

    :raises InvalidInput: PACK_FILES, PACK_YEAR or PARTNER_ID.
    """

    year: int
    signer: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        check_partner_id(self.signer)
        if not FIRST_YEAR < self.year <= LAST_YEAR:
            raise InvalidInput("a pack is of no such year", reasons=("PACK_YEAR",))
        if self.files.keys() != {page_name(self.year), bundle_name(self.year)}:
            raise InvalidInput("a pack has no such files", reasons=("PACK_FILES",))

    @classmethod
    def of(cls, files: Mapping[str, bytes], *, year: int, signer: str) -> Statement:
        """Of these files. :param signer: the partner whose key will sign."""
        digests = {name: signing.digest(data).hex() for name, data in files.items()}
        return cls(year=year, signer=signer, files=digests)

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read a statement, for whoever is asked to sign it. Total.

        :raises InvalidInput: PACK_SIGNATURE.
        """
        said, statement = _read(_Said, data)
        if _octets(said) != data:
            raise _unreadable()
        return statement

    def to_bytes(self) -> bytes:
        """The octets that are signed in :data:`DOMAIN`."""
        return _octets(self._said())

    def signed(self, signature: bytes) -> bytes:
        """The file that lies beside the pack."""
        return _octets({**self._said(), "signature": signature.hex()}) + b"\n"

    def differing(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Each file that is not the one that was signed, and what it is: ``changed``, ``missing``
        or ``added``."""
        there = {name: signing.digest(data).hex() for name, data in files.items()}
        found = {}
        for name in sorted({*there, *self.files}):
            if name not in there:
                found[name] = "missing"
            elif name not in self.files:
                found[name] = "added"
            elif there[name] != self.files[name]:
                found[name] = "changed"
        return found

    def _said(self) -> dict[str, object]:
        files = dict(self.files)
        return {"fairlead_kpi_pack": 1, "files": files, "signer": self.signer, "year": self.year}


def sign_pack(
    files: Mapping[str, bytes], *, year: int, signer: str, key: Ed25519PrivateKey
) -> bytes:
    """The file. :param signer: the partner whose key it is."""
    statement = Statement.of(files, year=year, signer=signer)
    return statement.signed(signing.sign(key, DOMAIN, statement.to_bytes()))


def read_signature(data: bytes) -> tuple[Statement, bytes]:
    """What a file of a signature says, and its signature; nothing of it is verified. Total.

    :raises InvalidInput: PACK_SIGNATURE.
    """
    said, statement = _read(_Signed, data)
    if _octets(said) + b"\n" != data:
        raise _unreadable()
    return statement, bytes.fromhex(str(said["signature"]))


def verify_pack(data: bytes, files: Mapping[str, bytes], public: bytes) -> Statement:
    """Check a pack.

    1. The file of the signature is written in its one way.
    2. Each file of the pack is the one that it names; none is missing or added.
    3. The key signed this.

    :param public: the signer's raw key. :raises InvalidInput: PACK_SIGNATURE.
    :raises Forged: PACK_FILES or SIGNATURE.
    """
    # 1
    statement, signature = read_signature(data)
    # 2
    if statement.differing(files):
        raise Forged(
            "the files are not those of this pack",
            reasons=("PACK_FILES",),
            remedy="get the three files of the pack again, from whoever made it",
        )
    # 3
    signing.verify(public, DOMAIN, statement.to_bytes(), signature)
    return statement


def _read(form: type[_Said], data: bytes) -> tuple[dict[str, object], Statement]:
    try:
        if len(data) > MAX_FILE:
            raise ValueError
        said = form.model_validate_json(data)
        statement = Statement(year=said.year, signer=said.signer, files=said.files)
        return said.model_dump(by_alias=True), statement
    except (ValidationError, ValueError, FairleadError):
        raise _unreadable() from None


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "this is not the signature of a pack",
        reasons=("PACK_SIGNATURE",),
        remedy="get the three files of the pack again, from whoever made it",
    )


def _octets(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
