"""Is a policy a mere tightening of another? Every question that it says more of, if not.

Where several agreements cover a question the narrowest of each term holds, so taking an agreement
away may widen what is left, and adding one may narrow. Therefore no agreement is compared with
another: all questions are, in the classes that the two policies tell apart. What is not understood
is called a widening, so that none is ever missed; a property test holds this against the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from fairlead.errors import InvalidInput
from fairlead.policy.cells import Cell, Plane
from fairlead.policy.compiling import size
from fairlead.policy.figures.changes import DIMENSIONS as FIGURE_DIMENSIONS
from fairlead.policy.figures.changes import ChangedFigures, gained
from fairlead.policy.figures.sides import figures_of
from fairlead.policy.sides import Policy, listed
from fairlead.policy.terms import Terms, terms_of
from fairlead.policy.widened import Widening, merged

ROW_KEYS = frozenset(
    {
        "from", "to", "asker_countries", "owner_countries", "record_countries", "transfer_ground",
        "instrument", "opted_out", "purposes", "legal_bases", "modes", "schemes", "roles",
        "facets", "redact", "max_records", "approvals", "second_approvers", "onward",
        "notice_delay_s", "retention_days", "max_terms", "max_window_days", "valid_from",
        "valid_until",
    }
)  # fmt: skip
"""What is understood of a compiled agreement."""

FIGURE_KEYS = frozenset(
    {"from", "countries", "cubes", "purposes", "roles", "valid_from", "valid_until"}
)
"""The same of one on figures."""

REGISTRY_KEYS = frozenset(
    {
        "kinds", "limits", "purposes", "legal_bases", "schemes", "roles", "fields",
        "jurisdictions", "instruments", "handling", "agreements", "size", "sizes", "policy",
        "cubes", "figure_roles", "statistics",
    }
)  # fmt: skip
"""What is understood of a compiled registry."""

FIGURES = frozenset({"cubes", "figure_roles", "statistics"})
"""What of it questions about figures alone rest on."""

BESIDE = frozenset({"agreements", "statistics", "size", "sizes", "policy"})
"""What of it is no word."""


def widenings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Widening | ChangedFigures]:
    """All that ``new`` lets anybody learn, keep or do with less, and ``old`` did not.

    Both are compiled data documents (:func:`fairlead.policy.agreements.federation_data`). Empty
    means: whatever is asked, by whomever and whenever, under ``new`` nothing more is disclosed,
    and no duty is lighter, and nobody may ask for more figures.
    """
    before, after = old["federation"], new["federation"]
    try:
        figures = merged(gained(before, after), FIGURE_DIMENSIONS)
        return [*merged(_widenings(before, after)), *figures]
    except InvalidInput as error:
        return [Widening(grown=(f"{error.message}: what it says more of is not known",))]


def is_wider(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether there is any widening; found sooner than all of them."""
    before, after = old["federation"], new["federation"]
    try:
        return any(True for _ in chain(gained(before, after), _widenings(before, after)))
    except InvalidInput:
        return True


def _widenings(before: Policy, after: Policy) -> Iterator[Widening]:
    found = [Widening(grown=(text,)) for text in _unread(before, after)]
    if found:
        yield from found
        return
    plane = Plane((before, after))
    for cell in plane.cells(concerned(before, after)):
        yield from _of(plane, cell)


def outcome(policy: Policy, cell: Cell, place: int) -> Terms | None:
    """What a policy, the ``place``-th of the cell's, gives on its questions; None: refused."""
    if not cell.covering[place]:
        return None
    (purpose, _), *_ = cell.values["ground"]
    return terms_of(
        policy,
        [policy["agreements"][name] for name in cell.granted[place]],
        [policy["agreements"][name] for name in cell.answering[place]],
        asker=cell.asker.kind,
        owner=cell.owner.kind,
        purpose=purpose,
        terms=cell.values["terms"][0],
    )


def _of(plane: Plane, cell: Cell) -> Iterator[Widening]:
    before, after = (outcome(policy, cell, i) for i, policy in enumerate(plane.policies))
    if after is None:
        return
    if grown := after.grown(before):
        yield statement(cell, grown, before, after, cell.granted[1])


def statement(
    cell: Cell,
    grown: tuple[str, ...],
    before: Terms | None,
    after: Terms | None,
    agreements: tuple[str, ...],
) -> Widening:
    """What is said of the questions of one cell."""
    return Widening(
        grown=grown,
        askers=frozenset({str(cell.asker)}),
        owners=frozenset({str(cell.owner)}),
        asker_countries=frozenset(cell.values["asker_country"]),
        owner_countries=frozenset(cell.values["owner_country"]),
        instruments=frozenset(cell.values["instrument"]),
        grounds=frozenset(cell.values["ground"]),
        modes=frozenset(cell.values["mode"]),
        schemes=frozenset(cell.values["schemes"]),
        roles=frozenset(cell.values["roles"]),
        sizes=frozenset(cell.values["terms"]),
        windows=frozenset(cell.values["window_days"]),
        at=frozenset(cell.values["at"]),
        before=None if before is None else before.facets,
        after=None if after is None else after.facets,
        record_countries=after.record_countries if after else frozenset(),
        agreements=agreements,
    )


def concerned(before: Policy, after: Policy) -> set[str] | None:
    """The agreements that differ; None, which is all of them, when the registry does."""
    beside = BESIDE | FIGURES
    one, two = ({k: v for k, v in policy.items() if k not in beside} for policy in (before, after))
    if one != two:
        return None
    old, new = before["agreements"], after["agreements"]
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _unread(before: Policy, after: Policy) -> Iterator[str]:
    """What is wider by itself, or cannot be compared because its direction is not known here."""
    if (before.keys() | after.keys()) - REGISTRY_KEYS:
        yield "the registry has a part that this program does not understand"
    rows = [*before["agreements"].values(), *after["agreements"].values()]
    if any(row.keys() != ROW_KEYS for row in rows):
        yield "an agreement has a term that this program does not understand"
    figures = [*figures_of(before).values(), *figures_of(after).values()]
    if any(row.keys() != FIGURE_KEYS for row in figures):
        yield "an agreement on figures has a term that this program does not understand"
    if not all(_whole(policy) for policy in (before, after)):
        yield "the agreements are not as they were compiled"
    if before["kinds"] != after["kinds"]:
        yield "the kinds of organisations are others"
    for name, field in after["fields"].items():
        if before["fields"].get(name, {"facet": field["facet"]})["facet"] != field["facet"]:
            yield "a field of records is called by another facet"
    for name, purpose in after["purposes"].items():
        was = before["purposes"].get(name, purpose).get("highly_sensitive", False)
        if was and not purpose.get("highly_sensitive", False):
            yield f"questions for {name} go out before witnesses have cosigned them"
    yield from _handling(before["handling"], after["handling"])


def _whole(policy: Policy) -> bool:
    rows = policy["agreements"]
    return bool(policy["sizes"] == {name: size(row) for name, row in rows.items()})


def _handling(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """A record is released under a code that the registry knows: knowing more of them is wider."""
    if before["active_target"] != after["active_target"]:
        yield "an active target is treated otherwise"
    for name in sorted(after.keys() - {"active_target"}):
        if more := after[name].keys() - before.get(name, {}).keys():
            yield f"records may be released under {name} {listed(more)}"
