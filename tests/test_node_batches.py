"""Batches: every row comes out in its place, and an interruption anywhere changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead import sealing
from fairlead.cli import ask, results
from fairlead.cli.results import Result, gather
from fairlead.cli.terms import TermsFile, read_terms
from fairlead.client import NodeClient
from fairlead.errors import LogUnavailable, Stale
from fairlead.identifiers import recognise
from fairlead.policy.engine import WasmEngine
from fairlead.v1 import asking_pb2, audit_pb2
from tests.federation import (
    ANALYST,
    APPROVER,
    OTHER,
    STORY,
    Federation,
    federation,
    record,
    request,
)

CHUNK = 4
KNOWN = "MSCU6639891"
PLATE = "NL:AB-12-CD"


class Place:
    """A federation on a loop of the test's own, whose chunks hold four terms."""

    def __init__(self, runner: asyncio.Runner, made: Federation) -> None:
        self.run = runner.run
        self.made = made

    async def ask(self, file: TermsFile, *, stop_after: int | None = None) -> Result:
        """Ask every term of a file; the user leaves after some events when told to."""
        result = Result(terms=file.terms, rows=file.rows)
        async with self.made.client(*ANALYST) as client:
            draft = await client.prepare(request(terms=()), terms=file.terms, rows=file.rows)
            events = client.ask(draft)
            return await gather(upto(events, stop_after), result, live=False)

    async def resume(self, query_id: str) -> Result:
        async with self.made.client(*ANALYST) as client:
            events = client.resume(bytes.fromhex(query_id))
            return await gather(events, Result(), live=False)

    async def resume_when_reachable(self, query_id: str) -> Result:
        """The same, while the node's channel still believes that the gateway is away."""
        for _ in range(300):
            try:
                return await self.resume(query_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)
        raise AssertionError

    def asked(self, partner: str = "terminal-north") -> Counter[bytes]:
        """How often the owner wrote an INTENT for each mandate's chunk of terms."""
        rows = self.made.nodes[partner].log.read("SELECT body FROM leaf")
        leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return Counter(
            leaf.header_digest for leaf in leaves if leaf.type == audit_pb2.LEAF_TYPE_INTENT
        )


async def upto(events: AsyncIterator[Any], count: int | None) -> AsyncIterator[Any]:
    seen = 0
    async for event in events:
        yield event
        seen += 1
        if seen == count:
            return


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    patch = pytest.MonkeyPatch()
    patch.setattr(sealing, "MAX_TERMS", CHUNK)
    patch.setattr(results, "CHUNK", CHUNK)
    # A busy machine must not make a policy decision late: the tests compare two runs.
    patch.setitem(WasmEngine.__init__.__kwdefaults__, "deadline_s", 10.0)
    folder = tmp_path_factory.mktemp("batches")
    records = {"terminal-north": [record(STORY), record(KNOWN)]}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Federation:
            partners = ("customs", "police", "terminal-north")
            made = await stack.enter_async_context(
                federation(folder, partners=partners, records=records)
            )
            await made.open_case()
            return made

        made = runner.run(begin())
        try:
            yield Place(runner, made)
        finally:
            runner.run(stack.aclose())
            patch.undo()


def quiet(text: str, scheme: str | None) -> asking_pb2.Term:
    return ask.recognise(text, scheme, aloud=False)


def container(serial: int) -> str:
    """A container number with a right check digit, scattered as those of a manifest are."""
    owner = ("CSQU", "MSCU", "TGHU", "MEDU", "HLXU", "TCLU")[serial % 6]
    front = f"{owner}{serial * 7919 % 1_000_000:06d}"
    return next(
        front + str(digit)
        for digit in range(10)
        if any(f.validity.value == "checksum_ok" for f in recognise(front + str(digit)))
    )


WEIRD = st.text(
    alphabet=st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=12
)
SCHEMES = {"container", "vehicle-plate", "vessel-imo"}
"""Those of the case."""
ROWS = st.lists(
    st.one_of(
        st.sampled_from([STORY, OTHER, KNOWN, PLATE, STORY.lower(), "mscu 663987-0", "", "  "]),
        st.integers(0, 12).map(lambda n: container(n * 7919 % 1_000_000)),
        WEIRD,
    ),
    min_size=1,
    max_size=24,
)


