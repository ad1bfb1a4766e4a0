"""The three views of a running federation: all that an owner, the gateway, or the wire has.

Owner and gateway see what their processes receive, open, compute, write down, print and send, and
when; the wire sees the TLS records between the nodes and the gateway. What a party could derive
from its keys alone, beside a trial, is not repeated.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

import node.answering
from fairlead import telemetry
from fairlead.auditlog.sqlite_store import SqliteStore
from tests.attacks.games.sight import Sight
from tests.federation import Federation

VIEWS = ("owner", "gateway", "wire")
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass(eq=False)  # a stream that loggers keep weakly
class Watch:
    """The trial under way; between trials nobody looks."""

    made: Federation
    owner: str
    sights: dict[str, Sight] = field(default_factory=dict)
    _lines: list[tuple[float, bytes]] = field(default_factory=list)
    _rows: dict[str, list[tuple[float, str]]] = field(
        default_factory=lambda: {"owner": [], "gateway": []}
    )
    _records: dict[str, list[int]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """A trial begins."""
        self._lines.clear()
        self._records = {}
        for rows in self._rows.values():
            rows.clear()
        self.sights = {view: Sight() for view in VIEWS}

    def phase(self, name: str) -> None:
        """The next query begins; what was written down belongs to the one before."""
        self._settle()
        for sight in self.sights.values():
            sight.phase = name

    def end(self) -> dict[str, Sight]:
        """The trial is over."""
        self._settle()
        found, self.sights = self.sights, {}
        return found

    def _settle(self) -> None:
        """Rows, lines and files since the last time."""
        if not self.sights:
            return
        lines, self._lines = self._lines, []
        for view in ("owner", "gateway"):
            sight = self.sights[view]
            for moment, line in lines:
                said = orjson.loads(line)
                sight.at("line", moment)
                sight.put(f"line {said['event']}", line.replace(said["time"].encode(), b""))
            rows, self._rows[view] = self._rows[view], []
            for moment, sql in rows:
                sight.at(f"sql {sql[:12]}", moment)
                sight.statement(sql)
        for direction, sizes in self._records.items():
            self.sights["wire"].records(direction, sizes)
        self._records = {}
        self._files("owner", self.made.node_configs[self.owner].state_dir)
        self._files("gateway", self.made.gateway_config.state_dir)

    def _files(self, view: str, folder: Path) -> None:
        """Which files grew, and by how much."""
        for path in sorted(folder.iterdir()):
            size, key = path.stat().st_size, str(path)
            self.sights[view].number(f"file {path.name}", size - self._sizes.get(key, size))
            self._sizes[key] = size

    # ── What is listened to ──────────────────────────────────────────────────────────────────

    def write(self, line: bytes) -> int:
        """One line of any process's log: owner and gateway are given all of them."""
        if self.sights:
            self._lines.append((time.perf_counter(), line))
        return len(line)

    def flush(self) -> None:
        """Lines are not held back."""

    def record(self, direction: str, size: int, moment: float) -> None:
        """One TLS record."""
        if self.sights:
            self.sights["wire"].at(direction, moment)
            self.sights["wire"].number(f"{direction}.size", size)
            self._records.setdefault(direction, []).append(size)

    def rows(self, view: str, log: Any) -> None:
        """Every row that a log's file is given, with its values, as it is written."""

        def trace(sql: str) -> None:
            if self.sights and sql.lstrip().startswith(_WRITES):
                self._rows[view].append((time.perf_counter(), sql))

        cast("SqliteStore", log._writer._store)._database.set_trace_callback(trace)

    def at(self, view: str, name: str) -> None:
        """Something happened now."""
        if self.sights:
            self.sights[view].at(name, time.perf_counter())

    def message(self, view: str, name: str, message: Any, *, passed_on: bool = False) -> None:
        """A message was seen, now."""
        if self.sights:
            self.sights[view].at(name, time.perf_counter())
            self.sights[view].message(name, message, passed_on=passed_on)

    def elements(self, name: str, rows: bytes) -> None:
        """The owner sees elements."""
        if self.sights:
            self.sights["owner"].elements(name, rows)


@contextmanager
def watching(made: Federation, owner: str) -> Iterator[Watch]:
    """Listen at one owner and at the gateway of a federation that runs in this process."""
    watch = Watch(made, owner)
    evaluate, stream = node.answering.evaluate, telemetry._settings.stream
    try:
        telemetry._settings.stream = watch  # type: ignore[assignment]
        _at_owner(watch, made.nodes[owner].answering)
        _at_gateway(watch, made.gateway)
        watch.rows("owner", made.nodes[owner].log)
        assert made.gateway is not None
        watch.rows("gateway", made.gateway.log)
        yield watch
    finally:
        node.answering.evaluate = evaluate
        telemetry._settings.stream = stream


def _at_owner(watch: Watch, answering: Any) -> None:
    answer, opened, evaluate = answering.answer, answering._open, node.answering.evaluate
    release = answering._desk.release

    async def answered(request: Any, peer: Any) -> Any:
        watch.message("owner", "request", request)
        response = await answer(request, peer)
        watch.message("owner", "response", response)
        return response

    def open_part(part: bytes, query: Any) -> Any:
        question, blinded = opened(part, query)
        watch.at("owner", "opened")
        for item in blinded:
            watch.elements(f"asked {item.scheme}", item.elements)
        # Which block comes first, whatever they are called.
        for place, item in enumerate(blinded):
            if watch.sights:
                watch.sights["owner"].put(f"block {place}", item.scheme.encode() + item.audience)
        return question, blinded

    def evaluated(keyed: Any) -> Any:
        mine = keyed[0].manifest.owner == watch.owner
        if mine:
            watch.at("owner", "evaluating")
        found = evaluate(keyed)
        if mine:
            watch.at("owner", "evaluated")
            for item, said in zip(keyed, found, strict=True):
                watch.elements(f"evaluated {item.manifest.scheme}", said.evaluation.elements)
        return found

    async def released(*args: Any, **named: Any) -> None:
        watch.at("owner", "releasing")
        await release(*args, **named)
        watch.at("owner", "released")

    answering.answer, answering._open = answered, open_part
    answering._desk.release = released
    node.answering.evaluate = evaluated


def _at_gateway(watch: Watch, gateway: Any) -> None:
    query, ask = gateway.tactical.query, gateway.transport.answer

    async def queried(request: Any, peer: Any) -> AsyncGenerator[Any, None]:
        watch.message("gateway", "request", request)
        async for response in query(request, peer):
            watch.message("gateway", "response", response)
            yield response
            watch.at("gateway", "taken")
        watch.at("gateway", "ended")

    async def asked(partner_id: str, request: Any, *, timeout_s: float) -> Any:
        watch.message("gateway", f"to {partner_id}", request, passed_on=True)
        response = await ask(partner_id, request, timeout_s=timeout_s)
        watch.message("gateway", f"from {partner_id}", response)
        watch.at("gateway", "answer")
        return response

    gateway.tactical.query, gateway.transport.answer = queried, asked
