"""A watch over a running federation: a record added at a source becomes news at the asker only."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from demo.accepting import accept_sources
from fairlead import signing
from fairlead.cli.output import Exit
from fairlead.client import Standing
from fairlead.errors import FairleadError
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2
from node.snapshots import Snapshots
from tests.blind import require_libsodium
from tests.commands import as_user
from tests.federation import APPROVER, CASE, OTHER, PURPOSE, STORY, Federation, federation
from tests.live import leaves, until
from tests.publications import OWNER, holds

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")
READER = "customs"
QUESTION = ("--case", CASE, "--purpose", PURPOSE)
MATCHABLE_S, WATCHED_S = 60.0, 120.0
"""The product's own limits, not the tests': from the source to a snapshot, and to a watch."""
SEEN_AT = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
OTHERS = [f"BENU{number:06d}" for number in range(20)]
"""So that one row less is no incident."""
HISTORY = audit_pb2.LEAF_TYPE_HISTORY
MAPPING = """
source = "gate"
files = ["gate.csv"]
record_type = "movement"
event = "gate-in"
purposes = ["drug-trafficking"]
retention_days = 365
active_target = false
personal = false
time = { column = "at", format = "iso" }
[[identifiers]]
scheme = "container"
column = "container_no"
[handling]
tlp = "AMBER"
pap = "AMBER"
europol = "H0"
source_grade = "A"
information_grade = "1"
[fields]
place = "place"
"""


def write_source(folder: Path, *containers: str) -> Path:
    """The owner's gate: a file of containers, and its mapping."""
    folder.mkdir(exist_ok=True)
    rows = [f"{name},{SEEN_AT},Gate 7" for name in (*containers, *OTHERS)]
    rows.insert(0, "container_no,at,place")
    fresh = folder / "gate.fresh"
    fresh.write_text("\n".join(rows) + "\n")
    fresh.replace(folder / "gate.csv")
    (folder / "gate.toml").write_text(MAPPING)
    return folder / "gate.toml"


@asynccontextmanager
async def with_source(folder: Path, *containers: str) -> AsyncIterator[Federation]:
    """An owner whose node reads a real source, and publishes by itself; a reader who has it."""
    async with federation(
        folder, partners=(READER, OWNER), records={}, unaccepted=[OWNER], start=False
    ) as made:
        mapping = write_source(folder / "gate", *containers)
        config = made.node_configs[OWNER].model_copy(update={"sources": (mapping,), "refresh_s": 1})
        made.node_configs[OWNER] = config
        accept_sources(config)
        await made.start_gateway()
        for partner in (READER, OWNER):
            await made.start_node(partner)
        await made.open_case()
        await until(lambda: usable(made.nodes[READER].snapshots))
        for container in containers:
            await until(lambda: found(made, container))  # noqa: B023  awaited at once
        yield made


def usable(snapshots: Snapshots) -> bool:
    """Whether the owner's containers can be looked up."""
    try:
        snapshots.usable(OWNER, purpose=PURPOSE, scheme="container")
    except FairleadError:
        return False
    return True


def found(made: Federation, container: str) -> bool:
    """Whether it can be matched at the reader."""
    return holds(made.nodes[READER], made.nodes[OWNER], container)


def watch_of(made: Federation, name: str) -> asking_pb2.Watch:
    """A watch as its user's list shows it."""
    watches = made.nodes[READER].watches
    (kept,) = [w for w in watches._shelf.watches() if w.watch_id.hex() == name]
    return watches._told(kept)


def subjects(made: Federation) -> list[str]:
    """What the reader's log says of kept answers, in order."""
    return [leaf.subject for leaf in leaves(made.nodes[READER].log) if leaf.type == HISTORY]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    async with with_source(tmp_path_factory.mktemp("watch"), OTHER) as running:
        yield running


async def added(made: Federation, *terms: str) -> str:
    """A watch on these terms; its id."""
    ended = await as_user(made, "watch", "add", *terms, *QUESTION, "--output", "json")
    assert ended.code == Exit.ANSWERED, ended.err
    return str(ended.json["query_id"])


