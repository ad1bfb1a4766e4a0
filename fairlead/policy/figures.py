"""Agreements on figures: who may ask for which cubes, from how they are written to compiled rows.

They say who may ask, and nothing of what is shown: that rests on the figures themselves (PROTOCOL
§6). ``cubes: all`` is written out here as the names that the registry of cubes has, so that no rule
and no comparison knows a wildcard, and a cube that is new shows as one that more people may ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from fairlead.cubes.registry import InvalidCubes
from fairlead.cubes.registry import Registry as CubeRegistry
from fairlead.policy.compiling import country_set, midnight, named, side
from fairlead.policy.cubes import CUBES
from fairlead.policy.documents import EU, EVERY, FiguresAgreement, PolicyFile, Registry
from fairlead.policy.meaning import party_strangers

Written = tuple[PolicyFile, int, FiguresAgreement]


def cube_names(content: bytes | None, problems: list[str]) -> tuple[str, ...]:
    """The cubes that a registry has, in its order; none without one, or where it is wrong, which
    is added to ``problems``."""
    if not content:
        return ()
    try:
        return tuple(cube.id for cube in CubeRegistry.parse(content, CUBES).cubes)
    except InvalidCubes as error:
        problems += error.problems
        return ()


def written(files: Iterable[PolicyFile]) -> list[Written]:
    """Every row of some files, with its place."""
    return [
        (file, place, row) for file in files for place, row in enumerate(file.document.statistics)
    ]


def figure_problems(
    registry: Registry, rows: Iterable[Written], cubes: Collection[str], taken: Iterable[str]
) -> Iterator[str]:
    """What is wrong with rows of the right form, each told where it is written.

    :param cubes: the cubes there are. :param taken: ids that agreements have.
    """
    seen = set(taken)
    for file, place, row in rows:
        if row.id in seen:
            yield file.problem(("statistics", place, "id"), "is used already")
        seen.add(row.id)
        for name, words, known in (
            ("cubes", row.cubes, {EVERY, *cubes}),
            ("purposes", row.purposes, registry.purposes),
            ("roles", row.roles, registry.figure_roles),
            ("countries", row.countries, {EU, *registry.jurisdictions}),
        ):
            for at, word in enumerate(words):
                if word not in known:
                    text = "no cube of the registry has this id" if name == "cubes" else _UNKNOWN
                    yield file.problem(("statistics", place, name, at), text)
        for at in party_strangers(row.asked_by):
            yield file.problem(("statistics", place, "from", at), "no such sector or kind")
        if row.valid_from >= row.valid_until:
            yield file.problem(("statistics", place, "valid_until"), "is not after valid_from")


_UNKNOWN = "is not registered"


def figure_data(
    registry: Registry, rows: Iterable[Written], cubes: Collection[str]
) -> dict[str, Any]:
    """The rows by id, compiled; they are among the words of a layer, and counted with them."""
    return {
        row.id: {
            "from": side(row.asked_by),
            "countries": country_set(registry, row.countries),
            "cubes": named(cubes if row.cubes == [EVERY] else row.cubes),
            "purposes": named(row.purposes),
            "roles": named(row.roles),
            "valid_from": midnight(row.valid_from),
            "valid_until": midnight(row.valid_until),
        }
        for _, _, row in rows
    }


Figures = Mapping[str, Mapping[str, Any]]
"""Compiled agreements on figures, by id."""
