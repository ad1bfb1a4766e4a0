"""Decision records as an officer reads them: from the own node, or from an exported file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.decisions.stream import Check
    from fairlead.policy.recorded import Recorded
    from fairlead.v1 import decisions_pb2

ID_OCTETS = 16


def check(profile: Path | None, now: float) -> Check:
    """Verifies the receipt of a log with the key that the directory has of it."""
    from fairlead.opening.sought import key_of
    from fairlead.profile import load_profile
    from fairlead.receipts import verify_receipt
    from fairlead.trust import Trust

    settings, _ = load_profile(profile)
    members = Trust.load(settings.trust).directory(settings.directory, now=now)

    def verify(log: str, receipt: Any) -> None:
        origin = f"{members.federation}/{log}"
        verify_receipt(receipt, origin=origin, public_key=key_of(origin, members)[0], head=None)

    return verify


async def items(
    file: Path | None, profile: Path | None, *, since: int = 0, query_id: bytes = b""
) -> AsyncIterator[decisions_pb2.ReadDecisionsResponse]:
    """The records of a file, or of the own node. ``since``: Unix seconds."""
    from fairlead.cli.options import connect
    from fairlead.decisions.stream import open_file, read_file
    from fairlead.v1 import decisions_pb2

    if file is not None:
        with open_file(file) as opened:
            for item in read_file(opened):
                yield item
        return
    client, _, _ = connect(profile)
    async with client:
        request = decisions_pb2.ReadDecisionsRequest(since_ms=since * 1000, query_id=query_id)
        async for item in client.decisions(request):
            yield item


async def find(
    wanted: bytes, *, key: Path, file: Path | None, profile: Path | None, now: float
) -> list[Recorded]:
    """The records of a query, or the one of a decision, with their inputs.

    :param wanted: 16 octets. What a node asked itself before there was a query names none: it is
        found by the id of the decision alone.
    :raises NotFound: none of that id. :raises FairleadError: the records do not verify.
    """
    from fairlead.decisions.stream import Stream
    from fairlead.errors import NotFound
    from fairlead.sealing import SealingKey

    stream = Stream(private=SealingKey.load(key), check=check(profile, now))
    found: list[Recorded] = []
    async for item in items(file, profile, query_id=wanted):
        found += (r for r in stream.take(item) if wanted in (r.query_id, r.decision_id))
    stream.finish()
    if not found:
        raise NotFound(
            "no decision here has this id, nor is one about a query of this id",
            reasons=("UNKNOWN_DECISION",),
            remedy="at the gateway: fairlead-gateway decisions export FILE, then: fairlead policy "
            "explain DIR --about ID --key KEY --from FILE",
        )
    return found


def id_of(text: str) -> bytes:
    """The octets of an id as commands print it.

    :raises InvalidInput: DECISION_ID.
    """
    from fairlead.errors import InvalidInput

    try:
        octets = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        octets = b""
    if len(octets) != ID_OCTETS:
        raise InvalidInput(
            "an id is 32 hexadecimal digits",
            reasons=("DECISION_ID",),
            remedy="fairlead queries list   (ids of your partner's queries)",
        )
    return octets
