"""What may follow a registry: one in which whatever changed has a higher version.

A release is known by its cube's version. Were a cube changed without a new one, two different
tables would have one name, and what was released under the first would be audited as the second.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.cubes.cube import Cube
from fairlead.cubes.registry import InvalidCubes, Registry


def check_follows(before: Registry, after: Registry) -> None:
    """:raises InvalidCubes: a registry or a cube changed under the same version or went back."""
    problems = list(_problems(before, after))
    if problems:
        raise InvalidCubes(problems)


def _problems(before: Registry, after: Registry) -> Iterator[str]:
    changed = before.canonical != after.canonical
    if after.version < before.version or (changed and after.version == before.version):
        yield "version: more than that of the registry in force is expected"
    known = {cube.id: cube for cube in before.cubes}
    for place, cube in enumerate(after.cubes):
        last = known.get(cube.id)
        if last is not None and not _follows(last, cube):
            yield f"cubes[{place}].version: more than that of the cube in force is expected"


def _follows(before: Cube, after: Cube) -> bool:
    return after.version > before.version or after == before
