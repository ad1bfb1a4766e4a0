"""Random small policies and questions about them, over the committed words and engine."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import orjson
from hypothesis import strategies as st

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified, layer_data
from fairlead.policy.decision import Decision, disclosed
from fairlead.policy.engine import WasmEngine, _Loaded
from fairlead.policy.inputs import CaseFacts, InstrumentFacts, PartyFacts, QueryFacts, UserFacts
from fairlead.policy.inquiry import Inquiry, decide
from fairlead.policy.points import Layer, PolicyPoints
from tests.policy_cases import BASELINE, RECORD, WASM

NAME = "random"
NOW = 1_795_000_000
KINDS = {"customs": "public", "police": "public", "terminal": "private"}
PARTNERS = ("north", "south")
COUNTRIES = ("NL", "NO", "GB")
GROUNDS = ("eea-agreement", "gdpr-art-45", "")
PURPOSES = ("infiltration", "security-incident")
BASES = ("national-criminal-procedure", "gdpr-art-6-1-e", "gdpr-art-6-1-f")
SCHEMES = ("container", "seal", "iban")
ROLES = ("analyst", "senior")
FACETS = ("existence", "contact_desk", "count_band", "full_record", "field:plate", "field:seal",
          "field:driver_name")  # fmt: skip
FIELDS = ("plate", "seal", "driver_name", "event")
INSTRUMENTS = (("court-order", "court"), ("prosecutor-order", "public-prosecutor"))
SIZES = (1, 5, 1001)
DAYS = (10, 90, None)
MOMENTS = (NOW - 10, NOW, NOW + 10, NOW + 20)


@cache
def registry() -> dict[str, Any]:
    """The committed words, with a second role, without agreements."""
    words = dict(copy.deepcopy(federation_data(BASELINE)["federation"]))
    words["roles"]["senior"] = True
    words["limits"]["second_person_above_terms"] = 1000
    return {key: value for key, value in words.items() if key not in {"agreements", "sizes"}}


def some(words: tuple[Any, ...]) -> st.SearchStrategy[dict[Any, bool]]:
    """A set of at least one, as the kernel has sets."""
    return st.lists(st.sampled_from(words), min_size=1, unique=True).map(
        lambda found: dict.fromkeys(found, True)
    )


def few(words: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """A sorted list, perhaps empty."""
    return st.lists(st.sampled_from(words), unique=True).map(sorted)


sides = st.fixed_dictionaries(
    {
        "kinds": st.lists(st.sampled_from(tuple(KINDS)), min_size=1, unique=True).map(
            lambda found: dict.fromkeys(found, True)
        ),
        "partners": few(PARTNERS).map(lambda found: dict.fromkeys(found, True)),
    }
)
instruments = st.none() | st.sampled_from(INSTRUMENTS).map(
    lambda pair: {"kinds": {pair[0]: True}, "authorities": {pair[1]: True}}
)
anything = st.fixed_dictionaries(
    {
        "from": sides,
        "to": sides,
        "asker_countries": some(COUNTRIES),
        "owner_countries": some(COUNTRIES),
        "record_countries": some(COUNTRIES),
        "transfer_ground": st.sampled_from(GROUNDS),
        "instrument": instruments,
        "opted_out": few(PARTNERS).map(lambda found: dict.fromkeys(found, True)),
        "purposes": some(PURPOSES),
        "legal_bases": some(BASES),
        "modes": some(("sealed", "blind")),
        "schemes": some(SCHEMES),
        "roles": some(ROLES),
        "facets": few(FACETS).filter(bool),
        "redact": few(("plate", "driver_name")),
        "max_records": st.sampled_from((1, 20)),
        "approvals": st.sampled_from((0, 1)),
        "second_approvers": st.sampled_from((0, 1)),
        "onward": st.sampled_from(("none", "with-consent", "same-sector")),
        "notice_delay_s": st.sampled_from((0, 60)),
        "retention_days": st.sampled_from((30, 90)),
        "max_terms": st.sampled_from(SIZES),
        "max_window_days": st.sampled_from(DAYS),
        "valid_from": st.sampled_from((NOW - 10, NOW)),
        "valid_until": st.sampled_from((NOW + 10, NOW + 20)),
    }
)


WIDE: dict[str, Any] = {
    "from": {"kinds": dict.fromkeys(KINDS, True), "partners": {}},
    "to": {"kinds": dict.fromkeys(KINDS, True), "partners": {}},
    "asker_countries": dict.fromkeys(COUNTRIES, True),
    "owner_countries": dict.fromkeys(COUNTRIES, True),
    "record_countries": dict.fromkeys(COUNTRIES, True),
    "transfer_ground": "eea-agreement", "instrument": None, "opted_out": {},
    "purposes": dict.fromkeys(PURPOSES, True), "legal_bases": dict.fromkeys(BASES, True),
    "modes": {"sealed": True, "blind": True}, "schemes": dict.fromkeys(SCHEMES, True),
    "roles": dict.fromkeys(ROLES, True), "facets": ["existence", "full_record"], "redact": [],
    "max_records": 20, "approvals": 0, "second_approvers": 0, "onward": "same-sector",
    "notice_delay_s": 0, "retention_days": 90, "max_terms": 1001, "max_window_days": None,
    "valid_from": NOW - 10, "valid_until": NOW + 20,
}  # fmt: skip
"""An agreement that covers nearly every question."""


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A wide agreement narrowed, or turned, in a few fields: random ones hardly ever meet."""
    other = draw(anything)
    keys = draw(st.lists(st.sampled_from(sorted(WIDE)), max_size=4, unique=True))
    return {**copy.deepcopy(WIDE), **{key: other[key] for key in keys}}


