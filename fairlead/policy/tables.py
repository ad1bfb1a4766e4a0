"""Expectations as tables: a question in each row, and what the policy must say to it.

::

    schema: 1
    at: 2026-06-01
    columns: [asker, owner, purpose, scheme, mode, expect, facets, reason]
    rows:
      - [customs, terminal, drug-trafficking, container, blind, permit, "", ""]
      - [customs, terminal, drug-trafficking, container, sealed, deny, "", BLIND_REQUIRED]

``expect`` is permit or deny; ``facets`` are exactly the ones granted, ``reason`` the code of the
first refusal; either may be empty where nothing is claimed. Every other column is one of
:data:`fairlead.policy.inquiry.ORDINARY`; in a table with the column ``cube``, which asks for
figures, one of :data:`fairlead.policy.figures.inquiry.ORDINARY`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fairlead.errors import InvalidInput, Misconfigured
from fairlead.policy.figures.inquiry import ORDINARY as FIGURE_ORDINARY
from fairlead.policy.figures.inquiry import FigureInquiry
from fairlead.policy.figures.inquiry import decide as decide_figures
from fairlead.policy.inquiry import ORDINARY, Inquiry, Verdict, decide
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Policy

FIGURES = "cube"
"""The column that makes a table one of questions for figures."""
CLAIMS = ("expect", "facets", "reason")
MAX_ROWS = 100_000


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Annotated[Literal["1"], Field(alias="schema")]
    at: dt.date
    columns: Annotated[list[str], Field(min_length=1)]
    rows: Annotated[list[list[str]], Field(min_length=1, max_length=MAX_ROWS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One expectation and where it stands."""

    place: str
    words: Mapping[str, str]
    expect: str
    facets: frozenset[str] | None
    reason: str
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a row's question was told; ``wrong`` is empty where it is what the row expects."""

    row: Row
    verdict: Verdict | None
    wrong: tuple[str, ...]


def read_tables(files: Mapping[str, bytes]) -> list[Row]:
    """Every row of every table.

    :raises Misconfigured: TABLE_INVALID, with every problem and its place.
    """
    problems: list[str] = []
    rows = [row for name, content in files.items() for row in _table(name, content, problems)]
    if problems:
        raise InvalidTables(problems)
    return rows


class InvalidTables(Misconfigured):
    """A table of expectations cannot be read; ``problems`` has all of them, each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the tables of expectations cannot be read",
            reasons=("TABLE_INVALID",),
            remedy="correct every line listed, then: fairlead policy test DIR",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


def check_row(points: PolicyPoints, policy: Policy, row: Row) -> Result:
    """Ask the row's question and compare."""
    try:
        verdict = _verdict(points, policy, row)
    except InvalidInput as error:
        return Result(
            row=row, verdict=None, wrong=(error.remedy.partition(";")[0] or error.message,)
        )
    got = verdict.decision
    wrong = []
    if got.effect.value != row.expect:
        told = f" ({verdict.reason.code})" if verdict.reason else ""
        wrong.append(f"expected {row.expect}, got {got.effect.value}{told}")
    elif row.facets is not None and got.facets != row.facets:
        wrong.append(f"expected the facets {_listed(row.facets)}, got {_listed(got.facets)}")
    elif row.reason and (verdict.reason is None or verdict.reason.code != row.reason):
        code = verdict.reason.code if verdict.reason else "none"
        wrong.append(f"expected the reason {row.reason}, got {code}")
    return Result(row=row, verdict=verdict, wrong=tuple(wrong))


def _verdict(points: PolicyPoints, policy: Policy, row: Row) -> Verdict:
    """:raises InvalidInput: QUESTION_WORDS."""
    if FIGURES in row.words:
        return decide_figures(points, FigureInquiry.of(row.words, policy, now=row.now))
    return decide(points, Inquiry.of(row.words, policy, now=row.now))


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


def _table(name: str, content: bytes, problems: list[str]) -> Iterator[Row]:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content)):
            raise yaml.YAMLError
        # Every cell is text: in YAML's own reading `no` would be a truth value.
        table = _Table.model_validate(yaml.load(content, Loader=yaml.BaseLoader))  # noqa: S506
        lines = _lines(content)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, ValidationError) as error:
        problems.append(f"{name}: {_why(error)}")
        return
    known = {*(FIGURE_ORDINARY if FIGURES in table.columns else ORDINARY), *CLAIMS}
    strangers = [c for c in table.columns if c not in known]
    if strangers or "expect" not in table.columns or len(set(table.columns)) < len(table.columns):
        problems.append(f"{name}: columns: expect, and each of {', '.join(sorted(known))} once")
        return
    now = int(dt.datetime.combine(table.at, dt.time(12), dt.UTC).timestamp())
    for cells, line in zip(table.rows, lines, strict=True):
        place = f"{name}:{line}"
        words = dict(zip(table.columns, cells, strict=False))
        claims = {claim: words.pop(claim, "") for claim in CLAIMS}
        if len(cells) != len(table.columns) or claims["expect"] not in {"permit", "deny"}:
            problems.append(f"{place}: one cell a column, and expect is permit or deny")
            continue
        facets = frozenset(claims["facets"].split()) if claims["facets"] else None
        yield Row(
            place=place, words=words, expect=claims["expect"], facets=facets,
            reason=claims["reason"], now=now,
        )  # fmt: skip


def _lines(content: bytes) -> list[int]:
    top = yaml.compose(content, Loader=yaml.SafeLoader)
    pairs = top.value if isinstance(top, yaml.MappingNode) else []
    (rows,) = (value for key, value in pairs if key.value == "rows")
    return [row.start_mark.line + 1 for row in rows.value]


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: not of the documented form"
    return "YAML of the documented form is expected"


def _listed(facets: frozenset[str]) -> str:
    return " ".join(sorted(facets)) or "none"
