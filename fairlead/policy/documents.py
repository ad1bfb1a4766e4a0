"""Policy files as officers write them: their form, and every error of form with its place.

A value is never repeated in a problem, and neither is an unknown key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from fairlead.errors import Misconfigured
from fairlead.forms import STRICT, placed, said_of
from fairlead.written import Path, Unreadable, line_of, load

MAX_FILE = 1024 * 1024
"""Octets of one file."""
EU = "EU"
"""Stands for every country that the registry says is in the European Union."""
SCHEMA = 2

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Party = Annotated[
    str, Field(pattern=r"^(sector:[a-z]+|kind:[a-z_]+|partner:[a-z][a-z0-9-]{1,31})$")
]
PartnerId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
FacetName = Annotated[
    str, Field(pattern=r"^(existence|count_band|contact_desk|full_record|field:[a-z][a-z0-9_]*)$")
]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Countries = Annotated[list[Country], Field(min_length=1)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Natural = Annotated[int, Field(ge=0, le=1_000_000_000)]
Kind = Annotated[str, Field(pattern=r"^[a-z_]+$")]
Onward = Literal["none", "with-consent", "same-sector"]


class InvalidAgreements(Misconfigured):
    """A policy file is wrong; ``problems`` has every one, ``file:line: path: what is expected``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the agreements cannot be used",
            reasons=("AGREEMENTS_INVALID",),
            remedy="correct every line listed, then: fairlead-node check --config FILE",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


class _Row(BaseModel):
    model_config = STRICT


# ── The registry ─────────────────────────────────────────────────────────────────────────────


class Limits(_Row):
    """Ceilings no agreement can lift."""

    max_terms: Count
    second_person_above_terms: Count
    max_records: Count
    retention_days: Count


class Purpose(_Row):
    """What a question may be for. ``covert``: nobody at the owner must notice it."""

    title: Title
    covert: bool
    highly_sensitive: bool = False
    """A quorum of witnesses cosigns that it is asked before anybody is asked."""
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    approvals: Annotated[int, Field(ge=0, le=5)]


class LegalBasis(_Row):
    """Which kinds of organisation may rely on which law."""

    title: Title
    kinds: Annotated[list[Kind], Field(min_length=1)]


class FieldRow(_Row):
    """A field that sources may release."""

    personal: bool


class Jurisdiction(_Row):
    """A country. ``grounds``: on which a transfer to it can rest, where it is outside the EU."""

    title: Title
    eu: bool
    grounds: list[Id] = []


class TransferGround(_Row):
    """The law that lets data pass to a country outside the EU."""

    title: Title


class InstrumentKind(_Row):
    """A legal instrument that an agreement may demand, and the authorities that issue it."""

    title: Title
    authorities: Annotated[list[Id], Field(min_length=1)]


class HandlingCodes(_Row):
    """Which handling codes the federation knows; a record with any other is not released."""

    tlp: Annotated[
        list[Literal["CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED"]], Field(min_length=1)
    ]
    pap: Annotated[list[Literal["CLEAR", "GREEN", "AMBER", "RED"]], Field(min_length=1)]
    europol: Annotated[list[Literal["H0", "H1", "H2", "H3"]], Field(min_length=1)]
    source_grade: Annotated[list[Literal["A", "B", "C", "X"]], Field(min_length=1)]
    information_grade: Annotated[list[Literal["1", "2", "3", "4"]], Field(min_length=1)]
    active_target: Literal["no-hit-and-alert"]
    """Answered as no hit, and the owner's desk is told; never in a blind index."""


class Registry(_Row):
    """The meaning of every word the agreements use."""

    limits: Limits
    purposes: Annotated[dict[Id, Purpose], Field(min_length=1)]
    legal_bases: Annotated[dict[Id, LegalBasis], Field(min_length=1)]
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    figure_roles: list[Id] = []
    """Roles that may ask for figures, where an agreement on them says so."""
    fields: Annotated[dict[Id, FieldRow], Field(min_length=1)]
    jurisdictions: Annotated[dict[Country, Jurisdiction], Field(min_length=1)]
    transfer_grounds: dict[Id, TransferGround]
    instruments: dict[Id, InstrumentKind]
    handling: HandlingCodes


# ── Agreements ───────────────────────────────────────────────────────────────────────────────


class Controllers(_Row):
    """The legal entities that answer for the data, where an agreement is between two of them."""

    asker: Title
    owner: Title


class Demanded(_Row):
    """The legal instrument that a case must carry: one of these kinds, of one of these
    authorities."""

    kinds: Annotated[list[Id], Field(min_length=1)]
    authorities: Annotated[list[Id], Field(min_length=1)]


class Agreement(_Row):
    """Partners of ``from`` may ask partners of ``to``, under these terms."""

    id: Id
    """What decisions and logs cite."""
    extends: Id | None = None
    """Another agreement, whose every field holds here that is not written here."""
    asked_by: Annotated[list[Party], Field(min_length=1, alias="from")]
    """Who asks: sector:public, kind:police, partner:terminal-north."""
    to: Annotated[list[Party], Field(min_length=1)]
    """Who owns the records, in the same words."""
    controllers: Controllers | None = None
    asker_countries: Countries = [EU]
    """ISO 3166 codes of the registry; EU is all of its countries there."""
    owner_countries: Countries = [EU]
    """The same of the partner that is asked."""
    record_countries: Countries = [EU]
    """The same of the records."""
    transfer_ground: Id | None = None
    """A word of the registry, where a country of the two sides is outside the EU."""
    purposes: Annotated[list[Id], Field(min_length=1)]
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    instrument: Demanded | None = None
    modes: Annotated[list[Literal["sealed", "blind"]], Field(min_length=1)]
    """sealed: the owner learns the term. blind: it does not."""
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    facets: Annotated[list[FacetName], Field(min_length=1)]
    """What may be disclosed: existence, count_band, contact_desk, field:NAME, full_record."""
    redact: list[Id]
    """Fields withheld although a facet covers them."""
    max_records: Count
    approvals: Annotated[int, Field(ge=0, le=5)] = 0
    """How many people at the owner must approve first."""
    second_approver: Annotated[int, Field(ge=0, le=2)] = 0
    """How many other people at the asker must approve before the question is sent."""
    onward: Onward = "none"
    """To whom the asker may pass the answer on."""
    notice_delay_s: Natural
    retention_days: Count
    max_terms: Count
    max_window_days: Count | None
    """The longest period asked about; null is none."""
    valid_from: dt.date
    valid_until: dt.date
    """The first day on which it does not hold any more."""


