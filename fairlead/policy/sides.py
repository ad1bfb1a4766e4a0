"""The sides of an agreement: what a question must fit, one after the other, as the kernel asks.

The kernel (``policies/agreement``) decides; this says of compiled agreements *why*, for tools
that compare and explain. A test holds the two together over random agreements and questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Policy = Mapping[str, Any]
"""The compiled ``federation`` document: the registry's words and the agreements by id."""
Row = Mapping[str, Any]
"""One compiled agreement."""
Instrument = tuple[str, str]
"""Kind and authority of a legal instrument that is in force."""

NOBODY = ""
"""The name of a partner that no agreement names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation as agreements tell it from others."""

    kind: str
    partner: str = NOBODY

    def __str__(self) -> str:
        return f"{self.partner} ({self.kind})" if self.partner else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What agreements can tell of one question to one owner. ``window_days`` None: unbounded."""

    asker: Party
    asker_country: str
    owner: Party
    owner_country: str
    purpose: str
    legal_basis: str
    instrument: Instrument | None
    mode: str
    schemes: tuple[str, ...]
    roles: tuple[str, ...]
    terms: int
    window_days: int | None
    at: int


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its name, whether a row covers a question there, and the two in words."""

    name: str
    covers: Callable[[Policy, Row, Question], bool]
    asked: Callable[[Question], str]
    agreed: Callable[[Row], str]


# ── What covers what ─────────────────────────────────────────────────────────────────────────


def names(side: Mapping[str, Mapping[str, bool]], party: Party) -> bool:
    """Whether a ``from`` or a ``to`` names this party, by its kind or by itself."""
    return party.kind in side["kinds"] or (
        party.partner != NOBODY and party.partner in side["partners"]
    )


def takes_part(row: Row, party: Party) -> bool:
    """Whether the partner has not opted out."""
    return party.partner == NOBODY or party.partner not in row["opted_out"]


def lawful(policy: Policy, row: Row, country: str) -> bool:
    """Whether data may pass to a country: one of the EU, or on a ground the registry admits."""
    place = policy["jurisdictions"].get(country, {"eu": False, "grounds": {}})
    return bool(place["eu"]) or row["transfer_ground"] in place["grounds"]


def demanded(policy: Policy, row: Row, instrument: Instrument | None) -> bool:
    """Whether the case carries what the agreement demands of it, if anything."""
    wanted = row["instrument"]
    if wanted is None:
        return True
    if instrument is None:
        return False
    kind, authority = instrument
    issued = authority in policy["instruments"].get(kind, {})
    return kind in wanted["kinds"] and authority in wanted["authorities"] and issued


def in_force(row: Row, at: int) -> bool:
    """Whether the agreement is in force at ``at`` (Unix seconds)."""
    return bool(row["valid_from"] <= at < row["valid_until"])


def fits_window(row: Row, days: int | None) -> bool:
    """Whether a period of ``days`` is short enough; None is an unbounded one."""
    longest = row["max_window_days"]
    return longest is None or (days is not None and days <= longest)


def fits_roles(row: Row, roles: Iterable[str]) -> bool:
    """Whether one of the roles may ask."""
    return any(role in row["roles"] for role in roles)


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def day(seconds: int) -> str:
    """A date, as officers write it."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def listed(words: Iterable[str]) -> str:
    """Words with commas, in order."""
    return ", ".join(sorted(words)) or "none"


def days_words(days: int | None) -> str:
    """A period."""
    return "any period" if days is None else f"{days} days"


def instrument_words(instrument: Instrument | None) -> str:
    """A legal instrument."""
    return "none" if instrument is None else f"{instrument[0]} of {instrument[1]}"


def side_words(side: Mapping[str, Mapping[str, bool]]) -> str:
    """Whom a ``from`` or a ``to`` names."""
    return listed([*side["kinds"], *side["partners"]])


def validity_words(row: Row) -> str:
    """From when until when an agreement is in force."""
    return f"{day(row['valid_from'])} until {day(row['valid_until'])}"


def _ground(row: Row) -> str:
    return str(row["transfer_ground"] or "no ground for a country outside the EU")


def _demands(row: Row) -> str:
    wanted = row["instrument"]
    if wanted is None:
        return "none"
    return f"{' or '.join(sorted(wanted['kinds']))} of {' or '.join(sorted(wanted['authorities']))}"


SIDES: tuple[Side, ...] = (
    Side("from", lambda _, r, q: names(r["from"], q.asker),
         lambda q: str(q.asker), lambda r: side_words(r["from"])),
    Side("to", lambda _, r, q: names(r["to"], q.owner),
         lambda q: str(q.owner), lambda r: side_words(r["to"])),
    Side("valid", lambda _, r, q: in_force(r, q.at),
         lambda q: day(q.at), validity_words),
    Side("purposes", lambda _, r, q: q.purpose in r["purposes"],
         lambda q: q.purpose, lambda r: listed(r["purposes"])),
    Side("legal_bases", lambda _, r, q: q.legal_basis in r["legal_bases"],
         lambda q: q.legal_basis, lambda r: listed(r["legal_bases"])),
    Side("schemes", lambda _, r, q: all(s in r["schemes"] for s in q.schemes),
         lambda q: listed(q.schemes), lambda r: listed(r["schemes"])),
    Side("roles", lambda _, r, q: fits_roles(r, q.roles),
         lambda q: listed(q.roles), lambda r: listed(r["roles"])),
    Side("max_terms", lambda _, r, q: q.terms <= r["max_terms"],
         lambda q: f"{q.terms:,}", lambda r: f"at most {r['max_terms']:,}"),
    Side("max_window_days", lambda _, r, q: fits_window(r, q.window_days),
         lambda q: days_words(q.window_days), lambda r: days_words(r["max_window_days"])),
    Side("asker_countries", lambda _, r, q: q.asker_country in r["asker_countries"],
         lambda q: q.asker_country, lambda r: listed(r["asker_countries"])),
    Side("owner_countries", lambda _, r, q: q.owner_country in r["owner_countries"],
         lambda q: q.owner_country, lambda r: listed(r["owner_countries"])),
    Side("transfer_ground",
         lambda p, r, q: lawful(p, r, q.asker_country) and lawful(p, r, q.owner_country),
         lambda q: f"{q.asker_country} and {q.owner_country}", _ground),
    Side("opt_outs", lambda _, r, q: takes_part(r, q.asker) and takes_part(r, q.owner),
         lambda q: f"{q.asker} and {q.owner}",
         lambda r: f"all but {listed(r['opted_out'])}"),
    Side("instrument", lambda p, r, q: demanded(p, r, q.instrument),
         lambda q: instrument_words(q.instrument), _demands),
    Side("modes", lambda _, r, q: q.mode in r["modes"],
         lambda q: q.mode, lambda r: listed(r["modes"])),
)  # fmt: skip
"""In the order in which a refusal names the first that none covers; who is asked comes early,
because an agreement about others is of no interest."""


def failed(policy: Policy, row: Row, question: Question) -> list[Side]:
    """The sides on which the agreement does not cover the question, in order."""
    return [side for side in SIDES if not side.covers(policy, row, question)]
