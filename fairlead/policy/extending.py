"""Agreements as written become agreements: each joined with the one that it extends.

One level: what is extended extends nothing itself, so whoever reads an agreement reads two rows
at most. A field that is written replaces the other's, a list as a whole. A partner's own file may
extend any agreement of the federation, which is a whole to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fairlead.policy.documents import Agreement, PolicyFile, said
from fairlead.written import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One row of a file. ``base`` is what it extends, as written."""

    file: PolicyFile
    place: int
    row: Mapping[str, Any]
    base: Mapping[str, Any] | None = None

    def problem(self, path: Path, text: str) -> str:
        """``file:line: agreements[n].path: text``."""
        return self.file.problem(("agreements", self.place, *path), text)

    def owns(self, path: Path) -> bool:
        """Whether what stands at ``path`` is written in this row, not in the one it extends."""
        return self.base is None or not path or path[0] == "id" or path[0] in self.row


def written(files: Iterable[PolicyFile]) -> Iterator[Written]:
    """Every row of some files, in order."""
    for file in files:
        for place, row in enumerate(file.document.agreements):
            yield Written(file=file, place=place, row=row)


def agreements(
    files: Iterable[PolicyFile], others: Iterable[PolicyFile], problems: list[str]
) -> list[tuple[Written, Agreement]]:
    """The agreements of ``files``, which may extend those of ``others`` too; what is wrong is
    added to ``problems``, each where it is written."""
    rows = list(written(files))
    known = {**_joined(_named(written(others))), **_named(rows)}
    found = []
    for item in rows:
        wrong = _extension_problem(item.row, known)
        if wrong:
            problems.append(item.problem(("extends",), wrong))
            continue
        base = known[item.row["extends"]] if "extends" in item.row else None
        joined = Written(file=item.file, place=item.place, row=item.row, base=base)
        agreement = _read(joined, problems)
        if agreement is not None:
            found.append((joined, agreement))
    return found


def _named(rows: Iterable[Written]) -> dict[str, Mapping[str, Any]]:
    """Rows by id, the first of each."""
    found: dict[str, Mapping[str, Any]] = {}
    for item in rows:
        if isinstance(name := item.row.get("id"), str):
            found.setdefault(name, item.row)
    return found


def _joined(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The same rows, each with what it extends."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, row in rows.items():
        whole = {**rows.get(str(row.get("extends")), {}), **row}
        whole.pop("extends", None)
        found[name] = whole
    return found


def _extension_problem(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    if "extends" not in row:
        return ""
    base = known.get(row["extends"]) if isinstance(row["extends"], str) else None
    if base is None:
        return "no agreement has this id"
    if row.get("id") == row["extends"]:
        return "is circular: an agreement does not extend itself"
    if "extends" not in base:
        return ""
    if base["extends"] == row.get("id"):
        return "is circular: two agreements extend each other"
    return "one level is expected: that agreement itself extends another"


def _read(item: Written, problems: list[str]) -> Agreement | None:
    """The agreement of a row; a base's own mistakes are told where the base is written."""
    content = {**(item.base or {}), "id": None, **item.row}
    if "id" not in item.row:
        del content["id"]
    try:
        return Agreement.model_validate(content)
    except ValidationError as error:
        for found in error.errors():
            path = tuple(found["loc"])
            if item.owns(path):
                problems.append(item.problem(path, said(found)))
    return None
