"""The register of priorities: what the Alliance resolved to do, who sees to it, until when.

A small file of JSON, kept by whoever makes the annual pack; an owner is a partner, never a person.
Reading is total, and what is written is canonical: the same priorities are the same octets.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from fairlead.errors import InvalidInput, Misconfigured, NotFound, Stale
from fairlead.forms import STRICT
from fairlead.keyfile import write_private
from fairlead.names import check_partner_id

FILE = "priorities.json"
MAX_FILE = 1024 * 1024
MAX_PRIORITIES = 500
MAX_TITLE = 200
NAMES = "fairlead stats priorities list"


class State(StrEnum):
    """What became of a priority."""

    OPEN = "open"
    DONE = "done"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """``number`` counts from 1; ``closed`` is the day it was done or dropped.

    :raises InvalidInput: PRIORITY_FORM or PARTNER_ID.
    """

    number: int
    title: str
    owner: str
    due: dt.date
    state: State = State.OPEN
    closed: dt.date | None = None

    def __post_init__(self) -> None:
        check_partner_id(self.owner)
        plain = self.title.isprintable() and self.title == self.title.strip()
        fits = 0 < len(self.title) <= MAX_TITLE and self.number > 0
        if not (plain and fits and (self.closed is None) == (self.state is State.OPEN)):
            raise InvalidInput(
                "a priority is not of its form",
                reasons=("PRIORITY_FORM",),
                remedy=f"a title is one line of at most {MAX_TITLE} characters",
            )

    def status(self, day: dt.date) -> str:
        """``open``, ``overdue``, ``done`` or ``dropped``, as of a day."""
        late = self.state is State.OPEN and self.due < day
        return "overdue" if late else self.state.value


@dataclass(frozen=True, slots=True)
class Priorities:
    """All of them, by their numbers; none is ever taken out."""

    entries: tuple[Priority, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Priorities:
        """Read a register. Total.

        :raises Misconfigured: PRIORITIES_FILE.
        """
        try:
            if len(data) > MAX_FILE:
                raise ValueError
            rows = _Document.model_validate_json(data).priorities
            entries = tuple(_priority(row) for row in rows)
        except (ValidationError, ValueError, InvalidInput):
            raise _unreadable() from None
        if [entry.number for entry in entries] != list(range(1, len(entries) + 1)):
            raise _unreadable()
        return cls(entries)

    @classmethod
    def load(cls, path: Path) -> Priorities:
        """The register in a file; an empty one where there is none.

        :raises Misconfigured: PRIORITIES_FILE.
        """
        try:
            with path.open("rb") as file:
                return cls.parse(file.read(MAX_FILE + 1))
        except FileNotFoundError:
            return cls()
        except OSError:
            raise _unreadable() from None

    def save(self, path: Path) -> None:
        """Put it in place of the file, in one step.

        :raises Misconfigured: PRIORITIES_FILE.
        """
        try:
            write_private(path, self.to_bytes())
        except OSError:
            raise _unreadable() from None

    def to_bytes(self) -> bytes:
        """Its octets."""
        rows = [
            {
                "number": entry.number,
                "title": entry.title,
                "owner": entry.owner,
                "due": entry.due.isoformat(),
                "state": entry.state.value,
                "closed": None if entry.closed is None else entry.closed.isoformat(),
            }
            for entry in self.entries
        ]
        return (
            json.dumps({"fairlead_priorities": 1, "priorities": rows}, indent=1) + "\n"
        ).encode()

    def added(self, title: str, owner: str, due: dt.date) -> Priorities:
        """The register with one more.

        :raises InvalidInput: PRIORITY_FORM, PARTNER_ID, PRIORITIES_FULL.
        """
        if len(self.entries) >= MAX_PRIORITIES:
            raise InvalidInput(
                "the register of priorities is full", reasons=("PRIORITIES_FULL",), remedy=NAMES
            )
        entry = Priority(number=len(self.entries) + 1, title=title.strip(), owner=owner, due=due)
        return Priorities((*self.entries, entry))

    def closed(self, number: int, state: State, day: dt.date) -> Priorities:
        """The register with one of them done or dropped.

        :raises NotFound: PRIORITY_UNKNOWN. :raises Stale: PRIORITY_CLOSED: it is no longer open.
        """
        if not 0 < number <= len(self.entries):
            raise NotFound("there is no such priority", reasons=("PRIORITY_UNKNOWN",), remedy=NAMES)
        entry = self.entries[number - 1]
        if entry.state is not State.OPEN:
            raise Stale(
                "the priority was closed before", reasons=("PRIORITY_CLOSED",), remedy=NAMES
            )
        made = replace(entry, state=state, closed=day)
        return Priorities((*self.entries[: number - 1], made, *self.entries[number:]))


def parse_day(text: str) -> dt.date:
    """Read ``2026-01-31``, and nothing that is only like it.

    :raises InvalidInput: DATE.
    """
    found: dt.date | None = None
    with contextlib.suppress(ValueError):
        found = dt.date.fromisoformat(text)
    if found is None or found.isoformat() != text:
        raise InvalidInput(
            "a day is not written as one", reasons=("DATE",), remedy="for example --due 2026-01-31"
        )
    return found


def overdue(entries: Sequence[Priority], day: dt.date) -> int:
    """How many of them are open and past their day."""
    return sum(entry.status(day) == "overdue" for entry in entries)


# ── The file ─────────────────────────────────────────────────────────────────────────────────


class _Row(BaseModel):
    model_config = STRICT

    number: int
    title: str
    owner: str
    due: str
    state: Literal["open", "done", "dropped"]
    closed: str | None


class _Document(BaseModel):
    model_config = STRICT

    schema_version: Annotated[Literal[1], Field(alias="fairlead_priorities")]
    priorities: Annotated[list[_Row], Field(max_length=MAX_PRIORITIES)]


def _priority(row: _Row) -> Priority:
    return Priority(
        number=row.number,
        title=row.title,
        owner=row.owner,
        due=parse_day(row.due),
        state=State(row.state),
        closed=None if row.closed is None else parse_day(row.closed),
    )


def _unreadable() -> Misconfigured:
    return Misconfigured(
        "the register of priorities cannot be read or written",
        reasons=("PRIORITIES_FILE",),
        remedy="restore the file from a copy, or name another: --register FILE",
    )
