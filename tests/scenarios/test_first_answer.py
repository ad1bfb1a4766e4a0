"""The walk of one sealed query through a whole federation."""

from __future__ import annotations

from pathlib import Path

from fairlead.evidence import verify_evidence
from fairlead.v1 import query_pb2
from tests.federation import OTHER, STORY, evidence, federation, states


async def test_a_query_comes_back_with_one_honest_line_per_partner(tmp_path: Path) -> None:
    """The owner that knows the term hits, the other one does not, and the receipt verifies."""
    async with federation(tmp_path) as made:
        await made.open_case()
        events = await made.ask(STORY)
        found = states(events)
        assert {p: a.status for p, a in found.items()} == {
            "terminal-north": query_pb2.STATUS_ANSWERED,
            "oceanic-line": query_pb2.STATUS_ANSWERED,
        }
        assert found["terminal-north"].answers[0].hit
        assert not found["oceanic-line"].answers[0].hit
        assert verify_evidence(evidence(events), made.directory).answers == 2


async def test_several_terms_are_answered_each_for_itself(tmp_path: Path) -> None:
    """Two terms in one query give two answers per owner, in order."""
    async with federation(tmp_path) as made:
        await made.open_case()
        found = states(await made.ask(OTHER, STORY))
        assert [answer.hit for answer in found["terminal-north"].answers] == [False, True]
