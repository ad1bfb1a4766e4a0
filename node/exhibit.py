"""What a case's evidence is made of, item by item, as plain JSON; see :mod:`node.casefile`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from google.protobuf.message import Message

from fairlead import signing
from fairlead.envelope import manifest
from fairlead.envelope.answer import answer_info, body_size
from fairlead.errors import FairleadError
from fairlead.partners import Directory
from fairlead.receipts import verify_receipt
from fairlead.sealing import SealingKey, unpad
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, blind_pb2, query_pb2
from node.cases import Case
from node.kept import KeptAnswer


def answer_item(
    answer: query_pb2.SignedAnswer,
    kept: Mapping[str, KeptAnswer],
    shown: Mapping[str, pb.OpenedAnswer],
    signed: pb.Evidence,
    reply: SealingKey | None,
) -> dict[str, Any]:
    """An owner's answer as it was signed, and opened as far as it is kept.

    :param reply: what opens it; None where nothing is to be opened.
    """
    header = query_pb2.AnswerHeader.FromString(answer.header)
    partner, found = header.partner_id, kept.get(header.partner_id)
    line = shown.get(partner)
    answered = header.status == query_pb2.STATUS_ANSWERED
    body = answer.body or (found.body if found else b"")
    item: dict[str, Any] = {
        "partner": partner,
        "header": text_of(answer.header),
        "signature": text_of(answer.signature),
        "body": text_of(body) if body or not answered else None,
        "plaintext": None,
        "found": None,
        "looked": list(found.looked) if found and reply else None,
        "note": "",
    }
    if not answered:
        return item
    if line is None or found is None:
        item["note"] = "kept no longer than its owner and the case allow"
    elif line.status != query_pb2.STATUS_ANSWERED:
        item["note"] = f"not accepted by the asker's node: {line.reason}"
    elif reply is not None:
        query = query_pb2.QueryHeader.FromString(signed.query.header)
        item |= _plaintext(query, partner, body, line, reply)
    return item


def _plaintext(
    query: query_pb2.QueryHeader,
    partner: str,
    body: bytes,
    line: pb.OpenedAnswer,
    reply: SealingKey,
) -> dict[str, Any]:
    """What an answer says; of a blind one also what was found with it."""
    size = body_size(query.term_count, query.element_count)
    padded = reply.open(body, info=answer_info(query.query_id, partner))
    plain = unpad(padded, size)
    if not query.element_count:
        return {"plaintext": text_of(plain)}
    found = query_pb2.AnswerBody(query_id=query.query_id, partner_id=partner, answers=line.answers)
    return {"plaintext": text_of(plain), "found": octets_of(found)}


def looked_in(queries: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Owner, and what of its publications a blind answer was looked up in."""
    for query in queries:
        for chunk in query["chunks"]:
            for answer in chunk["answers"]:
                for item in answer["looked"] or ():
                    yield answer["partner"], item


def signed_under(signed: blind_pb2.SignedBlindManifest, owner: str, directory: Directory) -> bool:
    """Whether an owner signed a manifest with its key of this directory."""
    try:
        key = directory.partner(owner).signing_key
        signing.verify(key, manifest.DOMAIN, signed.manifest, signed.signature)
    except FairleadError:
        return False
    return True


def logged_under(receipt: audit_pb2.Receipt, directory: Directory) -> bool:
    """Whether a receipt is of this directory's gateway."""
    try:
        gateway = directory.gateway
        bare = audit_pb2.Receipt(leaf=receipt.leaf, tlog_proof=receipt.tlog_proof)
        verify_receipt(bare, origin=gateway.log_origin, public_key=gateway.log_key, head=None)
    except FairleadError:
        return False
    return True


def serials_of(queries: list[dict[str, Any]]) -> Iterator[int]:
    """Of the directories that queries were made under."""
    for query in queries:
        for chunk in query["chunks"]:
            if chunk["query"] is not None:
                signed = query_pb2.SignedQuery.FromString(base64.b64decode(chunk["query"]))
                yield query_pb2.QueryHeader.FromString(signed.header).directory_serial


def line_item(line: pb.OpenedAnswer) -> list[str]:
    """One partner's line, which is the word of this node."""
    status = query_pb2.Status.Name(line.status).removeprefix("STATUS_").lower()
    return [line.partner_id, status.replace("_", " "), line.reason]


def case_item(case: Case) -> dict[str, Any]:
    """A case, with the nonce that opens its commitments."""
    return {
        "case_id": case.case_id,
        "purpose": case.purpose,
        "legal_basis": case.legal_basis,
        "opened_at": case.opened_at,
        "opened_by": case.opened_by,
        "expires_at": case.expires_at,
        "closed_at": case.closed_at,
        "tlp": case.tlp,
        "pap": case.pap,
        "retention_days": case.retention_days,
        "instrument": case.instrument and asdict(case.instrument),
        "nonce": text_of(case.nonce),
    }


def octets_of(message: Message) -> str:
    """A message's canonical octets, as items hold them."""
    return text_of(signing.canonical(message))


def text_of(octets: bytes) -> str:
    """Octets as items hold them: base64."""
    return base64.b64encode(octets).decode("ascii")
