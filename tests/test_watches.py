"""Watches: looked up again at home, told to their user only, never silently blind."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fairlead.certificates import Role
from fairlead.envelope.query import Scope
from fairlead.errors import FairleadError
from fairlead.partners import Directory
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.vault import Cipher
from node.watches import WatchShelf, watches
from node.watches.order import MAX_FOR_S, MAX_TERMS
from node.watches.watch import Watch, Watched
from tests.blind import require_libsodium
from tests.libraries import TODAY, payload
from tests.walks import NOW, OWNER, World, make_world
from tests.watched import CASE, DAY_S, OTHER, TERM, Bench

require_libsodium()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("watches"))


@pytest.fixture
async def bench(world: World, tmp_path: Path) -> Any:
    made = Bench(world, tmp_path)
    await made.open_case()
    yield made
    made.close()


async def test_a_later_snapshot_is_looked_up_without_asking_anybody(bench: Bench) -> None:
    """What appears, changes and disappears is told, each once, with a leaf for each snapshot."""
    bench.library.publish({OTHER: payload(b"o" * 16)})
    name = await bench.watched(TERM, OTHER)
    await bench.watches.look()
    assert await bench.news(name) == []
    bench.library.publish({TERM: payload(b"t" * 16), OTHER: payload(b"o" * 16)})
    await bench.watches.look()
    await bench.watches.look()
    assert await bench.news(name) == [("appeared", TERM[1])]
    bench.library.publish({TERM: payload(b"u" * 16)})
    await bench.watches.look()
    assert await bench.news(name) == [
        ("appeared", TERM[1]), ("changed", TERM[1]), ("disappeared", OTHER[1]),
    ]  # fmt: skip
    told = bench.subjects()
    assert told[0] == "watch-begun"
    assert told.count("watch-checked") == 2


async def test_news_are_unread_until_they_are_shown(bench: Bench) -> None:
    """The list counts them; showing them is on the record and reads them."""
    bench.library.publish({})
    name = await bench.watched()
    bench.library.publish({TERM: payload(b"t" * 16)})
    await bench.watches.look()
    assert [w.unread for w in bench.watches.listed(bench.user)] == [1]
    auditor = replace(bench.approver, roles=frozenset({Role.AUDITOR}))
    assert [(w.watch_id, w.unread) for w in bench.watches.listed(auditor)] == [(name, 0)]
    shown = await bench.watches.show(name, bench.user)
    (item,) = shown.news
    assert (item.unread, item.partner_id, item.answer.records[0].ref) == (True, OWNER, b"t" * 16)
    assert bench.subjects()[-1] == "watch-read"
    assert [w.unread for w in bench.watches.listed(bench.user)] == [0]


async def test_period_and_events_are_applied_as_in_the_query(bench: Bench) -> None:
    """What is older than the period is no news, and what lies outside the events says so."""
    bench.library.publish({})
    scope = Scope(since=int(NOW) - DAY_S, events=("gate-out",))
    name = await bench.watched(TERM, OTHER, scope=scope)
    old = payload(b"o" * 16, on=TODAY - timedelta(days=9))
    bench.library.publish({OTHER: old, TERM: payload(b"t" * 16)})
    await bench.watches.look()
    shown = await bench.watches.show(name, bench.user)
    assert [(n.term.value, n.answer.outside) for n in shown.news] == [(TERM[1], True)]


async def test_each_look_tells_of_new_hits_and_of_none(bench: Bench) -> None:
    """Whoever listens for hits hears of each look, and of each reference once."""
    bench.library.publish({OTHER: payload(b"o" * 16)})
    await bench.watched(TERM, OTHER)
    for said in ({OTHER: payload(b"o" * 16)}, {TERM: payload(b"t" * 16)}, {}):
        bench.library.publish(said)
        await bench.watches.look()
    assert [[ref for _, _, ref in refs] for _, refs in bench.told] == [[], [b"t" * 16], []]
    asked = bench.told[0][0]
    assert (asked.user, asked.purpose) == (bench.user.spiffe_id, "drug-trafficking")


async def test_after_a_restart_what_came_meanwhile_is_looked_up(bench: Bench) -> None:
    """The last snapshot looked up in is kept with the watch."""
    bench.library.publish({})
    name = await bench.watched()
    bench.library.publish({TERM: payload(b"t" * 16)})
    bench.watches = bench.opened()
    await bench.watches.look()
    assert await bench.news(name) == [("appeared", TERM[1])]


async def test_a_partner_that_never_answered_is_not_watched_and_said(bench: Bench) -> None:
    """Nobody takes its silence for no hit."""
    bench.library.publish({})
    batch = bench.batch(salts={OWNER: bytes(32), "police": bytes(32)})
    await bench.watches.begin(batch)
    assert bench.state(batch.batch_id) == "must_renew"
    await bench.watches.keep(batch, bench.found(batch), None)
    (watch,) = bench.watches.listed(bench.user)
    assert watch.state == pb.WATCH_STATE_MUST_RENEW
    assert {p.partner_id: p.reason for p in watch.places} == {OWNER: "", "police": "UNANSWERED"}


async def _epoch(bench: Bench) -> None:
    bench.now = NOW + 1000  # the library's snapshots end then


async def _later_epoch(bench: Bench) -> None:
    bench.library.publish({}, epoch=4)


async def _class(bench: Bench) -> None:
    found = bench.library.held.held["container"].manifest.audience
    bench.library.publish({}, audience=replace(found, partners=("customs", "police")))


async def _policy(bench: Bench) -> None:
    bench.watches = bench.opened(policy_serial=2)


async def _partner(bench: Bench) -> None:
    partners = {p: x for p, x in bench.world.directory.partners.items() if p != OWNER}
    bench.watches = bench.opened(directory=_with(bench.world.directory, partners))


def _with(directory: Directory, partners: dict[str, Any]) -> Directory:
    return replace(directory, partners=partners)


async def _secret(bench: Bench) -> None:
    bench.shelf = WatchShelf(bench.vault, Cipher(b"x" * 32))
    bench.watches = bench.opened()
    bench.library.publish({})


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (_epoch, "EPOCH_OVER"),
        (_later_epoch, "CLASS_OVER"),
        (_class, "CLASS_OVER"),
        (_policy, "POLICY_CHANGED"),
        (_partner, "PARTNER_LEFT"),
        (_secret, "OUTPUTS_LOST"),
    ],
)
async def test_what_is_over_must_be_renewed_and_is_said_once(
    bench: Bench, what: Any, why: str
) -> None:
    """The user is told, the outputs are erased, and a later snapshot is not looked up."""
    bench.library.publish({})
    name = await bench.watched()
    assert bench.state(name) == "active"
    await what(bench)
    await bench.watches.look()
    await bench.watches.look()
    assert bench.state(name) == "must_renew"
    assert await bench.news(name) == [("must_renew", why)]
    assert bench.outputs() == []


async def test_a_renewed_watch_goes_on_under_its_id_with_its_news(bench: Bench) -> None:
    """Under a new order and in the new epoch; what it noticed before stays."""
    bench.library.publish({})
    name = await bench.watched()
    bench.library.publish({TERM: payload(b"t" * 16)}, epoch=4, ends_at=int(NOW) + 3 * DAY_S)
    await bench.watches.look()
    bench.now = NOW + DAY_S
    assert await bench.watched(renews=name) == name
    assert bench.state(name) == "active"
    bench.library.publish({}, epoch=4, ends_at=int(NOW) + 3 * DAY_S)
    await bench.watches.look()
    assert await bench.news(name) == [("must_renew", "CLASS_OVER"), ("disappeared", TERM[1])]
    assert len(bench.outputs()) == 1


async def test_a_renewal_that_nobody_answers_watches_nothing(bench: Bench) -> None:
    """A new order alone keeps nothing alive: it is paid for with a query, or it is void."""
    bench.library.publish({})
    name = await bench.watched()
    await bench.watches.begin(bench.batch(renews=name, until=NOW + 20 * DAY_S))
    assert bench.state(name) == "must_renew"
    assert bench.outputs() == []


async def test_an_answer_to_an_older_order_is_not_kept(bench: Bench) -> None:
    """Nor one to a watch that was removed meanwhile."""
    bench.library.publish({})
    first = bench.batch()
    await bench.watches.begin(first)
    await bench.watches.begin(bench.batch(renews=first.batch_id))
    await bench.watches.keep(first, bench.found(first), None)
    assert bench.outputs() == []
    await bench.watches.remove(first.batch_id, bench.user)
    await bench.watches.keep(first, bench.found(first), None)
    assert bench.watches.listed(bench.user) == []


@pytest.mark.parametrize(("days", "kept"), [(3, 3), (300, 90), (None, 90)])
async def test_news_are_kept_as_long_as_owner_and_case_allow(
    bench: Bench, days: int | None, kept: int
) -> None:
    """The shorter retention wins; then they go, with a watch that is over as well."""
    bench.library.publish({}, ends_at=int(NOW) + 400 * DAY_S)
    name = await bench.watched(days=days)
    bench.library.publish({TERM: payload()}, ends_at=int(NOW) + 400 * DAY_S)
    await bench.watches.look()
    bench.now = NOW + kept * DAY_S - 1
    assert ("appeared", TERM[1]) in await bench.news(name)
    bench.now = NOW + kept * DAY_S
    assert ("appeared", TERM[1]) not in await bench.news(name)
    bench.now = NOW + 90 * DAY_S
    await bench.watches.look()
    assert bench.watches.listed(bench.user) == []
    assert bench.subjects()[-1] == "watch-expired"


async def test_an_owner_that_lets_nothing_be_kept_is_not_watched(bench: Bench) -> None:
    """Its evaluations are not kept either, and the place says why."""
    bench.library.publish({})
    name = await bench.watched(days=0)
    assert [place.over for place in bench.places(name)] == ["RETENTION"]
    assert bench.outputs() == []


async def test_an_entry_that_does_not_open_spoils_its_owners_place_only(bench: Bench) -> None:
    """It is the owner's doing; the user is told that nothing is watched there any more."""
    bench.library.publish({})
    name = await bench.watched()
    bench.library.publish({TERM: payload(b"t" * 16)})
    held = bench.library.held.held["container"]
    place = next(bench.library.folder.glob("2/*.snapshot"))
    octets = bytearray(place.read_bytes())
    start = next(i for i in range(0, len(octets), 96) if octets[i : i + 8] != b"\xff" * 8)
    octets[start + 20] ^= 1
    place.write_bytes(octets)
    assert held.snapshot is not None
    await bench.watches.look()
    assert await bench.news(name) == [("must_renew", "ENTRY")]


