"""``fairlead audit`` at a running node: auditors alone, and every reading on the record first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from fairlead import receipts
from fairlead.auditing.export import Checker
from fairlead.auditing.selection import Selection
from fairlead.cli.output import Exit
from fairlead.v1 import audit_pb2
from fairlead.v1 import audit_reading_pb2 as pb
from tests.commands import Ended, as_user
from tests.federation import CASE, OTHER, STORY, Federation, federation

pytestmark = pytest.mark.asyncio(loop_scope="module")
AUDITOR = ("customs", "u-c06")
READ = audit_pb2.LEAF_TYPE_READ


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """A federation that serves, after two queries."""
    folder = tmp_path_factory.mktemp("audit")
    async with federation(folder, partners=("customs", "terminal-north")) as running:
        await running.open_case()
        for term in (STORY, OTHER):
            await running.ask(term)
        yield running


async def typed(made: Federation, *words: str, user: str = AUDITOR[1]) -> Ended:
    return await as_user(made, "audit", *words, user=user)


async def listed(
    made: Federation, limit: int = 1000, who: tuple[str, str] = AUDITOR, **fields: Any
) -> tuple[list[tuple[int, audit_pb2.AuditLeaf]], int]:
    """The service itself: place and leaf, and where to go on."""
    found, rest = [], 0
    async with made.client(*who) as client:
        request = pb.ListLeavesRequest(selection=audit_pb2.LeafSelection(**fields), limit=limit)
        async for page in client.auditor.ListLeaves(request, timeout=20):
            found += [(i.index, audit_pb2.AuditLeaf.FromString(i.leaf)) for i in page.leaves]
            rest = page.next
    return found, rest


def bodies(made: Federation, partner: str = "customs") -> list[bytes]:
    return [row[0] for row in made.nodes[partner].log.read("SELECT body FROM leaf ORDER BY idx")]


async def test_an_auditor_lists_and_the_reading_is_a_leaf(made: Federation) -> None:
    """The table is newest first, shows no term, and its own reading is in the log before it."""
    size = made.nodes["customs"].log.head.size
    ended = await typed(made, "list", "--limit", "5")
    assert ended.code == Exit.ANSWERED, ended.err
    places = [int(line.split()[0]) for line in ended.out.splitlines()[1:]]
    assert places == list(range(size - 1, size - 6, -1))
    assert f"--before {places[-1]}" in ended.err
    last = audit_pb2.AuditLeaf.FromString(bodies(made)[-1])
    assert (last.type, last.subject) == (READ, "audit-listed")
    assert last.user.endswith("/partner/customs/user/u-c06")
    assert (last.selection.first, last.selection.stop) == (0, size)
    for secret in (STORY, OTHER, CASE):
        assert secret not in ended.out


async def test_each_reading_is_durable_before_anything_is_shown(made: Federation) -> None:
    """When the log cannot take the reading's leaf, nothing is shown."""
    log = made.nodes["customs"].log
    shown: list[object] = []
    real = log.append

    async def refuse(leaf: bytes, **more: Any) -> Any:
        if audit_pb2.AuditLeaf.FromString(leaf).type == READ:
            raise grpc.RpcError
        return await real(leaf, **more)

    calls = {
        "ListLeaves": pb.ListLeavesRequest(limit=5),
        "ExportLeaves": pb.ExportLeavesRequest(),
        "ListTimestamps": pb.ListTimestampsRequest(limit=5),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log), "append", lambda _self, leaf, **more: refuse(leaf, **more))
        async with made.client(*AUDITOR) as client:
            for name, request in calls.items():
                with pytest.raises(grpc.RpcError):
                    async for item in getattr(client.auditor, name)(request, timeout=20):
                        shown.append(item)  # noqa: PERF401
            with pytest.raises(grpc.RpcError):
                shown.append(await client.auditor.ShowLeaf(pb.ShowLeafRequest(), timeout=20))
    assert shown == []


async def test_every_page_of_a_list_follows_the_last(made: Federation) -> None:
    """Every leaf comes once, whatever the page, and the end says that nothing is older."""
    every, rest = await listed(made)
    assert rest == 0
    stop, paged = every[0][0] + 1, []
    while stop:
        page, stop = await listed(made, limit=3, stop=stop)
        assert len(page) <= 3
        paged += page
    assert paged == every


