"""The text of a new mapping from guesses and decisions. Pure.

Whatever nobody decided stands as ``TO FILL``, which no mapping accepts: loading it names every
such key together with the words that are possible there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from node.sources.guess import Guess, Guesses, Role, field_name

TO_FILL = "TO FILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows are: ``files`` relative to the mapping, or a database."""

    files: tuple[str, ...] = ()
    delimiter: str = ","
    sheet: str | None = None
    url: str = ""
    table: str | None = None
    query: str | None = None
    key: tuple[str, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What only a person can say; empty means that nobody has."""

    purposes: tuple[str, ...] = ()
    record_type: str = ""
    event: str = ""
    retention_days: int | None = None
    active_target: str = ""
    timezone: str = ""
    handling: dict[str, str] = field(default_factory=dict)
    ground: str = ""
    approved_by: str = ""


HANDLING = ("tlp", "pap", "europol", "source_grade", "information_grade")


def draft(name: str, origin: Origin, guesses: Guesses, decisions: Decisions) -> str:
    """The whole file."""
    persons = bool(decisions.ground)
    parts = [
        _top(name, origin, guesses, decisions),
        *([_database(origin)] if origin.url else []),
        *_identifiers(guesses, persons=persons),
        _time(guesses, decisions),
        _handling(decisions),
        _fields(guesses, persons=persons),
    ]
    if persons:
        parts.append(
            "# Why records about persons are read, and who said so.\n[personal]\n"
            f"ground = {quoted(decisions.ground)}\napproved_by = {quoted(decisions.approved_by)}"
        )
    return "\n\n".join(parts) + "\n"


def kept(guesses: Guesses, *, persons: bool) -> list[Guess]:
    """The identifier columns that the mapping reads."""
    found = [g for g in guesses.columns if g.role is Role.IDENTIFIER]
    if persons:
        found += [g for g in guesses.of(Role.PERSON) if g.share is not None]
    return found


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _top(name: str, origin: Origin, guesses: Guesses, decisions: Decisions) -> str:
    lines = [
        "# Written by `fairlead-node source add` from the first rows. Only columns named here are",
        f"# ever read. Replace every {TO_FILL}, then: fairlead-node source test {name}",
        f"source = {quoted(name)}",
    ]
    if not origin.url:
        lines.append(f"files = {_list(origin.files)}  # relative to this file")
        if origin.delimiter != ",":
            lines.append(f"delimiter = {quoted(origin.delimiter)}")
        if origin.sheet is not None:
            lines.append(f"sheet = {quoted(origin.sheet)}")
    days = decisions.retention_days
    lines += [
        f"record_type = {_said(decisions.record_type)}",
        f"event = {_event(guesses, decisions)}",
        f"purposes = {_list(decisions.purposes or (TO_FILL,))}  # records answer only these",
        f"retention_days = {quoted(TO_FILL) if days is None else days}  # 1 to 3660",
        "# Is somebody working on it covertly? true, false, or a column of yes and no.",
        f"active_target = {_flag(decisions.active_target)}",
    ]
    if not decisions.ground:
        lines.append("personal = false  # no column about a person is read")
    return "\n".join(lines)


def _event(guesses: Guesses, decisions: Decisions) -> str:
    columns = guesses.of(Role.EVENT)
    if decisions.event or not columns:
        return _said(decisions.event)
    words = ", ".join(
        f"{quoted(value)} = {quoted(event or TO_FILL)}" for value, event in guesses.events.items()
    )
    return f"{{ column = {quoted(columns[0].column)}, map = {{ {words} }} }}"


def _database(origin: Origin) -> str:
    lines = ["[database]", f"url = {quoted(origin.url)}"]
    what = ("table", origin.table) if origin.table else ("query", origin.query or "")
    lines.append(f"{what[0]} = {quoted(str(what[1]))}")
    lines.append(f"key = {_list(origin.key)}  # together they tell every row apart")
    if origin.cursor:
        lines.append(f"cursor = {quoted(origin.cursor)}  # grows with every insert and update")
    return "\n".join(lines)


def _identifiers(guesses: Guesses, *, persons: bool) -> Iterable[str]:
    issuers = guesses.of(Role.ISSUER)
    for found in kept(guesses, persons=persons):
        share = "" if found.share is None else f"  # {found.share:.0%} of the sample pass"
        lines = [
            "[[identifiers]]",
            f"scheme = {quoted(found.what)}{share}",
            f"column = {quoted(found.column)}",
        ]
        if found.what == "vehicle-plate" and issuers:
            lines.append(f"issuer = {{ column = {quoted(issuers[0].column)} }}")
        yield "\n".join(lines)


def _time(guesses: Guesses, decisions: Decisions) -> str:
    columns = guesses.of(Role.TIME)
    column, form = (columns[0].column, columns[0].what) if columns else (TO_FILL, TO_FILL)
    note = "  # month before day fits as well: check" if guesses.ambiguous else ""
    lines = ["[time]", f"column = {quoted(column)}", f"format = {quoted(form)}{note}"]
    if decisions.timezone or guesses.naive:
        lines.append(f"timezone = {_said(decisions.timezone)}  # of times that state none")
    return "\n".join(lines)


def _handling(decisions: Decisions) -> str:
    lines = [
        "# How a record may be used: each a constant, or { column = …, map = { … } }.",
        "[handling]",
    ]
    lines += [f"{part} = {_said(decisions.handling.get(part, ''))}" for part in HANDLING]
    return "\n".join(lines)


def _fields(guesses: Guesses, *, persons: bool) -> str:
    lines = ["# What may be released, under policy: name = column.", "[fields]"]
    names: set[str] = set()
    for found in _releasable(guesses):
        name = _free(field_name(found.column), names)
        out = found.role is Role.PERSON and not persons
        note = "  # about a person: left out without --allow-personal" if out else ""
        lines.append(f"{'# ' if out else ''}{name} = {quoted(found.column)}{note}")
        names |= {name}
    if all(line.startswith("#") for line in lines[2:]):
        columns = kept(guesses, persons=persons)
        lines += [f"{_free(field_name(c.column), names)} = {quoted(c.column)}" for c in columns[:1]]
    return "\n".join(lines)


def _releasable(guesses: Guesses) -> Sequence[Guess]:
    """Fields, those about persons too: what has a share is an identifier of a scheme."""
    fields = (Role.FIELD, Role.PERSON)
    return [found for found in guesses.columns if found.role in fields and found.share is None]


def _free(name: str, taken: set[str]) -> str:
    places = [name, *(f"{name[:28]}_{number}" for number in range(2, len(taken) + 3))]
    return next(place for place in places if place not in taken)


def _said(word: str) -> str:
    return quoted(word or TO_FILL)


def _flag(word: str) -> str:
    return word if word in {"true", "false"} else quoted(TO_FILL)


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(quoted(word) for word in words)}]"