# ── Orders ───────────────────────────────────────────────────────────────────────────────────


def _other_key(bench: Bench) -> Batch:
    return replace(bench.batch(), certificate=bench.world.certificate("customs", "u-c03"))


def _other_mandate(bench: Bench) -> Batch:
    return replace(bench.batch(), mandate=bench.batch().mandate)


def _sealed(bench: Bench) -> Batch:
    made = bench.batch()
    mandate = made.content
    mandate.mode = query_pb2.MODE_SEALED
    return _signed_again(bench, replace(made, mandate=mandate.SerializeToString()))


def _signed_again(bench: Bench, batch: Batch) -> Batch:
    from fairlead import signing

    order = pb.WatchOrder.FromString(batch.watch)
    order.mandate_digest = signing.digest(batch.mandate)
    data = signing.canonical(order)
    key = signing.load_user_key(bench.world.opened.layout.user("customs", "u-c01") / "user.key")
    return replace(batch, watch=data, watch_signature=signing.sign_as_user(key, "watch", data))


def _too_many(bench: Bench) -> Batch:
    return bench.batch(*[("container", f"T{n}") for n in range(MAX_TERMS + 1)])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_other_key, "SIGNATURE"),
        (_other_mandate, "WATCH_ORDER"),
        (_sealed, "WATCH_SIZE"),
        (_too_many, "WATCH_SIZE"),
        (lambda b: b.batch(until=NOW), "WATCH_UNTIL"),
        (lambda b: b.batch(until=NOW + MAX_FOR_S + 1), "WATCH_UNTIL"),
        (lambda b: b.batch(renews=b"n" * 16), "UNKNOWN_WATCH"),
        (lambda b: replace(b.batch(), watch=b"\xff"), "MALFORMED"),
    ],
)
async def test_only_what_its_user_signed_may_stand(bench: Bench, make: Any, code: str) -> None:
    """For this mandate, blind, of few terms, and with an end."""
    bench.watches.check(bench.batch())
    with pytest.raises(FairleadError) as caught:
        bench.watches.check(make(bench))
    assert code in caught.value.reasons


