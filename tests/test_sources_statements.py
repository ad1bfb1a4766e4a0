"""What the owner's database sees of the federation's questions: nothing."""

from __future__ import annotations

import time
from pathlib import Path

from node.indexing import build
from tests.federation import OTHER, STORY, Federation, federation, states
from tests.postgres import Postgres, postgres
from tests.test_sources_sql import MAPPING, TABLE, fill

OWNER = "terminal-north"


def _settle(server: Postgres) -> int:
    """Octets of the log, once no connection of the node is left to write to it."""
    with server.admin() as connection:
        for _ in range(100):
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fairlead-node'"
            ).fetchone()
            if found == (0,):
                break
            time.sleep(0.05)
    return server.size_of_log()


async def _span(made: Federation, server: Postgres, term: str) -> tuple[list[str], bool]:
    """A refresh, a question, a refresh: the node's statements, and whether it was a hit."""
    config = made.node_configs[OWNER]
    begin = _settle(server)
    build(config, progress=lambda _count, _rate: None)
    await made.stop_node(OWNER)
    await made.start_node(OWNER)
    events = await made.ask(term)
    build(config, progress=lambda _count, _rate: None)
    hit = states(events)[OWNER].answers[0].hit
    return server.statements(begin, of="fairlead-node", until=_settle(server)), hit


async def test_the_database_sees_the_same_for_a_hit_and_for_no_hit(tmp_path: Path) -> None:
    """The statement logs around a hit and around a miss are equal, octet by octet."""
    with postgres() as server:
        server.run(
            "CREATE ROLE reader LOGIN", TABLE, fill(1, 50), "GRANT SELECT ON moves TO reader"
        )
        server.run("UPDATE moves SET at = now() - interval '1 hour'")
        mapping = tmp_path / "moves.toml"
        mapping.write_text(MAPPING.replace("URL", server.url(user="reader")), encoding="utf-8")
        async with federation(tmp_path, start=False) as made:
            config = made.node_configs[OWNER].model_copy(update={"sources": (mapping,)})
            made.node_configs[OWNER] = config
            build(config, progress=lambda _count, _rate: None)
            await made.start_gateway()
            for partner in ("customs", OWNER, "oceanic-line"):
                await made.start_node(partner)
            await made.open_case()
            hits, hit = await _span(made, server, STORY)
            misses, miss = await _span(made, server, OTHER)
    assert (hit, miss) == (True, False)
    assert len([line for line in hits if "DECLARE" in line]) == 2
    assert "".join(hits) == "".join(misses)
    assert not [line for line in hits if STORY in line or OTHER in line]


async def test_no_question_reaches_the_database_between_refreshes(tmp_path: Path) -> None:
    """Between two refreshes the node says nothing to its database, whatever is asked."""
    with postgres() as server:
        server.run(TABLE, fill(1, 5), "UPDATE moves SET at = now() - interval '1 hour'")
        mapping = tmp_path / "moves.toml"
        mapping.write_text(MAPPING.replace("URL", server.url()), encoding="utf-8")
        async with federation(tmp_path, start=False) as made:
            config = made.node_configs[OWNER].model_copy(update={"sources": (mapping,)})
            made.node_configs[OWNER] = config
            build(config, progress=lambda _count, _rate: None)
            begin = _settle(server)
            await made.start_gateway()
            for partner in ("customs", OWNER, "oceanic-line"):
                await made.start_node(partner)
            await made.open_case()
            found = [states(await made.ask(term))[OWNER].answers[0].hit for term in (STORY, OTHER)]
            said = server.statements(begin, of="fairlead-node", until=_settle(server))
    assert found == [True, False]
    assert said == []