async def test_what_comes_and_goes_at_a_source_reaches_the_watch(made: Federation) -> None:
    """Within the product's limits; nothing leaves the node, and no leaf holds a term."""
    name = await added(made, STORY, OTHER)
    assert watch_of(made, name).state == asking_pb2.WATCH_STATE_ACTIVE
    sent = intents(made)
    gate = made.folder / "gate"
    write_source(gate, OTHER, STORY)
    await until(lambda: found(made, STORY), patience_s=MATCHABLE_S)
    await until(lambda: watch_of(made, name).unread == 1, patience_s=WATCHED_S)
    listed = await as_user(made, "watch", "list")
    assert f"next: fairlead watch show {name}   (1 unread)" in listed.err
    shown = await as_user(made, "watch", "show", name, "--output", "json")
    (news,) = shown.json["news"]
    assert (news["kind"], news["partner"], news["term"]) == ("appeared", OWNER, STORY)
    assert news["answer"]["records"][0]["event"] == "gate-in"
    assert watch_of(made, name).unread == 0
    write_source(gate, OTHER)
    await until(lambda: watch_of(made, name).unread == 1, patience_s=WATCHED_S)
    shown = await as_user(made, "watch", "show", name)
    assert "disappeared" in shown.out
    assert OTHER not in shown.out
    # The question was asked once, and only the asker's own log speaks of the rest.
    assert intents(made) == sent
    told = subjects(made)
    assert told[0] == "watch-begun"
    assert told.count("watch-read") == 2
    assert told.count("watch-checked") >= 2
    for leaf in leaves(made.nodes[READER].log):
        octets = leaf.SerializeToString()
        assert STORY.encode() not in octets
        assert OTHER.encode() not in octets


def intents(made: Federation) -> list[int]:
    """Queries that each log knows of."""
    apps = [made.gateway, *made.nodes.values()]
    kind = audit_pb2.LEAF_TYPE_INTENT
    return [sum(leaf.type == kind for leaf in leaves(app.log)) for app in apps]  # type: ignore[union-attr]


async def test_an_order_that_the_user_did_not_sign_sends_nothing(made: Federation) -> None:
    """Whoever drafts for a user cannot make the question stand, nor for longer."""
    sent = intents(made)
    async with made.client() as client:
        draft = await made.draft(client, STORY, mode=query_pb2.MODE_BLIND)
        order = client._order(draft.response.mandate, Standing(until=int(time.time()) + 3600))
        longer = asking_pb2.WatchOrder.FromString(order["watch"])
        longer.until += 3600
        asked = asking_pb2.AskRequest(
            preparation_id=draft.response.preparation_id,
            mandate=draft.response.mandate,
            signature=signing.sign_as_user(client._key, "mandate", draft.response.mandate),
            watch=signing.canonical(longer),
            watch_signature=order["watch_signature"],
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in client.stub.Ask(asked, timeout=10):
                pass
    assert dict(caught.value.trailing_metadata())["fairlead-reason"] == "SIGNATURE"
    assert intents(made) == sent


async def test_a_renewed_watch_is_signed_and_paid_for_again(made: Federation) -> None:
    """It keeps its id and its news, and asks once more."""
    name = await added(made, STORY)
    before = await as_user(made, "budgets", "--output", "json")
    ended = await as_user(made, "watch", "renew", name, "--for", "2d")
    assert ended.code == Exit.ANSWERED, ended.err
    after = await as_user(made, "budgets", "--output", "json")
    assert left(before.json) - left(after.json) == 1
    assert watch_of(made, name).state == asking_pb2.WATCH_STATE_ACTIVE
    assert "watch-renewed" in subjects(made)


def left(accounts: list[dict[str, object]]) -> int:
    (account,) = [a for a in accounts if (a["budget"], a["of"]) == ("user_day", "container")]
    return int(str(account["left"]))


async def test_a_removed_watch_is_gone(made: Federation) -> None:
    """Nothing of it is kept, and it is on the record."""
    name = await added(made, STORY)
    ended = await as_user(made, "watch", "remove", name)
    assert ended.code == Exit.ANSWERED
    shown = await as_user(made, "watch", "show", name)
    assert (shown.code, "UNKNOWN_WATCH" in shown.err) == (Exit.USAGE, True)
    assert subjects(made)[-1] == "watch-removed"


async def test_a_closed_case_ends_its_watches(made: Federation) -> None:
    """What was evaluated is erased, and the user is told why."""
    name = await added(made, STORY)
    async with made.client(*APPROVER) as client:
        await client.stub.CloseCase(asking_pb2.CloseCaseRequest(case_id=CASE))
    await until(lambda: watch_of(made, name).state == asking_pb2.WATCH_STATE_ENDED)
    shown = await as_user(made, "watch", "show", name, "--output", "json")
    assert (shown.json["state"], shown.json["reason"]) == ("ended", "CASE_OVER")
    assert shown.json["places"] == []
    renewed = await as_user(made, "watch", "renew", name)
    assert renewed.code == Exit.REFUSED
