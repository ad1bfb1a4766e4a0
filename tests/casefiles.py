"""A federation that worked on two cases, and the evidence of one of them."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead import signing
from fairlead.errors import FairleadError
from fairlead.v1 import query_pb2
from fairlead.verifier import pages, single, summary
from fairlead.verifier.anchors import Anchors
from tests.federation import (
    ANALYST,
    CASE,
    OTHER,
    PURPOSE,
    STORY,
    Federation,
    federation,
)
from tests.live import until
from tests.publications import OWNER, held

READER, OTHER_OWNER, SILENT = "customs", "oceanic-line", "police"
ABSENT = "MSKU9070323"
OTHER_CASE, OTHER_TERM = "CASE-2", "MSCU6693871"
HOSTILE = "Gate 7<script>alert(1)</script>\u202e</main><!-- &amp; \"'"


@dataclass(slots=True)
class Made:
    """What was made: the running federation, the file, and its anchors."""

    federation: Federation
    page: bytes
    anchors: Anchors

    def signed_again(self, change: Callable[[dict[str, Any]], object]) -> bytes:
        """A file that somebody with the asker's node key made of changed items: only what others
        signed can still give it away."""
        parts = pages.parts_of(self.page)
        items = copy.deepcopy(parts.read_items())
        change(items)
        try:
            readable = summary.summary_of(items)
        except Exception:  # a forger's summary says what they like
            readable = parts.summary
        about = items.pop("about")
        lines = [(name, pages.plain_line(content)) for name, content in items.items()]
        contents = pages.first_line(about, lines, readable, single.source())
        key = signing.load_signing_key(self.federation.layout.node(READER) / "signing.key")
        signature = {
            "contents": signing.digest(contents).hex(),
            "signature": text(signing.sign(key, "case-evidence", contents)),
        }
        rows = [line for _, line in lines]
        return pages.whole_page(
            readable, single.source(), contents, pages.plain_line(signature), rows
        )

    @property
    def items(self) -> dict[str, Any]:
        """The items of the file."""
        return pages.parts_of(self.page).read_items()


def text(octets: bytes) -> str:
    """Base64, as items hold octets."""
    return base64.b64encode(octets).decode()


@asynccontextmanager
async def worked(folder: Path, *, blind: bool = True) -> AsyncIterator[Federation]:
    """Sealed and, unless that is not wanted, blind queries of one case, with a partner who cannot
    be reached, and one query of another case in between; more than two terms need an approver."""
    partners = (READER, OWNER, OTHER_OWNER, SILENT)
    fields = {"place": HOSTILE, "driver_name": "Somebody Invented"}
    records = {OWNER: [held(STORY, fields=fields)], OTHER_OWNER: [held(OTHER)]}
    async with federation(
        folder, partners=partners, records=records, start=False, second_person_above=2
    ) as made:
        await made.start_gateway()
        for partner in partners[:3]:
            await made.start_node(partner)
        await made.open_case()
        await made.open_case(OTHER_CASE)
        await made.ask(STORY, OTHER)
        await made.ask(OTHER_TERM, case_id=OTHER_CASE)
        if blind:
            for owner in (OWNER, OTHER_OWNER):
                node = made.nodes[owner]
                await node.steering.publishing.publish()
                await node.steering.publishing.ended()
                node.offering.announcer.wake()
            await until(lambda: _holding(made))
            await made.ask(STORY, ABSENT, mode=query_pb2.MODE_BLIND)
        yield made


def _holding(made: Federation) -> bool:
    try:
        for owner in (OWNER, OTHER_OWNER):
            made.nodes[READER].snapshots.usable(owner, purpose=PURPOSE, scheme="container")
    except FairleadError:
        return False
    return True


async def evidence_of(made: Federation, case: str = CASE, user: Sequence[str] = ANALYST) -> bytes:
    """The file of one case."""
    async with made.client(*user) as client:
        return await client.evidence(case)


def anchors_of(made: Federation) -> Anchors:
    """What was compared out of band."""
    return Anchors(made.trust.federation, made.trust.operators, dict(made.trust.roots))
