"""kill -9 under load: a log's process is killed at random moments and started again on its file."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import receipts
from tests.faults import subject
from tests.faults.appending import appending
from tests.faults.promises import Kept, Promises, judge

LINES = 1600
"""A process says one to so many lines, four a query, before it is killed."""
JUDGED = 10
"""After so many kills, and after the last, the file is verified and compared."""


@dataclass(slots=True)
class Killed:
    """What a lane of kills found."""

    kills: int = 0
    kept: Kept = field(default_factory=Kept)


def lane(folder: Path, kills: int, seed: int, *extra: str, lines: int = LINES) -> Killed:
    """So many kills, one after the other, on one log.

    :param extra: arguments of the appender.
    :raises FairleadError: the log did not open, or does not verify, after a kill.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, chance = folder / "log.sqlite", random.Random(seed)
    promises, found, heads = Promises(), Killed(), list[receipts.Head]()
    for number in range(1, kills + 1):
        with appending(path, *extra, said=folder / "said.txt") as running:
            running.until("T")
            running.read(chance.randrange(1, lines))
            running.kill()
            running.end()
        found.kills += 1
        promises.hear(running.lines)
        if promises.failed:
            promises.broken.add("an append was refused though nothing was wrong")
        if number % JUDGED == 0 or number == kills:
            found.kept = judge(path, promises, heads)
            heads.append(_head(path))
    return found


def _head(path: Path) -> receipts.Head:
    """The file's head, which whatever it becomes has to extend."""
    log = subject.open_log(path)
    log.close()
    return log.head
