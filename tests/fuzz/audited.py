"""What auditors and timestamp authorities hand over: exports, receipts, selections, tokens."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from fairlead import signing
from fairlead.auditing import events, export
from fairlead.auditing.export import Checker
from fairlead.auditing.file import open_file
from fairlead.auditing.selection import Selection
from fairlead.cli.audit.showing import load_receipt
from fairlead.timestamping.authority import _body
from fairlead.timestamping.token import verify
from fairlead.v1 import audit_pb2
from tests.federation import ROOT
from tests.fuzz.target import Target
from tests.small_log import PUBLIC, make_log, story


def targets(folder: Path) -> Iterator[Target]:
    """Each parser from outside; ``folder`` takes a log."""
    folder.mkdir(parents=True, exist_ok=True)
    make_log(folder / "audit.sqlite", story())
    selection = Selection(first=2, stop=6)
    file = io.BytesIO()
    with open_file(folder / "audit.sqlite") as log:
        items = export.responses(
            log.read, selection, log.span(selection), origin=log.origin, frontier=log.frontier(2)
        )
        export.write(items, file, Checker())

    def read(data: bytes) -> object:
        checker = Checker()
        for _ in export.read_lines(io.BytesIO(data), checker):
            pass
        return checker.finish([PUBLIC])

    yield Target(name="audit-export", seeds=[file.getvalue()], attempt=read)
    yield Target(
        name="audit-selection",
        seeds=[signing.canonical(selection.to_wire())],
        attempt=lambda data: Selection.from_wire(
            signing.parse_canonical(audit_pb2.LeafSelection, data)
        ),
    )
    yield Target(
        name="audit-receipt",
        seeds=[b'{"fairlead_leaf_receipt": 1, "origin": "x", "receipt": {"leaf": "AA=="}}'],
        attempt=load_receipt,
    )
    yield Target(name="audit-event", seeds=story()[:4], attempt=lambda data: events.line(1, data))
    yield from _stamps()


def _stamps() -> Iterator[Target]:
    yield Target(
        name="timestamp-reply",
        seeds=[
            b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\n\r\nx",
            b"HTTP/1.0 302 Found\r\nLocation: /\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        ],
        attempt=_body,
    )
    vector = json.loads((ROOT / "tests" / "vectors" / "timestamp.json").read_text())
    authorities = [x509.load_pem_x509_certificate(vector["authority"].encode())]
    yield Target(
        name="timestamp-token",
        seeds=[base64.b64decode(vector["response"])],
        attempt=lambda data: verify(data, vector["note"], authorities),
    )
