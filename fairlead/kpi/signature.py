"""The signature over a pack: a small file beside it that names each of its files by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, ValidationError

from fairlead import signing
from fairlead.errors import Forged, InvalidInput
from fairlead.forms import STRICT
from fairlead.names import check_partner_id

DOMAIN = "kpi-pack"
MAX_FILE = 64 * 1024
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_NAME = re.compile(r"kpi-[0-9]{4}\.(?:html|zip)\Z")


class _Said(BaseModel):
    model_config = STRICT

    schema_version: Annotated[Literal[1], Field(alias="fairlead_kpi_pack")]
    files: dict[str, _Digest]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    signer: str
    year: int


def sign_pack(
    files: Mapping[str, bytes], *, year: int, signer: str, key: Ed25519PrivateKey
) -> bytes:
    """The file. :param signer: the partner whose key it is."""
    said = _said(files, year, check_partner_id(signer))
    signature = signing.sign(key, DOMAIN, _octets(said))
    return _octets({**said, "signature": signature.hex()}) + b"\n"


def signer_of(data: bytes) -> str:
    """Which partner says that it signed: whose key to verify with.

    :raises InvalidInput: PACK_SIGNATURE, PARTNER_ID.
    """
    return check_partner_id(_read(data).signer)


def verify_pack(data: bytes, files: Mapping[str, bytes], public: bytes) -> int:
    """Check a pack; give its year.

    1. The file of the signature is written in its one way.
    2. Each file of the pack is the one that it names; none is missing or added.
    3. The key signed this.

    :param public: the signer's raw key. :raises InvalidInput: PACK_SIGNATURE.
    :raises Forged: PACK_FILES or SIGNATURE.
    """
    # 1
    said = _read(data)
    # 2
    if said.files != _digests(files):
        raise Forged(
            "the files are not those of this pack",
            reasons=("PACK_FILES",),
            remedy="get the three files of the pack again, from whoever made it",
        )
    # 3
    signed = _octets(_said(files, said.year, said.signer))
    signing.verify(public, DOMAIN, signed, bytes.fromhex(said.signature))
    return said.year


def _read(data: bytes) -> _Said:
    try:
        if len(data) > MAX_FILE:
            raise ValueError
        said = _Said.model_validate_json(data)
        if _octets(said.model_dump(by_alias=True)) + b"\n" != data:
            raise ValueError
    except (ValidationError, ValueError):
        raise InvalidInput(
            "this is not the signature of a pack",
            reasons=("PACK_SIGNATURE",),
            remedy="name the file that ends in .sig.json and lies beside the pack",
        ) from None
    return said


def _said(files: Mapping[str, bytes], year: int, signer: str) -> dict[str, object]:
    if not files or not all(_NAME.match(name) for name in files):
        raise InvalidInput("a pack has no such files", reasons=("PACK_FILES",))
    return {"fairlead_kpi_pack": 1, "files": _digests(files), "signer": signer, "year": year}


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: signing.digest(data).hex() for name, data in files.items()}


def _octets(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
