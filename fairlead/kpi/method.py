"""The pack's pages about itself: what is not collected, priorities, method, releases, signs."""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.kpi.contents import Contents, day_of
from fairlead.kpi.page import heading, paragraph, rows_table
from fairlead.kpi.pending import STATE, pending
from fairlead.kpi.shelf import year_of
from fairlead.priorities import overdue
from fairlead.published import Published, Shown

SIGNS = (
    ("120 ± 15", "a figure, rounded and with noise; the true one is off by no more, at 95 %"),
    ("0 ± 15", "nought: released, and so small that noise and rounding leave nothing"),
    ("35 ± 10 in part", "the released parts alone; others are not shown"),
    ("suppressed", "the rules do not let it be shown; it may be nought or anything else"),
    ("not reported", "nothing was released of it: not asked, or too few partners took part"),
    ("not known", "of a sum or a share: some part of it is not shown in full"),
)
"""What stands in a table, and what it means."""

RELEASE_COLUMNS = (
    "release", "period", "version", "participants", "expected", "values", "zeros", "in part",
    "suppressed", "not reported", "released", "octets", "registry", "rules",
)  # fmt: skip
PRIORITY_COLUMNS = ("number", "priority", "owner", "due", "status", "closed")
PENDING_COLUMNS = ("figure", "state", "why")


def signs() -> Iterator[str]:
    """How to read a table."""
    yield heading(2, "How to read this", "signs")
    yield rows_table("What stands in a table", ("it says", "it means"), SIGNS)


def not_collected(contents: Contents) -> Iterator[str]:
    """What was asked for and cannot be counted yet."""
    yield heading(2, "Not yet collected", "pending")
    rows = pending_rows(contents)
    if rows:
        yield rows_table("Figures that nobody can collect yet", PENDING_COLUMNS, rows)
    else:
        yield paragraph("Everything that the Alliance asked for is collected.")


def priorities(contents: Contents) -> Iterator[str]:
    """What was resolved, who sees to it, and how far it is."""
    yield heading(2, "Priorities", "priorities")
    rows = priority_rows(contents)
    if not rows:
        yield paragraph("No priority is in the register.")
        return
    late = overdue(contents.priorities.entries, contents.day)
    yield paragraph(f"As of {contents.day.isoformat()}: {len(rows)} in all, {late} overdue.")
    yield rows_table("The register of priorities", PRIORITY_COLUMNS, rows)


def method(contents: Contents) -> Iterator[str]:
    """How the figures came about, and under which rules; then every release."""
    yield heading(2, "Method and rules", "method")
    notes = method_rows(contents)
    if not notes:
        yield paragraph("Nothing was released of these years.")
        return
    for note, _ in notes:
        yield paragraph(note)
    rules = sorted({release.rules_digest.hex() for release in contents.shelf.releases})
    registries = sorted({release.registry_digest.hex() for release in contents.shelf.releases})
    yield rows_table(
        "What decided (SHA-256)",
        ("what", "digest"),
        [*(("rules", found) for found in rules), *(("registry of cubes", f) for f in registries)],
    )
    yield paragraph(
        f"Releases: {len(contents.shelf.releases)}. Earlier versions that they stand in for: "
        f"{contents.shelf.corrected}. A release is frozen; a correction is its next version."
    )
    rows = [row[:11] for row in release_rows(contents)]
    yield rows_table("Every release, and in how many figures", RELEASE_COLUMNS[:11], rows)


# ── As rows, for the bundle too ──────────────────────────────────────────────────────────────


def pending_rows(contents: Contents) -> list[tuple[str, str, str]]:
    """What is not collected."""
    return [(each.title, STATE, each.why) for each in pending(contents.registry.cubes)]


def priority_rows(contents: Contents) -> list[tuple[object, ...]]:
    """The register as of the pack's day."""
    return [
        (
            entry.number,
            entry.title,
            entry.owner,
            entry.due.isoformat(),
            entry.status(contents.day),
            "" if entry.closed is None else entry.closed.isoformat(),
        )
        for entry in contents.priorities.entries
    ]


def method_rows(contents: Contents) -> list[tuple[str, int]]:
    """Each note on the method, and of how many releases."""
    found: dict[str, int] = {}
    for release in contents.shelf.releases:
        found[release.method] = found.get(release.method, 0) + 1
    return sorted(found.items())


def release_rows(contents: Contents) -> list[tuple[object, ...]]:
    """Each release: who took part, and how many figures are shown in which way."""
    return [_release(release) for release in contents.shelf.releases]


def _release(release: Published) -> tuple[object, ...]:
    counted = release.counted()
    return (
        f"{release.cube.id} {release.level.name}",
        release.unit.spelling,
        release.version,
        release.participants,
        release.expected,
        *(counted[shown] for shown in Shown),
        day_of(release.released_at).isoformat(),
        release.digest.hex(),
        release.registry_digest.hex(),
        release.rules_digest.hex(),
    )


def summary(contents: Contents) -> Iterator[str]:
    """What the pack is made of, in a few lines."""
    own = [r for r in contents.shelf.releases if year_of(r.unit) == contents.year]
    counted = dict.fromkeys(Shown, 0)
    for release in own:
        for shown, number in release.counted().items():
            counted[shown] += number
    total = sum(counted.values())
    if not own:
        yield paragraph(f"Nothing was released of {contents.year}.")
        return
    fewest = min(own, key=lambda r: (r.participants, -r.expected))
    most = max(own, key=lambda r: (r.participants, -r.expected))
    yield paragraph(
        f"{len(own)} releases of {contents.year} with {total:,} figures: "
        f"{counted[Shown.VALUE]:,} values, {counted[Shown.ZERO]:,} zeros, "
        f"{counted[Shown.PARTIAL]:,} in part, {counted[Shown.SUPPRESSED]:,} suppressed, "
        f"{counted[Shown.NOT_REPORTED]:,} not reported. Between {fewest.participants} of "
        f"{fewest.expected} and {most.participants} of {most.expected} partners took part."
    )