async def test_a_renewal_asks_what_was_asked(bench: Bench) -> None:
    """Not other terms under an old name, and not what has ended."""
    bench.library.publish({})
    name = await bench.watched()
    with pytest.raises(FairleadError) as caught:
        bench.watches.check(bench.batch(OTHER, renews=name))
    assert caught.value.code == "WATCH_DIFFERS"
    bench.now = NOW + 8 * DAY_S
    await bench.watches.look()
    with pytest.raises(FairleadError) as caught:
        bench.watches.check(bench.batch(renews=name))
    assert caught.value.code == "WATCH_ENDED"


async def test_there_is_an_end_to_the_number_of_watches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user has so many, a partner so many; those that ended do not count."""
    monkeypatch.setattr(watches, "MAX_OF_USER", 2)
    bench.library.publish({})
    for _ in range(2):
        name = await bench.watched()
    with pytest.raises(FairleadError) as caught:
        bench.watches.check(bench.batch())
    assert caught.value.code == "WATCHES_FULL"
    bench.watches.check(bench.batch(user="u-c03"))
    bench.watches.check(bench.batch(renews=name))
    monkeypatch.setattr(watches, "MAX_OF_PARTNER", 2)
    with pytest.raises(FairleadError):
        bench.watches.check(bench.batch(user="u-c03"))


# ── At rest ──────────────────────────────────────────────────────────────────────────────────


async def test_a_watch_survives_its_own_octets(bench: Bench) -> None:
    """What is read back is what was kept."""
    bench.library.publish({TERM: payload(b"t" * 16)})
    name = await bench.watched(scope=Scope(since=5, events=("gate-in",), tlp=2, pap=3))
    bench.library.publish({})
    await bench.watches.look()
    (watch,), (place,) = bench.shelf.watches(), bench.places(name)
    assert Watch.from_bytes(watch.to_bytes()) == watch
    assert Watched.from_bytes(place.to_bytes()) == place
    assert len(watch.news) == 1


async def test_nothing_of_a_watch_is_in_clear(bench: Bench) -> None:
    """No term, no case, no output: not in the vault, not in the log."""
    bench.library.publish({TERM: payload(b"t" * 16)})
    batch = bench.batch()
    await bench.watches.begin(batch)
    found = bench.found(batch)
    await bench.watches.keep(batch, found, None)
    rows = [row for outputs, _ in found.looked for row in outputs.rows]
    data = b"".join(path.read_bytes() for path in bench.folder.iterdir() if path.is_file())
    for secret in (TERM[1].encode(), b"t" * 16, b"WATCH", *rows):
        assert secret not in data
    assert bench.shelf.outputs(bench.shelf.watches()[0], bench.places(batch.batch_id)[0]).rows == (
        tuple(rows)
    )


# ── Every sequence ───────────────────────────────────────────────────────────────────────────


class Standing(RuleBasedStateMachine):
    """A user, an owner, an approver and time, in any order, against what must always hold."""

    keys: World

    @initialize()
    def begin(self) -> None:
        """A case, a snapshot without the term, and a watch on it."""
        self.loop = asyncio.new_event_loop()
        self.home = TemporaryDirectory(dir=os.environ.get("TMPDIR"))
        self.bench = Bench(self.keys, Path(self.home.name))
        self.run(self.bench.open_case(members=["u-c01", "u-c03"]))
        self.epoch, self.has, self.ended = 3, False, False
        self.publish(has=False)
        self.name = self.run(self.bench.watched(until=NOW + 5 * DAY_S))
        self.ends_at = NOW + 5 * DAY_S

    def run(self, work: Any) -> Any:
        """One step of a user or of the node."""
        return self.loop.run_until_complete(work)

    def look(self) -> None:
        """What the node does after each step; twice is as once."""
        self.run(self.bench.watches.look())
        before = self.bench.subjects()
        self.run(self.bench.watches.look())
        assert self.bench.subjects() == before

    @rule(has=st.booleans())
    def publish(self, has: bool) -> None:
        """The owner's next snapshot of the epoch."""
        self.has = has
        self.bench.library.publish(
            {TERM: payload(bytes([self.bench.library.serial % 250 + 1]) * 16)} if has else {},
            epoch=self.epoch, ends_at=int(NOW) + self.epoch * DAY_S,
        )  # fmt: skip
        before = self._said() if hasattr(self, "name") else None
        if before is None:
            return
        state = self.bench.state(self.name)
        self.look()
        after = self._said()
        if state != "active":
            assert not {"appeared", "changed", "disappeared"} & set(after[len(before) :])

    @rule(has=st.booleans())
    def next_epoch(self, has: bool) -> None:
        """Another key: what was evaluated opens nothing any more."""
        self.epoch += 1
        self.publish(has)

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        """Time goes on."""
        self.bench.now += hours * 3600
        self.look()

    @rule(member=st.booleans())
    def assign(self, member: bool) -> None:
        """The approver takes the user off the case, and on again."""
        change = {"add": ["u-c01"], "remove": []} if member else {"add": [], "remove": ["u-c01"]}
        self.run(self.bench.cases.assign(CASE, self.bench.approver, **change))
        self.look()

    @rule()
    def restart(self) -> None:
        """The node starts again."""
        self.bench.watches = self.bench.opened()
        self.look()

    @rule()
    def renew(self) -> None:
        """The user signs anew, where that is let."""
        batch = self.bench.batch(renews=self.name)
        try:
            self.bench.watches.check(batch)
        except FairleadError:
            assert self.bench.state(self.name) in {"ended", ""}
            return
        assert self.bench.state(self.name) != "ended"
        self.ends_at = self.bench.now + 7 * DAY_S
        self.run(self.bench.watches.begin(batch))
        self.run(self.bench.watches.keep(batch, self.bench.found(batch), None))
        self.look()

    def _said(self) -> list[str]:
        return [kind for kind, _ in self.run(self.bench.news(self.name))]

    @invariant()
    def never_silently_blind(self) -> None:
        """Not active means that the user was told; ended is for good, and keeps nothing."""
        if not hasattr(self, "name"):
            return
        state, said = self.bench.state(self.name), self._said()
        live = [place for place in self.bench.places(self.name) if not place.over]
        assert len(self.bench.outputs()) == len(live)
        if state == "must_renew":
            assert "must_renew" in said
        if self.ended or state == "ended":
            self.ended = True
            assert (state, said[-1], live) == ("ended", "ended", [])
        if state == "active":
            member = "u-c01" in self.bench.cases.get(CASE).members
            assert member
            assert self.bench.now < min(self.ends_at, *(place.ends_at for place in live))
            assert bool(live[0].known) == self.has

    def teardown(self) -> None:
        """Let go of the files."""
        if hasattr(self, "bench"):
            self.bench.close()
            self.loop.close()
            self.home.cleanup()


def test_a_watch_is_never_silently_blind_whatever_happens(world: World) -> None:
    """Active, must be renewed, ended: over any sequence of what users, owners and time do."""
    Standing.keys = world
    run_state_machine_as_test(
        Standing, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )
