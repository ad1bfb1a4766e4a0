"""Streams: what a user's program may send as a question's pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.intake import Intake
from node.opening import VAULT_MIGRATIONS
from node.termlist import TermLists
from node.vault import Vault
from tests.federation import OTHER, STORY
from tests.fuzz.target import Target

BETWEEN = b"\xff\xff"
"""Between two messages: no tag of protobuf begins so."""


def targets(folder: Path) -> Iterator[Target]:
    """The one stream that users send."""
    folder.mkdir(parents=True)
    vault = Vault.open(folder / "history.sqlite", key=bytes(32), migrations=VAULT_MIGRATIONS)
    first = pb.PrepareRequest(
        case_id="CASE-1",
        mode=query_pb2.MODE_BLIND,
        terms=[pb.Term(scheme="container", value=STORY)],
        rows=[pb.Row(text=STORY, term=1, suggested=[2])],
    )
    second = pb.PrepareRequest(terms=[pb.Term(scheme="container", value=OTHER)])
    seed = BETWEEN.join(message.SerializeToString() for message in (first, second))

    def attempt(data: bytes) -> object:
        async def sent() -> AsyncIterator[pb.PrepareRequest]:
            for part in data.split(BETWEEN):
                try:
                    yield pb.PrepareRequest.FromString(part)
                except DecodeError:  # the door turns it away
                    return

        lists = TermLists(vault)
        _, made = asyncio.run(Intake(lists).take(sent(), "u-c01"))
        return list(made), list(made.pages())

    yield Target(name="stream-question", seeds=[seed], attempt=attempt)
