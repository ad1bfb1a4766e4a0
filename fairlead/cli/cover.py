"""``fairlead cover``: ask blind at a constant rate, so that nobody sees when somebody asked."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import ProfileOption, asked_since, connect, lasting
from fairlead.cli.output import Exit, RowFormat, awaited, printable, say, told
from fairlead.cli.receipts import Receipts
from fairlead.cli.results import BLIND, Result, gather
from fairlead.cli.showing import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from fairlead.errors import FairleadError


def cover(
    *,
    case: Annotated[str, typer.Option(help="Reference of an open case assigned to you.")],
    purpose: Annotated[str, typer.Option(help="Why: for example drug-trafficking.")],
    scheme: Annotated[str, typer.Option(help="Scheme of every question.")],
    per_hour: Annotated[
        int, typer.Option("--per-hour", min=1, max=3600, help="Questions an hour, asked or not.")
    ] = 12,
    lasts: Annotated[
        str, typer.Option("--for", help="Until when: a span like 8h, or an ISO 8601 time.")
    ] = "8h",
    since: Annotated[str, typer.Option(help="A span like 90d, or an ISO 8601 time.")] = "90d",
    to: Annotated[list[str] | None, typer.Option(help="Only this partner; repeat.")] = None,
    profile: ProfileOption = None,
) -> int:
    """Ask one blind question a slot: a term you type, or an invented one when none waits.

    Type one term a line; each is asked in the next free slot, and its answer printed. Every slot
    spends budgets, and none shows anybody which were yours.
    """
    from fairlead.cli.ask import recognise
    from fairlead.cover import Lane, invented

    draws, now = _random(), time.time()
    until = lasting(lasts, now=now)
    invented(scheme, draws)  # a scheme for which that cannot be is refused before the lane begins

    async def run() -> None:
        import asyncio

        async def ask(term: str, typed: bool) -> None:
            await _ask(term, typed, asked)

        asked = _Asked(
            case=case, purpose=purpose, scheme=scheme, since=since, to=to or [], profile=profile
        )
        lane = Lane(
            ask=ask,
            invent=lambda: invented(scheme, draws),
            interval_s=3600 / per_hour,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            say=_say,
        )
        loop = asyncio.get_running_loop()
        _listen(lambda text: loop.call_soon_threadsafe(put, text))

        def put(text: str) -> None:
            from fairlead.errors import FairleadError

            try:
                lane.put(recognise(text, scheme, aloud=False).value)
            except FairleadError as error:
                _say(error)
            else:
                say(f"{len(lane.waiting)} waiting, about {lane.interval_s:.0f} s a slot")

        say(f"one blind question each {lane.interval_s:.0f} s; type a term and Enter to ask it")
        await lane.run(until - now)

    awaited(run())
    return Exit.ANSWERED


class _Asked:
    """What is the same for every slot."""

    def __init__(self, **same: Any) -> None:
        self.same = same

    def request(self, term: str) -> Any:
        """A slot's question."""
        from fairlead.v1 import asking_pb2

        same = self.same
        return asking_pb2.PrepareRequest(
            terms=[asking_pb2.Term(scheme=same["scheme"], value=term)],
            case_id=same["case"],
            purpose=same["purpose"],
            mode=BLIND,  # type: ignore[arg-type]
            since=asked_since(same["since"], now=time.time()),
            partners=same["to"],
        )


async def _ask(term: str, typed: bool, asked: _Asked) -> None:
    """One slot. Whether the term was typed is looked at once everything has come back.

    :raises Refused: before anything left. :raises Unreachable: afterwards.
    """
    import grpc

    from fairlead.errors import FairleadError, Refused, Unreachable
    from fairlead.v1 import query_pb2

    client, settings, folder = connect(asked.same["profile"])
    result = Result(mode=BLIND)
    async with client:
        request = asked.request(term)
        try:
            draft = await client.prepare(request)
        except grpc.RpcError as error:
            kind = Unreachable if _silent(error) else Refused
            raise kind("your node drafts no question", reasons=_reasons(error)) from None
        if query_pb2.Mandate.FromString(draft.response.mandate).required_approvals:
            raise Refused(
                "a question that waits for a second person leaves in no slot",
                reasons=("COVER_APPROVAL",),
                remedy="choose a purpose for which policy wants no approver",
            )
        result.terms = list(request.terms)
        try:
            await gather(client.ask(draft), result, live=False)
        except grpc.RpcError as error:
            raise Unreachable("a slot was not answered", reasons=_reasons(error)) from None
        except FairleadError as error:
            raise Unreachable("a slot was not answered", reasons=error.reasons) from None
    if typed:
        say(f"\n{asked.same['scheme']} {printable(term)}")
        receipts = Receipts(Path(folder) / settings.receipts, result)
        for evidence in result.evidence:
            receipts.take(evidence)
        show(result, RowFormat.TABLE, receipts.paths)


_SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def _silent(error: Any) -> bool:
    """Whether a call was not answered, or not now."""
    return str(getattr(error.code(), "name", "")) in _SILENT


def _reasons(error: Any) -> tuple[str, ...]:
    """The codes that the node gave."""
    from fairlead.names import reason_code

    told = [value for key, value in error.trailing_metadata() or () if key == "fairlead-reason"]
    return tuple(reason_code(str(code)) for code in told) or ("NO_REASON",)


def _say(error: FairleadError) -> None:
    say(told(error))


def _random() -> Any:
    import random

    return random.SystemRandom()


def _listen(tell: Callable[[str], object]) -> None:
    """Hand over every line typed, from a thread that ends with the process; the end of the input
    ends nothing, for that could be seen."""

    def listen() -> None:
        for line in sys.stdin:
            if line.strip():
                tell(line.strip())

    threading.Thread(target=listen, daemon=True).start()
