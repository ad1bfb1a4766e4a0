"""node.refreshing: what changes at a source is answered by the running node, or is on record."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fairlead import identifiers
from fairlead.config import NodeConfig
from fairlead.errors import SourceUnusable
from fairlead.v1 import audit_pb2
from node import indexing
from node.app import NodeApp
from node.index import Index, Progress
from node.indexing import INDEX_FILE, Gate, accept_all
from node.refreshing import Refresher
from node.sources.mapping import SourceMapping
from node.sources.source import Source
from tests.federation import Federation, build_index, federation, record
from tests.processes import NODE, command, write_config

OWNER = "terminal-north"
HEADER = "container_no,at,place"
MAPPING = """
source = "{name}"
files = ["{name}.csv"]
record_type = "movement"
event = "gate-in"
purposes = ["drug-trafficking"]
retention_days = 3650
active_target = false
personal = false
time = {{ column = "at", format = "iso" }}
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


def write_source(folder: Path, rows: int, *, name: str = "gate", header: str = HEADER) -> Path:
    """A CSV file with ``rows`` containers, and its mapping."""
    lines = [header, *(f"BENU{n:06d},2026-10-01T10:00:00Z,Gate 7" for n in range(rows))]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.toml").write_text(MAPPING.format(name=name))
    return folder / f"{name}.toml"


def holds(index: Index, number: int) -> bool:
    """Whether the ``number``-th container is found."""
    return bool(index.lookup(identifiers.normalise("container", f"BENU{number:06d}")))


async def started(made: Federation, folder: Path, rows: int = 10) -> NodeApp:
    """The owner's node, with a source, refreshed only when a test says so."""
    mapping = write_source(folder, rows)
    config = made.node_configs[OWNER].model_copy(
        update={"sources": (mapping,), "refresh_s": 86_400}
    )
    made.node_configs[OWNER] = config
    app = await made.start_node(OWNER)
    await app.refresher.close()  # its own first refresh; the tests do theirs
    return app


def refresher_of(app: NodeApp, config: NodeConfig, gate: Gate = accept_all) -> Refresher:
    """A loop that is not started."""
    return Refresher(
        config, app.index, app.log, app.answering._leaves, clock=app.index._clock, gate=gate
    )


def alarms(app: NodeApp) -> list[tuple[str, tuple[str, ...]]]:
    """Subject and reasons of every ALARM in the node's log."""
    leaves = [
        audit_pb2.AuditLeaf.FromString(row[0])
        for row in app.log.read("SELECT body FROM leaf ORDER BY idx")
    ]
    return [(x.subject, tuple(x.reasons)) for x in leaves if x.type == audit_pb2.LEAF_TYPE_ALARM]


async def test_a_record_added_at_the_source_is_answered_without_a_restart(tmp_path: Path) -> None:
    """The serving node's own index finds a new row after a refresh by another process."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        refresher = refresher_of(app, made.node_configs[OWNER])
        await refresher.refresh()
        assert holds(app.index, 9)
        assert not holds(app.index, 10)
        write_source(tmp_path, 11)
        await refresher.refresh()
        assert holds(app.index, 10)
        state = refresher.state()
        gate = state.sources["gate"]
        assert (gate.records, gate.rows, gate.incident) == (11, 11, "")
        assert state.progress is None
        assert state.incident == ""
        assert alarms(app) == []


async def test_a_started_node_refreshes_by_itself(tmp_path: Path) -> None:
    """The loop refreshes at the start; ``wake`` makes it do so again."""
    import asyncio

    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        refresher = refresher_of(app, made.node_configs[OWNER])
        refresher.start()
        while not holds(app.index, 9):
            await asyncio.sleep(0.05)
        write_source(tmp_path, 12)
        refresher.wake()
        while not holds(app.index, 11):
            await asyncio.sleep(0.05)
        await refresher.close()


async def test_an_incident_is_one_alarm_and_the_records_stay(tmp_path: Path) -> None:
    """A lost column and a lost file are each on record once, and answers go on as before."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        refresher = refresher_of(app, made.node_configs[OWNER])
        await refresher.refresh()
        write_source(tmp_path, 10, header=HEADER.replace("place", "plaats"))
        await refresher.refresh()
        await refresher.refresh()
        assert alarms(app) == [("source/gate", ("SCHEMA_CHANGED",))]
        assert refresher.state().sources["gate"].incident == "SCHEMA_CHANGED"
        (line,) = refresher.lines()
        assert (line["source"], line["state"]) == ("gate", "SCHEMA_CHANGED")
        (tmp_path / "gate.csv").unlink()
        await refresher.refresh()
        assert alarms(app)[1:] == [("source/gate", ("SOURCE_DOWN",))]
        assert holds(app.index, 9)
        write_source(tmp_path, 10)
        await refresher.refresh()
        assert refresher.state().sources["gate"].incident == ""
        assert len(alarms(app)) == 2


