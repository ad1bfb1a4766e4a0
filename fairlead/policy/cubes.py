"""The registry of cubes in a policy: a file signed with those that decide.

Rules know the cubes by name, for who may ask for their figures, and nothing else of it. The
manifest names it with its digest like any other file, so whoever agrees on a release agrees on
every cell that is counted under it.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.cubes.registry import InvalidCubes, Registry
from fairlead.cubes.succession import check_follows
from fairlead.errors import Misconfigured

CUBES = "cubes/registry.yaml"


def cubes_in(files: Mapping[str, bytes]) -> Registry:
    """The registry among the files of a release.

    :raises Misconfigured: CUBES_MISSING: it has none, so that nothing is counted under it.
    :raises InvalidCubes: it is wrong.
    """
    if CUBES not in files:
        raise Misconfigured(
            "the policy has no registry of cubes",
            reasons=("CUBES_MISSING",),
            remedy=f"put {CUBES} beside the agreements, then: fairlead policy check DIR",
        )
    return Registry.parse(files[CUBES], CUBES)


def check_cubes(files: Mapping[str, bytes], base: Mapping[str, bytes] | None) -> None:
    """Whether a release may follow another as far as its cubes go; one may have none at all.

    :raises InvalidCubes: its registry is wrong, or gone, or changed under the same version.
    """
    after = cubes_in(files) if CUBES in files else None
    if base is None or CUBES not in base:
        return
    if after is None:
        raise InvalidCubes([f"{CUBES}: is missing, and the release in force has one"])
    check_follows(cubes_in(base), after)