def write(folder: Path, rows: list[str]) -> Path:
    path = folder / "terms.txt"
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def test_any_file_of_terms_gives_its_rows_in_order(place: Place, tmp_path: Path) -> None:
    """N rows in, N rows out: what is blank or unread says so, what repeats is answered alike."""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=ROWS)
    def every(rows: list[str]) -> None:
        file = read_terms(write(tmp_path, rows), quiet)
        assert len(set(map(str, file.terms))) == len(file.terms)
        if not file.terms or not {t.scheme for t in file.terms} <= SCHEMES:
            return  # whatever else a weird row is taken for, the case does not cover
        result = place.run(place.ask(file))
        assert result.complete
        out = result.by_row()
        assert [row["input"] for row in out] == [row.strip()[:64] for row in rows]
        for row, text in zip(out, rows, strict=True):
            if not text.strip():
                assert (row["result"], row["reason"]) == ("not asked", "BLANK")
            elif row["term"] is None:
                assert row["result"] == "not asked"
                assert row["reason"]
            else:
                wanted = "hit" if row["term"] in {STORY, KNOWN} else "no hit"
                assert row["result"] == wanted
                assert {p["partner"] for p in row["partners"]} == {"police", "terminal-north"}

    every()


def batch(tmp_path: Path) -> TermsFile:
    rows = [STORY, "", *(container(n) for n in range(100, 107)), KNOWN, "nonsense?", STORY]
    return read_terms(write(tmp_path, rows), quiet)


def rows_of(result: Result) -> list[dict[str, Any]]:
    """The rows without what may differ between two runs: the age of an index."""
    found = result.by_row()
    for row in found:
        for partner in row["partners"]:
            partner.pop("index_age_s")
    return found


@pytest.mark.parametrize("events", range(1, 13))
def test_a_user_who_leaves_anywhere_resumes_to_the_same_rows(
    place: Place, tmp_path: Path, events: int
) -> None:
    """Whatever was seen before leaving, resuming gives the undisturbed result and asks once."""
    file = batch(tmp_path)
    undisturbed = place.run(place.ask(file))
    before = place.asked()
    left = place.run(place.ask(file, stop_after=events))
    again = place.run(place.resume(left.query_id))
    assert again.complete
    assert rows_of(again) == rows_of(undisturbed)
    asked = place.asked() - before
    assert len(asked) == 3
    assert set(asked.values()) == {1}


def test_a_finished_query_is_shown_from_what_is_kept(place: Place, tmp_path: Path) -> None:
    """Resuming or showing it asks nobody, and shows rows, lines and receipts alike."""
    result = place.run(place.ask(batch(tmp_path)))
    before = place.asked()
    again = place.run(place.resume(result.query_id))
    assert rows_of(again) == rows_of(result)
    assert len(again.evidence) == len(result.evidence) == 3
    assert place.asked() == before


