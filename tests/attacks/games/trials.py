"""One trial: two blind questions to a running federation, with five coins for an attacker to guess.

The first question is about one term, the second about four, in one case by one user. A coin each
decides what is asked (``asked``: a short or a long term), whether the owner holds it (``hit``), in
which order the second question's terms stand (``order``), whether its other three are held
(``many``), and whether it asks the first question's term again or another one (``again``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.client import NodeClient
from fairlead.config import Budgets, Guard, Limits
from fairlead.v1 import asking_pb2, query_pb2
from tests.attacks.games.guesser import Table
from tests.attacks.games.views import VIEWS, Watch, watching
from tests.attacks.games.wire import Relay
from tests.delivered import delivered
from tests.federation import ANALYST, Federation, build, free_ports, request, states
from tests.publications import held

ASKER, OWNER, OTHER = "customs", "terminal-north", "oceanic-line"
GAMES = ("asked", "hit", "order", "many", "again")
PLATE, BOX = "vehicle-plate", "container"
HELD = {False: "DE:B1", True: "DE:WWWXY98765Z"}
"""By the coin ``asked``: a short term and a long one, both held by the owner."""
ABSENT = {False: "DE:K2", True: "DE:WWWUV43210Q"}
HELD_SET = ((PLATE, "NL:AB123C"), (BOX, "MSCU6639870"), (BOX, "CSQU3054383"))
ABSENT_SET = ((PLATE, "NL:XY987Z"), (BOX, "TCLU4265768"), (BOX, "HLXU2008419"))
TICK_MS = 1
"""The shortest there is, fifty times as fine as shipped: little work hides behind it."""
SETTLE_S = 0.002
MANY = 10**9


@dataclass(slots=True, kw_only=True)
class Coins:
    """What an attacker is to guess, one bit a game."""

    asked: bool
    hit: bool
    order: bool
    many: bool
    again: bool

    @classmethod
    def throw(cls, luck: random.Random) -> Coins:
        """Five independent coins."""
        return cls(**{name: luck.random() < 0.5 for name in GAMES})

    @property
    def first(self) -> tuple[str, str]:
        """The first question's term."""
        return PLATE, (HELD if self.hit else ABSENT)[self.asked]

    @property
    def second(self) -> list[tuple[str, str]]:
        """The second question's terms, as they are typed."""
        again = self.asked if self.again else not self.asked
        plate, *boxes = HELD_SET if self.many else ABSENT_SET
        terms = [*boxes, plate, (PLATE, (HELD if self.hit else ABSENT)[again])]
        return terms[::-1] if self.order else terms


@dataclass(slots=True, kw_only=True)
class Ground:
    """A federation that trials are played in. ``coins`` are those of the trial under way: only
    the insecure variants of the controls look at them."""

    made: Federation
    watch: Watch
    client: NodeClient
    luck: random.Random
    coins: Coins = field(default_factory=lambda: Coins.throw(random.Random(0)))

    async def play(self, tables: dict[str, Table], labels: dict[str, list[int]]) -> None:
        """One trial: what each view saw of it goes to its table, the coins to ``labels``."""
        coins = self.coins = Coins.throw(self.luck)
        self.watch.begin()
        await self.ask([coins.first], [coins.hit])
        self.watch.phase("2")
        held = {**dict.fromkeys(HELD_SET, True), coins.first: coins.hit}
        second = coins.second
        await self.ask(second, [held.get(term, term[1] in HELD.values()) for term in second])
        await asyncio.sleep(SETTLE_S)
        for view, sight in self.watch.end().items():
            tables[view].add(*sight.finished())
        for name in GAMES:
            labels[name].append(int(getattr(coins, name)))

    async def ask(self, terms: Sequence[tuple[str, str]], hits: Sequence[bool]) -> None:
        """One blind question; its answer must be the true one, else nothing was tested."""
        wanted = request(
            terms=[asking_pb2.Term(scheme=scheme, value=value) for scheme, value in terms],
            mode=query_pb2.MODE_BLIND,
            partners=[OWNER, OTHER],
        )
        draft = await self.client.prepare(wanted)
        lines = states([event async for event in self.client.ask(draft)])
        assert [answer.hit for answer in lines[OWNER].answers] == list(hits), lines[OWNER]
        assert not any(answer.hit for answer in lines[OTHER].answers)


@asynccontextmanager
async def ground(folder: Path, seed: int) -> AsyncIterator[Ground]:
    """A federation of one asker and two owners, with somebody listening on every wire."""
    terms = [*((PLATE, value) for value in HELD.values()), *HELD_SET]
    made = build(
        folder,
        partners=(ASKER, OWNER, OTHER),
        records={OWNER: [held(value, scheme=scheme) for scheme, value in terms]},
        local_policy=None,
        tick_ms=TICK_MS,
        limits=Limits(deadline_ms=20_000),
    )
    plenty = Budgets(**dict.fromkeys(Budgets.model_fields, MANY))
    doors = free_ports(1 + len(made.node_configs))
    gateway = int(made.gateway_config.listen.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        relays = [("gateway", doors[0], gateway)]
        for (partner, config), door in zip(made.node_configs.items(), doors[1:], strict=True):
            # The directory names the relay; the node itself listens behind it.
            relays.append((partner, made.ports[partner], door))
            made.ports[partner] = door
            made.node_configs[partner] = config.model_copy(
                update={
                    "listen": f"127.0.0.1:{door}",
                    "gateway": f"127.0.0.1:{doors[0]}",
                    "budgets": plenty,
                    "guard": Guard(),
                }
            )
        listeners: list[Watch] = []

        def note(direction: str, size: int, moment: float) -> None:
            for watch in listeners:
                watch.record(direction, size, moment)

        for name, port, target in relays:
            relay = Relay(name, target, note)
            await relay.start(port)
            stack.push_async_callback(relay.close)
        await stack.enter_async_context(delivered(made, ASKER, (OWNER, OTHER)))
        await made.open_case()
        client = await stack.enter_async_context(made.client(*ANALYST))
        watch = stack.enter_context(watching(made, OWNER))
        listeners.append(watch)
        yield Ground(made=made, watch=watch, client=client, luck=random.Random(seed))


def tables() -> tuple[dict[str, Table], dict[str, list[int]]]:
    """Empty ones for every view and game."""
    return {view: Table() for view in VIEWS}, {game: [] for game in GAMES}