async def test_a_mapping_that_cannot_be_read_keeps_its_records(tmp_path: Path) -> None:
    """A mapping broken by an editor is an incident, and not a reason to forget a source."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        refresher = refresher_of(app, made.node_configs[OWNER])
        await refresher.refresh()
        (tmp_path / "gate.toml").write_text("source = 1\n")
        await refresher.refresh()
        assert refresher.state().unreadable == {"gate": "CONFIG_INVALID"}
        (line,) = refresher.lines()
        assert (line["source"], line["state"]) == ("gate", "CONFIG_INVALID")
        assert alarms(app) == [("source/gate", ("CONFIG_INVALID",))]
        assert holds(app.index, 9)


async def test_what_the_gate_does_not_let_through_is_not_held(tmp_path: Path) -> None:
    """A source whose exposure was not accepted is not indexed; closing the gate removes it."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        config = made.node_configs[OWNER]
        await refresher_of(app, config, gate=lambda _mapping: False).refresh()
        assert not holds(app.index, 1)
        await refresher_of(app, config, gate=lambda m: m.file.source == "gate").refresh()
        assert holds(app.index, 1)
        await refresher_of(app, config, gate=lambda _mapping: False).refresh()
        assert not holds(app.index, 1)
        assert app.index.records == 0


async def test_a_refresh_that_cannot_begin_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that starts no process is an incident, and the loop looks again later."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        refresher = refresher_of(app, made.node_configs[OWNER])
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "gone"))
            await refresher.refresh()
        assert alarms(app) == [("index", ("REFRESH_CRASHED",))]
        await refresher.refresh()
        assert holds(app.index, 9)


async def test_nothing_wrong_with_one_source_keeps_the_records_of_a_refused_one(
    tmp_path: Path,
) -> None:
    """A mapping nobody can read keeps its own records and not those of a source whose mapping
    was edited since it was accepted."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        other = write_source(tmp_path, 5, name="yard")
        config = made.node_configs[OWNER]
        config = config.model_copy(update={"sources": (*config.sources, other)})
        await refresher_of(app, config).refresh()
        assert app.index.records == 15
        other.write_text("source = 1\n")
        await refresher_of(app, config, gate=lambda _mapping: False).refresh()
        assert set(app.index.sources()) == {"yard"}
        assert app.index.records == 5


def test_a_refused_source_goes_before_another_one_is_read(tmp_path: Path) -> None:
    """Whoever makes one source endless does not thereby keep another one's records in use."""
    gate, yard = write_source(tmp_path, 10), write_source(tmp_path, 5, name="yard")
    config = NodeConfig.model_construct(
        state_dir=tmp_path / "state", index_key=None, sources=(gate, yard)
    )
    indexing.refresh(config)
    write_source(tmp_path, 6, name="yard")
    held: list[set[str]] = []

    def watch(_progress: Progress) -> None:
        token_key, field_key = indexing.index_keys(config)
        with closing(
            Index.open(
                config.state_dir / INDEX_FILE,
                token_key=token_key,
                field_key=field_key,
                clock=time.time,
            )
        ) as index:
            held.append(set(index.sources()))

    indexing.refresh(config, gate=lambda m: m.file.source == "yard", watch=watch)
    assert held
    assert all(names == {"yard"} for names in held)