async def test_only_the_own_auditor_reads(made: Federation) -> None:
    """An analyst and an approver are refused at the door, on the record, and see nothing."""
    for user in ("u-c01", "u-c02"):
        with pytest.raises(grpc.RpcError) as refused:
            await listed(made, who=("customs", user))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    ended = await typed(made, "export", str(made.folder / "x.jsonl"), user="u-c01")
    assert (ended.code, ended.out) == (Exit.REFUSED, "")
    assert "ROLE_NOT_ALLOWED" in ended.err
    assert not (made.folder / "x.jsonl").exists()
    found, _ = await listed(made, reasons=["ROLE_NOT_ALLOWED"])
    assert [leaf.subject.rpartition("/")[2] for _, leaf in found] == [
        "ExportLeaves",
        "ListLeaves",
        "ListLeaves",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"partners": [STORY]},
        {"users": [STORY]},
        {"purposes": ["MSCU 663987"]},
        {"reasons": [STORY]},
        {"query_id": b"short"},
        {"first": 9, "stop": 3},
        {"since_ms": -1},
        {"types": [0]},
        {"types": [99]},
        {"partners": [f"p-{chr(97 + n % 26)}{n}" for n in range(40)]},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_could_be_a_term_is_refused_and_in_no_leaf(
    made: Federation, fields: dict[str, Any]
) -> None:
    """A selection holds names and codes alone; another one is a refusal on the record."""
    with pytest.raises(grpc.RpcError) as refused:
        await listed(made, **fields)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    last = audit_pb2.AuditLeaf.FromString(bodies(made)[-1])
    assert last.type == audit_pb2.LEAF_TYPE_REFUSAL
    assert last.subject == "AuditReadingService.ListLeaves"
    assert not any(STORY.encode() in body for body in bodies(made))


@pytest.mark.parametrize("limit", [0, 10_001])
async def test_a_limit_is_between_one_and_ten_thousand(made: Federation, limit: int) -> None:
    """A list without an end, or with none, is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        await listed(made, limit=limit)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_leaf_is_shown_in_words_with_its_proof(made: Federation) -> None:
    """Each field has its meaning; it is found by its hash too, and what is not there is refused."""
    ((place, _), *_), _ = await listed(made, types=[audit_pb2.LEAF_TYPE_INTENT])
    ended = await typed(made, "show", str(place))
    assert ended.code == Exit.ANSWERED, ended.err
    assert "what the question is for" in ended.out
    by_hash = bytes.fromhex(ended.err.partition("hash: ")[2][:64])
    async with made.client(*AUDITOR) as client:
        shown = await client.auditor.ShowLeaf(pb.ShowLeafRequest(leaf_hash=by_hash), timeout=20)
        assert receipts.parse_proof(shown.receipt.tlog_proof).index == place
        for request in (
            pb.ShowLeafRequest(index=999_999),
            pb.ShowLeafRequest(leaf_hash=bytes(32)),
            pb.ShowLeafRequest(leaf_hash=b"short"),
            pb.ShowLeafRequest(index=1, leaf_hash=by_hash),
        ):
            with pytest.raises(grpc.RpcError):
                await client.auditor.ShowLeaf(request, timeout=20)
            last = audit_pb2.AuditLeaf.FromString(bodies(made)[-1])
            assert last.subject == "AuditReadingService.ShowLeaf"


async def test_an_export_is_verified_as_it_comes(made: Federation, tmp_path: Path) -> None:
    """The file is there once everything in it was proved."""
    file = tmp_path / "span.jsonl"
    ended = await typed(made, "export", str(file), "--leaves", "2-6", "--output", "json")
    assert ended.code == Exit.ANSWERED, ended.err
    (report,) = ended.json
    assert (report["first"], report["last"], report["leaves"]) == (2, 6, 5)
    assert report["complete"] is True


async def test_an_export_of_a_period_has_all_of_its_leaves(made: Federation) -> None:
    """Times choose the places; the leaves of these places are whole, whatever their time."""
    async with made.client(*AUDITOR) as client:
        for selection in (Selection(), Selection(since_ms=1), Selection(until_ms=2**52)):
            checker, leaves = Checker(), 0
            request = pb.ExportLeavesRequest(selection=selection.to_wire())
            async for item in client.auditor.ExportLeaves(request, timeout=20):
                if item.HasField("start"):
                    checker.start(item.start)
                elif item.HasField("page"):
                    leaves += sum(checker.take(one)[1] is not None for one in item.page.leaves)
                else:
                    checker.checkpoint(item.checkpoint)
            found = checker.finish([made.directory.partner("customs").signing_key])
            assert found.complete
            assert leaves == found.leaves > 5


async def test_usage_is_counted_from_what_was_proved(made: Federation) -> None:
    """The command fetches the period, verifies it, and shows bars."""
    ended = await typed(made, "usage", "--since", "1d")
    assert ended.code == Exit.ANSWERED, ended.err
    assert "█" in ended.out
    assert "verified:" in ended.err
    none = await typed(made, "timestamps")
    assert (none.code, "no head of this log was stamped" in none.err) == (Exit.ANSWERED, True)
