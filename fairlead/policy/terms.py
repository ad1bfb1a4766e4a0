"""What agreements permit together: the narrowest of each term, and what is wider than what.

The kernel computes the same for a decision; here it is computed for every class of questions at
once, so that two policies can be compared whole. A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fairlead.policy.sides import Policy, Row, listed

FULL = "full_record"
FIELD = "field:"
ONWARD = ("none", "with-consent", "same-sector")
"""To whom an answer may be passed on, the narrowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an owner may disclose, and the duties with it.

    ``facets`` has every field that would be shown, as ``field:<name>``, after redaction, and
    ``record_countries`` where records may come from. ``people`` is how many others must agree at
    the asker, ``approvals`` at the owner; ``onward`` is the place of the word in :data:`ONWARD`.
    """

    facets: frozenset[str]
    record_countries: frozenset[str]
    max_records: int
    people: int
    approvals: int
    notice_delay_s: int
    retention_days: int
    onward: int

    def grown(self, before: Terms | None) -> tuple[str, ...]:
        """How this is wider than ``before``, in words; nothing when it is not.

        None is a question that is refused. Every number has the direction in which it narrows.
        """
        if before is None:
            return ("is permitted",)
        return tuple(self._said(before, self, "discloses also", "also of", wider=True))

    def shrunk(self, before: Terms) -> tuple[str, ...]:
        """How this is narrower than ``before``, in words; nothing when it is not."""
        return tuple(self._said(self, before, "no longer discloses", "no longer of", wider=False))

    def _said(
        self, less: Terms, more: Terms, disclosing: str, of: str, *, wider: bool
    ) -> Iterator[str]:
        """What ``more`` has and ``less`` has not; this is the new one of the two."""
        before = less if wider else more
        if facets := more.facets - less.facets:
            yield f"{disclosing} {facet_words(facets)}"
        if countries := more.record_countries - less.record_countries:
            yield f"{of} records from {listed(countries)}"
        if self.onward != before.onward and (self.onward > before.onward) is wider:
            yield f"may be passed on: {ONWARD[self.onward]} instead of {ONWARD[before.onward]}"
        for name, what, unit, more_is_wider in _NUMBERS:
            new, old = getattr(self, name), getattr(before, name)
            if new != old and (new > old) == (more_is_wider is wider):
                yield f"{what} {new:,} instead of {old:,}{unit}"


_NUMBERS = (
    ("max_records", "records for a term:", "", True),
    ("retention_days", "may be kept", " days", True),
    ("people", "other people to agree at the asker:", "", False),
    ("approvals", "people to approve at the owner:", "", False),
    ("notice_delay_s", "notice is delayed by", " s", False),
)
"""Field, its words, its unit, and whether more of it is wider."""


def terms_of(
    policy: Policy,
    granted: Sequence[Row],
    answering: Sequence[Row],
    *,
    asker: str,
    owner: str,
    purpose: str,
    terms: int,
) -> Terms | None:
    """The meet of agreements; None where they permit nothing in common, or are none.

    :param granted: those the gateway counts. :param answering: those of them the owner counts.
    :param asker: the asking partner's kind. :param owner: the owner's.
    :param terms: how many the question has.
    """
    if not answering:
        return None
    fields = policy["fields"]
    personal = {n for n, f in fields.items() if f["personal"]}
    shared = frozenset[str].intersection(*(_expanded(row["facets"], fields) for row in granted))
    countries = frozenset[str].intersection(
        *(frozenset(row["record_countries"]) for row in answering)
    )
    if not shared or not countries:
        return None
    hidden = {name for row in granted for name in row["redact"]}
    hidden |= set() if asker == owner == "police" else personal
    # A field the registry does not know is withheld from every record.
    known = {f"{FIELD}{name}" for name in fields if name not in hidden}
    return Terms(
        facets=frozenset(f for f in shared if not f.startswith(FIELD) or f in known),
        record_countries=countries,
        max_records=min(row["max_records"] for row in granted),
        people=max(people(policy, purpose, terms), *(row["second_approvers"] for row in granted)),
        approvals=max(row["approvals"] for row in granted),
        notice_delay_s=max(row["notice_delay_s"] for row in granted),
        retention_days=min(row["retention_days"] for row in granted),
        onward=min(ONWARD.index(row["onward"]) for row in granted),
    )


def people(policy: Policy, purpose: str, terms: int) -> int:
    """How many others at the asker must agree to a question of so many terms."""
    by_size = int(terms > policy["limits"]["second_person_above_terms"])
    own: int = policy["purposes"][purpose]["approvals"]
    return max(own, by_size)


def facet_words(facets: Iterable[str]) -> str:
    """Facets as an officer reads them, the widest first: a record is all its fields."""
    found = set(facets)
    if FULL in found:
        found = {f for f in found if not f.startswith(FIELD)}
    fields = sorted(f.removeprefix(FIELD) for f in found if f.startswith(FIELD))
    named = [f"the field{'s' if len(fields) > 1 else ''} {', '.join(fields)}"] if fields else []
    words = [text for facet, text in _WORDS.items() if facet in found]
    return "; ".join([*words[: FULL in found], *named, *words[FULL in found :]]) or "nothing"


_WORDS = {
    FULL: "the record",
    "count_band": "roughly how much is held",
    "existence": "that something is held",
    "contact_desk": "whom to call",
    "figures": "figures of everybody together",
}


def _expanded(facets: Iterable[str], fields: Iterable[str]) -> frozenset[str]:
    found = frozenset(facets)
    return found | {f"{FIELD}{name}" for name in fields} if FULL in found else found
