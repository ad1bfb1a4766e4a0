"""``fairlead audit show``: one leaf, every field in words, and its proof."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli.audit.selecting import (
    CALL_S,
    DirectoryOption,
    LogOption,
    TrustOption,
    keys_of,
)
from fairlead.cli.options import OutputOption, ProfileOption, connect
from fairlead.cli.output import Format, awaited, emit_json, emit_table, say, wrapped
from fairlead.errors import Conflict, InvalidInput

VERSION = 1


def show_leaf(
    leaf: Annotated[str, typer.Argument(help="Index of the leaf, or its hash (64 digits).")],
    receipt: Annotated[
        Path | None, typer.Option(help="Keep the leaf and its proof in this new file.")
    ] = None,
    log: LogOption = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show one leaf of your node's log and verify its proof; the reading is on the record."""
    from fairlead import merkle, receipts
    from fairlead.auditing.fields import MEANINGS, values
    from fairlead.auditing.reading import leaf_of

    index, leaf_hash = _named(leaf)
    keys = keys_of(directory, trust, profile)
    found = _of_file(log, index, leaf_hash) if log else awaited(_of_node(profile, index, leaf_hash))
    proof = receipts.parse_proof(found.tlog_proof)
    origin = proof.checkpoint.partition("\n")[0]
    head = receipts.verify_receipt(found, origin=origin, public_key=keys(origin)[0], head=None)
    _require_wanted(proof.index, merkle.leaf_hash(found.leaf), index, leaf_hash)
    said = values(leaf_of(found.leaf))
    if receipt:
        _keep(receipt, origin, found)
    if output is Format.JSON:
        emit_json(
            {
                "leaf": proof.index,
                "hash": merkle.leaf_hash(found.leaf).hex(),
                "fields": said,
                "log": origin,
                "log_size": head.size,
                "octets": base64.b64encode(found.leaf).decode("ascii"),
                "proof": found.tlog_proof,
            }
        )
        return
    rows = [(name, _told(value), MEANINGS.get(name, "")) for name, value in said.items()]
    emit_table(("field", "value", "meaning"), [line for row in rows for line in wrapped(row)])
    say(
        f"verified: leaf {proof.index} of {origin}, under its signed head of {head.size} leaves\n"
        f"hash: {merkle.leaf_hash(found.leaf).hex()}"
    )
    if receipt:
        say(f"receipt: {receipt}\nnext: fairlead audit verify {receipt}")
    else:
        say(f"next: fairlead audit show {proof.index} --receipt FILE   (to prove it elsewhere)")


def load_receipt(data: bytes) -> tuple[str, Any]:
    """Origin and receipt of a kept file; nothing of it is verified.

    :raises InvalidInput: RECEIPT_FILE.
    """
    import json

    from google.protobuf.json_format import ParseDict, ParseError

    from fairlead.v1 import audit_pb2

    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("fairlead_leaf_receipt") != VERSION:
            raise ValueError
        found = ParseDict(document["receipt"], audit_pb2.Receipt())
        return str(document["origin"]), found
    except (ValueError, KeyError, TypeError, ParseError, RecursionError):
        raise InvalidInput(
            "this is not a leaf's receipt",
            reasons=("RECEIPT_FILE",),
            remedy="fairlead audit show LEAF --receipt FILE",
        ) from None


def _named(text: str) -> tuple[int, bytes]:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text), b""
    try:
        leaf_hash = bytes.fromhex(text)
    except ValueError:
        leaf_hash = b""
    if len(leaf_hash) != 32:
        raise InvalidInput(
            "a leaf is named by its index, or by its hash of 64 hexadecimal digits",
            reasons=("SELECTION",),
            remedy="fairlead audit list",
        )
    return 0, leaf_hash


def _require_wanted(place: int, shown: bytes, index: int, leaf_hash: bytes) -> None:
    """A node that shows another leaf than the one asked for, with a sound proof, is found out."""
    from fairlead.errors import Forged

    if shown != leaf_hash if leaf_hash else place != index:
        raise Forged(
            "another leaf was shown than the one asked for",
            reasons=("OTHER_LEAF",),
            remedy="tell the operator of your node: fairlead audit verify FILE",
        )


async def _of_node(profile: Path | None, index: int, leaf_hash: bytes) -> Any:
    from fairlead.v1 import audit_reading_pb2 as pb

    client, _, _ = connect(profile)
    async with client:
        request = pb.ShowLeafRequest(index=index, leaf_hash=leaf_hash)
        shown = await client.auditor.ShowLeaf(request, timeout=CALL_S)
        return shown.receipt


def _of_file(path: Path, index: int, leaf_hash: bytes) -> Any:
    from fairlead.auditing.file import open_file
    from fairlead.auditing.reading import find

    with open_file(path) as log:
        return log.receipt(find(log.read, leaf_hash) if leaf_hash else index)


def _keep(path: Path, origin: str, receipt: Any) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    document = {
        "fairlead_leaf_receipt": VERSION,
        "origin": origin,
        "receipt": MessageToDict(receipt),
    }
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=1) + "\n")
    except FileExistsError:
        raise Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        ) from None


def _told(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_told(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " · ".join(_told(item) for item in value)
    return str(value).replace("\n", " ")
