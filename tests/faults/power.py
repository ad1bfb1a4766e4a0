"""Simulated power loss: what was promised has to be in whatever the disk may hold afterwards.

An appender runs under strace, which writes down every write, flush, opening and removal of its
files and every line it says. The record is cut at random moments; each cut is a round: the disk of
:mod:`tests.faults.disk` gives one state of the files that the promises made before that moment have
to survive. The next record begins with a log that has lived through the cuts before.
"""

from __future__ import annotations

import itertools
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import errors
from tests.faults import injections, strace
from tests.faults.appending import appending
from tests.faults.disk import Disk, Tearing, Write, lasting
from tests.faults.promises import Kept, Promises, judge, reopen

LOAD = ("--paused", "--tasks", "8", "--queries", "10", "--autocheckpoint", "60")
CALLS = "trace=openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename,fallocate"
LONGEST = 1 << 20
"""Octets of one write that strace shows whole."""
EMPTY = "empty"
ENDING = frozenset({"fsync", "fdatasync", "openat", "unlink"})
"""Calls that count once they have ended well; a write may reach the disk from its beginning on."""
KNOWN = ENDING | {"pwrite64", "ftruncate"}
"""Calls on files that the model of the disk knows."""

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NUMBERS = re.compile(r'", (\d+), (\d+)')
_LENGTH = re.compile(r", (\d+)")
_FD = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: a call on a file of the log, or a line said."""

    call: str
    name: str
    """Of the file; empty for the folder itself."""
    write: Write | None = None
    create: bool = False
    truncate: bool = False
    said: str = ""


@dataclass(slots=True)
class Lost:
    """What the rounds found."""

    rounds: int = 0
    torn: int = 0
    """Rounds in which there was something unflushed to lose."""
    kept: Kept = field(default_factory=Kept)


def rounds(folder: Path, records: int, cuts: int, seed: int, *extra: str) -> Lost:
    """``records`` runs of an appender, each cut at so many moments.

    :param extra: arguments of the appender.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base, chance, found, promises = folder / "base", random.Random(seed), Lost(), Promises()
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    for number in range(records):
        events = record(base, folder, *extra)
        begun = Disk.holding(folder / EMPTY)
        moments = sorted(chance.randrange(len(events)) for _ in range(cuts))
        for moment, tearing in zip(moments, itertools.cycle(Tearing), strict=False):
            tried = folder / f"round-{number}"
            shutil.rmtree(tried, ignore_errors=True)
            tried.mkdir()
            held, said = replay(begun, events[:moment])
            found.torn += any(file.pending for file in held.files.values())
            held.cut(tried, tearing, chance)
            told = Promises(leaves=dict(promises.leaves), bytes_out=set(promises.bytes_out))
            told.hear(said)
            _judge(tried / "log.sqlite", told, found)
        shutil.rmtree(base)
        tried.rename(base)  # the last cut's log goes on, and what it promised stands
        promises = told
    return found


def _judge(path: Path, told: Promises, found: Lost) -> None:
    """The file has to open, go on, verify, and hold what was promised."""
    found.rounds += 1
    try:
        head = reopen(path)
        found.kept.add(judge(path, told, [head]))
    except errors.FairleadError as error:
        found.kept.troubles.add(f"after power loss: {error.code}")
        found.kept.lost += len(told.leaves)


def record(base: Path, folder: Path, *extra: str) -> list[Event]:
    """Run an appender on the log in ``base``; a copy from before it began is in ``EMPTY``."""
    before, out = folder / EMPTY, folder / "strace"
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(base, before)
    with appending(base / "log.sqlite", *LOAD, *extra, said=folder / "said.txt") as running:
        injections.traced(
            running, injections.WHOLE, out, "-s", str(LONGEST), "-e", CALLS,
        )  # fmt: skip
        if running.lines[-1] != "Z\n":
            raise AssertionError("the appender did not end well without any fault")
    return list(parsed(out, base))


def parsed(out: Path, base: Path) -> Iterator[Event]:
    """The events of a record: a write when it begins, everything else when it has ended."""
    waiting: dict[str, str] = {}
    with out.open() as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                continue
            thread, call, kind, rest = found.groups()
            begins, ends = kind == "(", not rest.endswith("<unfinished ...>")
            if begins:
                waiting[thread] = rest
            begun = waiting[thread]
            if call in ENDING and not (ends and " = -1 " not in rest):
                continue
            if call not in ENDING and not begins:
                continue
            event = _event(call, begun, base)
            if event is not None:
                yield event


def _event(call: str, begun: str, base: Path) -> Event | None:
    """One call, if it is on a file in ``base`` or says a line.

    :raises AssertionError: a call on the log's files that the disk's model does not know.
    """
    strings = [strace.octets(found) for found in _STRING.findall(begun)]
    held = _FD.match(begun)
    path = Path(strace.octets(held[2]).decode()) if held else Path(strings[0].decode())
    if held is not None and held[1] == "1" and call == "write":
        return Event(call="said", name="", said=strings[0].decode())
    if path == base and call in {"fsync", "fdatasync"}:
        return Event(call=call, name="")
    if call == "openat":
        path = Path(strings[0].decode())
    if path.parent != base or not lasting(path.name):
        return None
    if call not in KNOWN:
        raise AssertionError(f"the model of the disk does not know {call}")
    return _change(call, path.name, begun, strings)


def _change(call: str, name: str, begun: str, strings: list[bytes]) -> Event:
    if call == "pwrite64":
        size, offset = map(int, _NUMBERS.search(begun).groups())  # type: ignore[union-attr]
        if len(strings[0]) != size:
            raise AssertionError("strace did not show a write whole")
        return Event(call=call, name=name, write=Write(offset, strings[0]))
    if call == "ftruncate":
        length = int(_LENGTH.search(begun)[1])  # type: ignore[index]
        return Event(call=call, name=name, write=Write(length, None))
    return Event(call=call, name=name, create="O_CREAT" in begun, truncate="O_TRUNC" in begun)


def replay(begun: Disk, events: list[Event]) -> tuple[Disk, list[str]]:
    """The disk after some events, and what was said until then."""
    files = {name: type(file)(bytearray(file.durable)) for name, file in begun.files.items()}
    disk, said = Disk(files=files, names=dict(files)), list[str]()
    for event in events:
        if event.call == "said":
            said += event.said.splitlines(keepends=True)
        elif event.call in {"fsync", "fdatasync"}:
            if event.name:
                disk.files[event.name].flush()
            else:
                disk.flush_names()
        elif event.call == "openat":
            disk.opened(event.name, create=event.create, truncate=event.truncate)
        elif event.call == "unlink":
            disk.removed(event.name)
        elif event.write is not None:
            disk.files[event.name].pending.append(event.write)
    return disk, said
