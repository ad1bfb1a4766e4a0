"""One trial: two blind questions to a running federation, with five coins for an attacker to guess.

The first question is about one term, the second about four, in one case by one user. A coin each
decides what is asked (``asked``: a short or a long term), whether the owner holds it (``hit``), in
which order the second question's terms stand (``order``), whether its other three are held
(``many``), and whether it asks the first question's term again or another one (``again``).
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from certs.dev.policies import publish
from fairlead.client import NodeClient
from fairlead.config import Budgets, Guard, Limits
from fairlead.policy.issuing import Wishes
from fairlead.sealing import MAX_BLIND_TERMS
from fairlead.v1 import asking_pb2, query_pb2
from tests.attacks.games.guesser import Table
from tests.attacks.games.views import VIEWS, Watch, watching
from tests.attacks.games.wire import Relay
from tests.delivered import delivered
from tests.federation import ANALYST, ROOT, Federation, build, free_ports, request
from tests.publications import DAY_S, held

ASKER, OWNER, OTHER = "customs", "terminal-north", "oceanic-line"
GAMES = ("asked", "hit", "order", "many", "again")
BATCH_GAME = "chunks"
PLATE, BOX = "vehicle-plate", "container"
HELD = {False: "DE:B1", True: "DE:WWWXY98765Z"}
"""By the coin ``asked``: a short term and a long one, both held by the owner."""
ABSENT = {False: "DE:K2", True: "DE:WWWUV43210Q"}
HELD_SET = ((PLATE, "NL:AB123C"), (BOX, "MSCU6639870"), (BOX, "CSQU3054383"))
ABSENT_SET = ((PLATE, "NL:XY987Z"), (BOX, "TCLU4265768"), (BOX, "HLXU2008419"))
HELD_CHUNK = tuple(f"DE:H{number}" for number in range(MAX_BLIND_TERMS))
ABSENT_CHUNK = tuple(f"DE:A{number}" for number in range(MAX_BLIND_TERMS))
ALL_HELD = frozenset({*((PLATE, value) for value in (*HELD.values(), *HELD_CHUNK)), *HELD_SET})
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
    chunks: bool = False

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

    async def play(
        self, tables: dict[str, Table], labels: dict[str, list[int]], *, short: bool = False
    ) -> None:
        """One trial: what each view saw of it goes to its table, the coins to ``labels``.

        :param short: without its second question.
        """
        coins = self.coins = Coins.throw(self.luck)
        self.watch.begin()
        await self.ask([coins.first], [coins.first in ALL_HELD])
        if not short:
            self.watch.phase("2")
            await self.ask(coins.second, [term in ALL_HELD for term in coins.second])
        await self._note(tables, labels)

    async def play_batch(self, tables: dict[str, Table], labels: dict[str, list[int]]) -> None:
        """One trial of the game ``chunks``: a batch of two chunks, of whose first one the owner
        holds every term or none. The second one, a single term, shows when the first was done."""
        hit = self.luck.random() < 0.5
        self.watch.begin()
        terms = [(PLATE, value) for value in (HELD_CHUNK if hit else ABSENT_CHUNK)]
        await self.ask(
            [*terms, (PLATE, ABSENT[False])], [*[hit] * len(terms), False], partners=[OWNER]
        )
        self.coins.chunks = hit
        await self._note(tables, labels)

    async def _note(self, tables: dict[str, Table], labels: dict[str, list[int]]) -> None:
        await asyncio.sleep(SETTLE_S)
        for view, sight in self.watch.end().items():
            tables[view].add(*sight.finished())
        for name, noted in labels.items():
            noted.append(int(getattr(self.coins, name)))

    async def ask(
        self,
        terms: Sequence[tuple[str, str]],
        hits: Sequence[bool],
        partners: Sequence[str] = (OWNER, OTHER),
    ) -> None:
        """Blind questions; their answers must be the true ones, else nothing was tested."""
        wanted = request(
            terms=[asking_pb2.Term(scheme=scheme, value=value) for scheme, value in terms],
            mode=query_pb2.MODE_BLIND,
            partners=partners,
        )
        draft = await self.client.prepare(wanted)
        found: dict[str, list[bool]] = {partner: [] for partner in partners}
        async for event in self.client.ask(draft):
            if event.HasField("partner"):
                line = event.partner
                found[line.partner_id] += [answer.hit for answer in line.answers]
        assert found.pop(OWNER) == list(hits)
        assert not any(any(answers) for answers in found.values())


@asynccontextmanager
async def ground(folder: Path, seed: int) -> AsyncIterator[Ground]:
    """A federation of one asker and two owners, with somebody listening on every wire."""
    made = build(
        folder,
        partners=(ASKER, OWNER, OTHER),
        records={OWNER: [held(value, scheme=scheme) for scheme, value in ALL_HELD]},
        local_policy=None,
        tick_ms=TICK_MS,
        limits=Limits(deadline_ms=20_000),
    )
    lenient = Guard(longest_run=10**6, densest_thousand=1_000, one_owner=10**6, one_pattern=10**6)
    without_second_person(made)
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
                    "guard": lenient,
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
        await stack.enter_async_context(delivered(made, ASKER, (OWNER, OTHER), (PLATE, BOX)))
        await made.open_case()
        client = await stack.enter_async_context(made.client(*ANALYST))
        watch = stack.enter_context(watching(made, OWNER))
        listeners.append(watch)
        yield Ground(made=made, watch=watch, client=client, luck=random.Random(seed))


def without_second_person(made: Federation) -> None:
    """Publish the same policy, but for the number of terms that needs a second person."""
    source, agreements = made.folder / "policy-source", "data/agreements.yaml"
    shutil.copytree(ROOT / "policies", source)
    text = (source / agreements).read_text()
    limit = re.sub(r"(second_person_above_terms:) \d+", rf"\1 {2 * MAX_BLIND_TERMS}", text)
    assert limit != text
    (source / agreements).write_text(limit)
    now = int(time.time())
    wishes = Wishes(serial=2, issued_at=now, not_after=now + DAY_S)
    publish(made.layout, made.folder / "policy", wishes, source=source)


def tables(games: Sequence[str] = GAMES) -> tuple[dict[str, Table], dict[str, list[int]]]:
    """Empty ones for every view and game."""
    return {view: Table() for view in VIEWS}, {game: [] for game in games}
