"""Reading a source without indexing it, and looking through the sources that a node has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.config import ConfigurationInvalid
from fairlead.errors import NotFound, SourceUnusable
from node.sources.mapping import load_mapping
from node.sources.opening import format_of
from node.sources.privileges import Excess
from node.sources.register import registered
from node.sources.report import ImportReport
from node.sources.source import Source, records_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of every row, and what the source's account may do beyond reading."""

    report: ImportReport
    excess: tuple[Excess, ...]

    def warnings(self) -> Iterator[str]:
        """One sentence each, then the statements that would make them untrue."""
        for found in self.excess:
            yield f"warning: {found.sentence()}"
        lines = [line for found in self.excess for line in found.remedy.split("\n")]
        if lines:
            yield "next: let the database's administrator run this, and use that account"
            yield from (f"  {line}" for line in dict.fromkeys(lines))
        if not self.report.complete:
            yield "warning: a quote is never closed; rows behind it are lost and cannot be counted"


def trial(source: Source, *, progress: Callable[[int], None], every: int) -> Trial:
    """Read everything once.

    :param progress: called with the number of records after every ``every`` of them.
    :raises SourceUnusable: as the source's own methods.
    """
    for count, _ in enumerate(records_of(source), 1):
        if count % every == 0:
            progress(count)
    excess = getattr(source, "excess", tuple)
    return Trial(report=source.report(), excess=excess())


def find(config: Path, name: str) -> Path:
    """The mapping of the source with this name, or whose file has this name.

    :raises NotFound: ``SOURCE``.
    """
    paths = registered(config)
    for path in paths:
        if path.stem == name or _name(path) == name:
            return path
    raise NotFound(
        "the configuration names no such source",
        reasons=("SOURCE",),
        remedy="fairlead-node source list",
    )


def listing(config: Path) -> list[dict[str, str]]:
    """One row a mapping: source, kind, reads, persons, state, mapping."""
    return [_listed(path) for path in registered(config)]


def _listed(path: Path) -> dict[str, str]:
    row = {"source": path.stem, "kind": "", "reads": "", "persons": "", "mapping": str(path)}
    try:
        mapping = load_mapping(path)
        file = mapping.file
        kind = "database" if file.database else str(format_of(mapping))
        reads = file.database.reads if file.database else ", ".join(file.files)
    except (ConfigurationInvalid, SourceUnusable) as error:
        return row | {"state": error.code}
    persons = file.personal.approved_by if file.personal else "no"
    return row | {
        "source": file.source, "kind": kind, "reads": reads, "persons": persons, "state": "ready"
    }  # fmt: skip


def _name(path: Path) -> str:
    try:
        return load_mapping(path).file.source
    except ConfigurationInvalid:
        return ""