def test_an_answer_that_nobody_has_any_more_is_lost_and_not_no_hit(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that dies before it keeps a line, and a gateway that restarts: nobody is asked again,
    the owner's line says LOST, and its rows are incomplete."""
    file = read_terms(write(tmp_path, [OTHER, container(7)]), quiet)

    async def scenario() -> Result:
        query_id = await interrupted(place, file, monkeypatch)
        await place.made.stop_gateway()
        await place.made.start_gateway()
        return await place.resume_when_reachable(query_id)

    before = place.asked()
    again = place.run(scenario())
    assert set((place.asked() - before).values()) == {1}
    assert again.complete
    status = {line["partner"]: (line["status"], line["reason"]) for line in again.partners}
    assert status["terminal-north"] == ("lost", "ANSWER_LOST")
    assert [row["result"] for row in again.by_row()] == ["incomplete", "incomplete"]


async def interrupted(place: Place, file: TermsFile, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ask, and fail before the terminal's line is kept; the query's id."""
    history = place.made.nodes["customs"].asking._history
    keeps = history.put_line

    async def dies(
        batch: Any, number: int, line: asking_pb2.OpenedAnswer, *rest: Any, **kept: Any
    ) -> None:
        if line.partner_id == "terminal-north":
            raise LogUnavailable("the disk is gone")
        await keeps(batch, number, line, *rest, **kept)

    result = Result(terms=file.terms, rows=file.rows)
    with monkeypatch.context() as broken:
        broken.setattr(history, "put_line", dies)
        async with place.made.client(*ANALYST) as client:
            draft = await client.prepare(request(terms=()), terms=file.terms, rows=file.rows)
            with pytest.raises(grpc.aio.AioRpcError):
                await gather(client.ask(draft), result, live=False)
    return result.query_id


def test_a_gateway_that_denies_what_it_has_seen_gets_nothing_asked_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that the octets came too late; the chunk made anew is refused everywhere, and the
    asker sees LOST."""
    file = read_terms(write(tmp_path, [OTHER, container(8)]), quiet)

    async def scenario() -> Result:
        query_id = await interrupted(place, file, monkeypatch)
        assert place.made.gateway is not None
        tactical = place.made.gateway.tactical
        honest, told = tactical.query, []

        async def denies(message: Any, peer: Any) -> AsyncIterator[Any]:
            if not told:
                told.append(1)
                raise Stale("never seen", reasons=("QUERY_WINDOW",))
            async for event in honest(message, peer):
                yield event

        with monkeypatch.context() as lying:
            lying.setattr(tactical, "query", denies)
            return await place.resume(query_id)

    before = place.asked()
    result = place.run(scenario())
    status = {line["partner"]: (line["status"], line["reason"]) for line in result.partners}
    assert status["terminal-north"] == ("lost", "MANDATE_USED")
    assert list((place.asked() - before).values()) == [1]


def test_octets_that_never_arrived_are_made_anew(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After their time a chunk nobody received goes under a new header, and is asked once."""
    file = read_terms(write(tmp_path, [STORY, container(9)]), quiet)
    sealer = place.made.nodes["customs"].asking._sealer

    async def scenario() -> Result:
        result = Result(terms=file.terms, rows=file.rows)
        await place.made.stop_gateway()
        async with place.made.client(*ANALYST) as client:
            draft = await client.prepare(request(terms=()), terms=file.terms, rows=file.rows)
            with pytest.raises(grpc.aio.AioRpcError) as silent:
                await gather(client.ask(draft), result, live=False)
        assert silent.value.code() is grpc.StatusCode.UNAVAILABLE
        app = await place.made.start_gateway()
        with monkeypatch.context() as later:
            later.setattr(sealer, "_clock", lambda: time.time() + 60)
            later.setattr(app.tactical._admission, "_clock", lambda: time.time() + 130)
            return await place.resume_when_reachable(result.query_id)

    before = place.asked()
    result = place.run(scenario())
    assert [row["result"] for row in result.by_row()] == ["hit", "no hit"]
    assert list((place.asked() - before).values()) == [1]


def test_a_repetition_after_its_time_is_shown_what_is_stored(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An asker that comes back late with the same octets gets its answers; nobody is asked."""
    file = read_terms(write(tmp_path, [STORY, container(10)]), quiet)

    async def scenario() -> Result:
        query_id = await interrupted(place, file, monkeypatch)
        assert place.made.gateway is not None
        admission = place.made.gateway.tactical._admission
        with monkeypatch.context() as later:
            later.setattr(admission, "_clock", lambda: time.time() + 3 * 3600)
            return await place.resume(query_id)

    before = place.asked()
    result = place.run(scenario())
    assert [row["result"] for row in result.by_row()] == ["hit", "no hit"]
    assert list((place.asked() - before).values()) == [1]


def test_a_closed_case_stops_a_batch_at_once(place: Place, tmp_path: Path) -> None:
    """Nothing more is sent under a case that was closed, not even by resuming."""
    file = batch(tmp_path)

    async def scenario() -> None:
        await place.made.open_case("CASE-SHUT")
        async with place.made.client(*ANALYST) as client:
            draft = await client.prepare(
                request(case_id="CASE-SHUT"), terms=file.terms, rows=file.rows
            )
            events = upto(client.ask(draft), 2)
            result = await gather(events, Result(terms=file.terms), live=False)
            async with place.made.client(*APPROVER) as approver:
                await approver.stub.CloseCase(asking_pb2.CloseCaseRequest(case_id="CASE-SHUT"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await place.resume(result.query_id)
            assert "CASE_NOT_ASSIGNED" in str(caught.value.trailing_metadata())
            with pytest.raises(grpc.aio.AioRpcError):
                await client.prepare(request(case_id="CASE-SHUT"), terms=file.terms, rows=file.rows)

    before = place.asked()
    place.run(scenario())
    assert len(place.asked() - before) == 1


async def _listed(client: NodeClient) -> list[asking_pb2.QuerySummary]:
    return list((await client.stub.ListQueries(asking_pb2.ListQueriesRequest())).queries)


def test_history_is_the_users_own(place: Place, tmp_path: Path) -> None:
    """Somebody else's query is as unknown as one that never was."""
    result = place.run(place.ask(batch(tmp_path)))

    async def others() -> tuple[list[Any], list[str]]:
        found, codes = [], []
        async with place.made.client("customs", "u-c03") as client:
            found = await _listed(client)
            for events in (
                client.show(bytes.fromhex(result.query_id)),
                client.resume(bytes.fromhex(result.query_id)),
                client.show(bytes(16)),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    async for _ in events:
                        pass
                codes.append(caught.value.details())
        return found, codes

    found, codes = place.run(others())
    assert found == []
    assert len(set(codes)) == 1
