"""Blind against sealed: one term at a time to every owner of a running federation, in turns.

A gateway, the asker's node and the owners' nodes run as shipped, each a process of its own, over
mTLS. What is asked blind was published, announced, listed and fetched before, by the product.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import grpc.aio

from bench import offers, walk
from bench.federation import ASKER, PURPOSE, SCHEME, TICK_MS, Federation
from bench.offers import Say
from bench.processes import Children
from bench.rows import DAY_S, Containers
from fairlead.client import NodeClient
from fairlead.v1 import asking_pb2, query_pb2

SEALED, BLIND = query_pb2.MODE_SEALED, query_pb2.MODE_BLIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """``pairs``: terms of a round, each asked once in either mode."""

    owners: int
    records: int
    rounds: int
    pairs: int


@dataclass(slots=True, kw_only=True)
class Pairs:
    """What an analyst saw: milliseconds of each query, by round; why some went wrong."""

    sealed_ms: list[list[float]] = field(default_factory=list)
    blind_ms: list[list[float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    publish_s: float = 0.0
    deliver_s: float = 0.0

    def ratio(self) -> float:
        """Blind over sealed, p50: the median of the rounds."""
        return median(
            median(b) / median(s) for b, s in zip(self.blind_ms, self.sealed_ms, strict=True)
        )

    def summary(self, scale: Scale) -> dict[str, Any]:
        """What was measured, for programs."""
        return {
            "owners": scale.owners,
            "records_an_owner": scale.records,
            "rounds": scale.rounds,
            "queries_a_round": 2 * scale.pairs,
            "tick_ms": TICK_MS,
            "sealed_p50_ms": round(median(map(median, self.sealed_ms)), 1),
            "blind_p50_ms": round(median(map(median, self.blind_ms)), 1),
            "wrong": dict(self.wrong),
            "publish_s": round(self.publish_s, 1),
            "deliver_s": round(self.deliver_s, 1),
        }


def octets(scale: Scale) -> int:
    """The room that the federation takes on the disk."""
    return scale.records * scale.owners * (offers.OCTETS_A_RECORD + offers.READER_OCTETS)


def line(measured: dict[str, Any], ratio: float) -> str:
    """For people: what :meth:`Pairs.summary` says."""
    return (
        f"one term to {measured['owners']} owners of {measured['records_an_owner']:,} records "
        f"each, p50: sealed {measured['sealed_p50_ms']} ms, blind {measured['blind_p50_ms']} ms, "
        f"blind over sealed {ratio:g}"
        + "".join(f"; {reason} {count}x" for reason, count in measured["wrong"].items())
    )


def measure(folder: Path, scale: Scale, say: Say) -> Pairs:
    """Make the federation, publish, deliver, ask, and end it."""
    federation, found = Federation(folder), Pairs()
    with Children(folder) as children:
        say("making keys, directory and policy")
        owners = offers.make(federation, scale.owners)
        say(f"indexing {scale.records:,} records, for {scale.owners} owners")
        offers.index(federation, children, owners, scale.records)
        walk.build(federation, ASKER, 1)
        _gateway, asker, *nodes = walk.start(federation, children, owners)
        began = time.perf_counter()
        for owner, node in zip(owners, nodes, strict=True):
            line = offers.publish(federation, owner, node)
            say(f"{owner}: {line['terms']:,} terms published in {line['seconds']:.1f} s")
        found.publish_s = time.perf_counter() - began
        offers.delivered(federation, ASKER, owners, asker)
        found.deliver_s = time.perf_counter() - began - found.publish_s
        say(f"{scale.owners} snapshots delivered {found.deliver_s:.1f} s later; asking")
        asyncio.run(_ask(federation, owners, scale, found, say))
    return found


async def _ask(
    federation: Federation, owners: Sequence[str], scale: Scale, found: Pairs, say: Say
) -> None:
    analyst = walk.Walk(federation, ())
    await analyst.open_case()
    terms, pauses = _terms(scale), Random(1)
    async with analyst.client() as client:
        for mode in (SEALED, BLIND):  # connections, first use of everything
            await _one(client, owners, terms[0], mode)
        for number in range(scale.rounds):
            sealed: list[float] = []
            blind: list[float] = []
            for place, term in enumerate(terms[number * scale.pairs :][: scale.pairs]):
                turns = ((SEALED, sealed), (BLIND, blind))
                for mode, times in turns if place % 2 else reversed(turns):
                    # else each query would begin with the tick on which the one before it ended
                    await asyncio.sleep(pauses.uniform(0, TICK_MS / 1000))
                    began = time.perf_counter()
                    troubles = await _one(client, owners, term, mode)
                    times.append((time.perf_counter() - began) * 1000)
                    found.wrong.update(troubles)
            found.sealed_ms.append(sealed)
            found.blind_ms.append(blind)
            say(
                f"round {number + 1} of {scale.rounds}: sealed {median(sealed):.1f} ms, "
                f"blind {median(blind):.1f} ms (p50)"
            )


def _terms(scale: Scale) -> list[tuple[str, bool]]:
    """Different containers, and whether every owner holds them: every second one."""
    random, numbers, count = Random(0), Containers(), scale.rounds * scale.pairs
    places = random.sample(range(scale.records), count)
    return [
        (numbers.value(place + (0 if held else scale.records)), held)
        for place, held in ((place, not n % 2) for n, place in enumerate(places))
    ]


async def _one(
    client: NodeClient, owners: Sequence[str], term: tuple[str, bool],
    mode: query_pb2.Mode.ValueType,
) -> set[str]:  # fmt: skip
    """One query, from draft to evidence: why it went wrong, nothing when all was right."""
    value, held = term
    request = asking_pb2.PrepareRequest(
        terms=[asking_pb2.Term(scheme=SCHEME, value=value)],
        case_id=walk.CASE,
        purpose=PURPOSE,
        mode=mode,
        since=int(time.time()) - 30 * DAY_S,
        partners=owners,
    )
    silent, troubles = {*owners}, {"NO_EVIDENCE"}
    try:
        draft = await client.prepare(request)
        async for event in client.ask(draft):
            if event.HasField("partner"):
                line = event.partner
                silent.discard(line.partner_id)
                if line.status != query_pb2.STATUS_ANSWERED:
                    troubles.add(line.reason or query_pb2.Status.Name(line.status))
                elif [answer.hit for answer in line.answers] != [held]:
                    troubles.add("WRONG_ANSWER")
            elif event.HasField("evidence"):
                troubles.discard("NO_EVIDENCE")
    except grpc.aio.AioRpcError as error:
        return {error.code().name}
    return troubles | ({"NO_LINE"} if silent else set())