CubeId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
EVERY = "*"
"""How ``cubes: all`` is read: no cube can be called so, and no file can say it otherwise."""


def _all_in_words(value: object, read: ValidatorFunctionWrapHandler) -> list[str]:
    found: list[str] = [EVERY] if value == "all" else read(value)
    return found


class FiguresAgreement(_Row):
    """Partners of ``from`` may ask for the figures of some cubes."""

    id: Id
    """What decisions and logs cite."""
    asked_by: Annotated[list[Party], Field(min_length=1, alias="from")]
    """Who asks: sector:public, kind:police, partner:terminal-north."""
    countries: Countries = [EU]
    """ISO 3166 codes of the registry where the asker is; EU is all of its countries there."""
    cubes: Annotated[
        list[CubeId],
        Field(min_length=1),
        WrapValidator(_all_in_words),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "all"},
                    {"type": "array", "minItems": 1, "items": {"type": "string"}},
                ]
            }
        ),
    ]
    """Cubes of the registry of cubes by id, or the word all."""
    purposes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    """Words of figure_roles."""
    valid_from: dt.date
    valid_until: dt.date
    """The first day on which it does not hold any more."""


class OptOut(_Row):
    """A partner that takes no part in an agreement, on either side."""

    partner: PartnerId
    agreement: Id


class Document(_Row):
    """One file. Agreements are read by :mod:`fairlead.policy.extending`, which joins each with
    the one that it extends."""

    schema_version: Annotated[Literal[2], Field(alias="schema")]
    registry: Registry | None = None
    adopt: list[Id] = []
    """In a partner's own file: agreements of the federation that it keeps."""
    opt_outs: list[OptOut] = []
    agreements: list[dict[str, Any]] = []
    statistics: list[FiguresAgreement] = []
    """Who may ask for figures; in a partner's own file, which of its people."""


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A file of the right form, and where everything stands in it."""

    name: str
    document: Document
    lines: Mapping[Path, int]

    def problem(self, path: Path, text: str) -> str:
        """``file:line: path: text``."""
        return f"{self.name}:{placed(self.lines, path, text)}"


def read_file(name: str, data: bytes, problems: list[str]) -> PolicyFile | None:
    """Read one file; None, and its problems added to ``problems``, when it is wrong."""
    document, lines, found = _read(data)
    problems.extend(f"{name}:{problem}" for problem in found)
    return None if document is None else PolicyFile(name=name, document=document, lines=lines)


def parse_document(name: str, data: bytes, problems: list[str]) -> Document | None:
    """The document of :func:`read_file`."""
    file = read_file(name, data, problems)
    return None if file is None else file.document


Read = tuple[Document | None, Mapping[Path, int], tuple[str, ...]]


@lru_cache(maxsize=8)
def _read(data: bytes) -> Read:
    """The document in some octets, and what is wrong; the same octets are read once."""
    if len(data) > MAX_FILE:
        return None, {}, ("1: (top): a file of at most 1 MiB is expected",)
    try:
        marked = load(data)
    except Unreadable as error:
        wrong = f"{error.line}: (top): YAML is expected, without aliases and repeated keys"
        return None, {}, (wrong,)
    stale = isinstance(marked.content, dict) and marked.content.get("schema") == 1
    if stale:
        line = line_of(marked.lines, ("schema",))
        return None, {}, (f"{line}: schema: {SCHEMA_1}",)
    try:
        return Document.model_validate(marked.content), marked.lines, ()
    except ValidationError as error:
        found = [(tuple(item["loc"]), said(item)) for item in error.errors()]
    return None, {}, tuple(placed(marked.lines, path, text) for path, text in found)


SCHEMA_1 = (
    "2 is expected: write schema: 2; a registry also needs jurisdictions, transfer_grounds, "
    "instruments and handling (docs/policy.md)"
)


def said(item: Any) -> str:
    """What is expected where pydantic found an error; never the value, nor an unknown key."""
    return said_of(item, _MODELS)


_MODELS = (
    Document, Registry, Limits, Purpose, LegalBasis, FieldRow, Jurisdiction, InstrumentKind,
    HandlingCodes, Agreement, Controllers, Demanded, FiguresAgreement, OptOut,
)  # fmt: skip


def json_schema() -> dict[str, Any]:
    """The form of a file as JSON Schema, for editors; ``policies/schema`` has it."""
    schema = Document.model_json_schema(by_alias=True)
    row = Agreement.model_json_schema(by_alias=True)
    schema["$defs"] |= row.pop("$defs")
    needed = row.pop("required")
    row["anyOf"] = [{"required": ["id", "extends"]}, {"required": needed}]
    schema["$defs"]["Agreement"] = row
    schema["properties"]["agreements"]["items"] = {"$ref": "#/$defs/Agreement"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