@st.composite
def policies(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two policies, the second made from the first by changing a few things."""
    old = {f"a{i}": row for i, row in enumerate(draw(st.lists(rows(), min_size=1, max_size=3)))}
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(old)))
        fresh = draw(rows())
        what = draw(st.sampled_from(("remove", "add", "field", "field", "field")))
        if what == "remove":
            new.pop(name, None)
        elif what == "add":
            new["b"] = fresh
        elif name in new:
            key = draw(st.sampled_from(sorted(fresh)))
            new[name] = {**new[name], key: draw(st.sampled_from((draw(anything), WIDE)))[key]}
    words, other = registry(), copy.deepcopy(registry())
    if draw(st.integers(0, 4)) == 0:
        alter(draw, other)
    return layer_data(words, old), layer_data(other, new)


def alter(draw: st.DrawFn, words: dict[str, Any]) -> None:
    """One change of the registry, wider or narrower."""
    match draw(st.integers(0, 6)):
        case 0:
            words["limits"]["second_person_above_terms"] = draw(st.sampled_from((3, 2000)))
        case 1:
            words["purposes"]["infiltration"]["approvals"] = 1
        case 2:
            words["legal_bases"]["gdpr-art-6-1-f"]["kinds"]["customs"] = True
        case 3:
            words["purposes"]["security-incident"]["legal_bases"].pop("gdpr-art-6-1-e")
        case 4:
            words["fields"]["driver_name"]["personal"] = False
        case 5:
            words["jurisdictions"]["GB"]["grounds"] = {}
        case _:
            words["fields"].pop("seal")


def inquiry(query: QueryFacts, asker: PartyFacts, owner: PartyFacts, **more: Any) -> Inquiry:
    """A question with everything else in order."""
    now = more.pop("now", NOW)
    case = CaseFacts(
        open=True, assigned=True, purpose=query.purpose, legal_basis=query.legal_basis,
        schemes=query.schemes, expires_at=now + 100,
    )  # fmt: skip
    record = {
        "purposes": PURPOSES, "expires_at": now + 100, "fields": FIELDS,
        "country": more.pop("country", "NL"), "personal": more.pop("personal", False),
    }  # fmt: skip
    return Inquiry(
        now=now, query=query, asker=asker, owner=owner, case=case, approvals=9,
        user=UserFacts(pseudonym="u", roles=more.pop("roles", ("analyst",))),
        record=type(RECORD)(**{**{n: getattr(RECORD, n) for n in RECORD.__slots__}, **record}),
    )  # fmt: skip


@st.composite
def near(draw: st.DrawFn, two: tuple[dict[str, Any], dict[str, Any]]) -> Inquiry:
    """A question that some agreement of the two policies nearly covers, or does."""
    rows_of = [row for data in two for row in data["federation"]["agreements"].values()]
    row = draw(st.sampled_from(rows_of)) if rows_of else draw(rows())

    def pick(words: Any, others: tuple[Any, ...]) -> Any:
        astray = draw(st.integers(0, 9)) == 0
        return draw(st.sampled_from(others if astray or not words else tuple(words)))

    def party(side: str, name: str) -> PartyFacts:
        kind = pick(row[side]["kinds"], tuple(KINDS))
        return PartyFacts(
            partner_id=pick((name, *row[side]["partners"]), (name, *PARTNERS)),
            kind=kind, sector=KINDS[kind], schemes=SCHEMES,
            country=pick(row[f"{'asker' if side == 'from' else 'owner'}_countries"], COUNTRIES),
        )  # fmt: skip

    wanted = row["instrument"] and (*row["instrument"]["kinds"], *row["instrument"]["authorities"])
    pair = pick((wanted,), (None, *INSTRUMENTS))
    schemes = draw(st.lists(st.sampled_from(tuple(row["schemes"])), min_size=1, unique=True))
    query = QueryFacts(
        mode=pick(row["modes"], ("sealed", "blind")),
        purpose=pick(row["purposes"], PURPOSES),
        legal_basis=pick(row["legal_bases"], BASES),
        instrument=pair and InstrumentFacts(kind=pair[0], authority=pair[1], valid_until=NOW + 100),
        schemes=tuple(schemes),
        term_count=pick((1, row["max_terms"]), (1, 4, 5, 6, 1000, 1001)),
        window_days=pick((1, row["max_window_days"]), (1, 10, 11, 90, 91, None)),
        events=(),
    )
    return inquiry(
        query,
        party("from", "other-asker"),
        party("to", "other-owner"),
        now=pick((NOW,), (NOW - 1, NOW, NOW + 9, NOW + 10)),
        country=pick(row["record_countries"], COUNTRIES),
        roles=draw(st.sampled_from((tuple(row["roles"]), ("analyst",), ("senior",)))),
    )


@cache
def _compiled() -> WasmEngine:
    return WasmEngine(WASM, identified(federation_data(BASELINE), NAME), deadline_s=10)


class Instance:
    """The committed module with data of its own; compiling the module once saves half a second."""

    name = "wasm"

    def __init__(self, data: dict[str, Any]) -> None:
        factory = _compiled()._factory
        assert factory is not None
        self._loaded = _Loaded(factory, orjson.dumps(identified(data, NAME)), 10)

    def evaluate(self, point: str, document: Any) -> bytes:
        """The point's decision."""
        return self._loaded.evaluate(f"fairlead/{point}/decision", orjson.dumps(document))

    def close(self) -> None:
        """Free the instance."""
        self._loaded.close()


def points(data: dict[str, Any]) -> PolicyPoints:
    """Every decision point over some compiled data."""
    return PolicyPoints([Layer(Instance(data), NAME)], 1)


def asked(found: PolicyPoints, question: Inquiry) -> tuple[Decision, int]:
    """What all points say together, and how many must agree at the asker."""
    verdict = decide(found, question)
    return verdict.decision, max(verdict.people, verdict.decision.obligations.second_approvers)


def within(new: tuple[Decision, int], old: tuple[Decision, int]) -> bool:
    """Whether the first discloses no more than the second, under no lighter duties."""
    (a, people), (b, before) = new, old
    if not a.permit:
        return True
    if not b.permit or not disclosed(a, FIELDS) <= disclosed(b, FIELDS):
        return False
    one, two = a.obligations, b.obligations
    words = ("none", "with-consent", "same-sector")
    return (
        (one.max_records or 0) <= (two.max_records or 0)
        and (one.retention_days or 0) <= (two.retention_days or 0)
        and one.approvals >= two.approvals
        and one.notice_delay_s >= two.notice_delay_s
        and people >= before
        and words.index(str(one.onward)) <= words.index(str(two.onward))
    )