def test_a_source_that_fills_the_memory_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it had, with its incident; the next source is read."""
    gate, yard = write_source(tmp_path, 10), write_source(tmp_path, 5, name="yard")
    config = NodeConfig.model_construct(
        state_dir=tmp_path / "state", index_key=None, sources=(gate, yard)
    )
    honest = indexing.source_of

    def source_of(mapping: SourceMapping, **rest: Any) -> Source:
        if mapping.file.source == "gate":
            raise MemoryError
        return honest(mapping, **rest)

    monkeypatch.setattr(indexing, "source_of", source_of)
    done = indexing.refresh(config)
    assert {name: error.code for name, error in done.failures.items()} == {"gate": "TOO_LARGE"}
    assert done.records == 5


async def test_an_index_that_was_put_back_is_not_served(tmp_path: Path) -> None:
    """A node that has answered from a later generation refuses to start with an older copy."""
    async with federation(tmp_path, start=False, records={OWNER: [record()]}) as made:
        config = made.node_configs[OWNER]
        file = config.state_dir / INDEX_FILE
        older = file.read_bytes()
        build_index(config, [])
        await made.start_node(OWNER)
        await made.stop_node(OWNER)
        file.write_bytes(older)
        with pytest.raises(SourceUnusable) as caught:
            await made.start_node(OWNER)
        assert caught.value.code == "INDEX_OLDER"


async def test_an_index_put_in_the_place_of_the_one_in_use_ends_it(tmp_path: Path) -> None:
    """A copy put back beside the running node does not freeze what it answers from: no answer,
    and an alarm, instead of records that no refresh can take away any more."""
    async with federation(tmp_path, start=False) as made:
        app = await started(made, tmp_path)
        config = made.node_configs[OWNER]
        await refresher_of(app, config).refresh()
        file = config.state_dir / INDEX_FILE
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
        await refresher_of(app, config, gate=lambda _mapping: False).refresh()
        with pytest.raises(SourceUnusable) as caught:
            holds(app.index, 9)
        assert caught.value.code == "INDEX_CHANGED"
        assert alarms(app) == [("index", ("INDEX_CHANGED",))]
        assert app.refresher.lines() == [{"source": "index", "state": "INDEX_CHANGED"}]


async def test_the_commands_accept_a_shrunken_source_and_verify(tmp_path: Path) -> None:
    """``index`` holds a shrunken source back with the next command, takes it when told, and
    ``index verify`` reads the whole."""
    async with federation(tmp_path, start=False) as made:
        config = made.node_configs[OWNER]
        mapping = write_source(tmp_path, 10)
        file = write_config(tmp_path / "node.toml", config, sources=[str(mapping)])
        accept = ("exposure", "accept", "--by", "u-dpo", "--config", file)
        ended = await command(NODE, *accept)
        assert ended.code == 0, ended.err
        assert (await command(NODE, "index", "--config", file)).code == 0
        write_source(tmp_path, 3)
        ended = await command(NODE, "index", "--config", file)
        assert ended.code != 0
        assert "ROWS_SHRANK" in ended.err
        assert "--accept-shrunk" in ended.err
        ended = await command(NODE, "index", "--config", file, "--accept-shrunk", "gate")
        assert ended.code == 0, ended.err
        assert "3 records held" in ended.err
        ended = await command(NODE, "index", "verify", "--config", file, "--output", "json")
        assert ended.code == 0, ended.err
        assert '"records": 3' in ended.out or '"records":3' in ended.out
        ended = await command(NODE, "index", "--config", file, "--anew")
        assert ended.code == 0, ended.err
