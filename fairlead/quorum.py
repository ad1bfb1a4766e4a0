"""How many witnesses are enough: two histories never both have a quorum (PROTOCOL §5).

Of n witnesses f may lie. A quorum is q of them with q > (n + f) / 2, so that two quorums share
more than f, hence one that does not lie; and it has a public and a private partner, so that
neither side of the federation vouches alone.
"""

from __future__ import annotations

from collections.abc import Collection

from fairlead.appointed import Appointed
from fairlead.errors import OperatorError
from fairlead.partners import Directory, Sector

MISSING_REMEDY = "fairlead-gateway status   (which witnesses cosign), then ask their operators"


class NoQuorum(OperatorError):
    """Too few witnesses have cosigned."""

    status = "FAILED_PRECONDITION"
    default_code = "QUORUM_MISSING"
    exit_code = 5


def required(appointed: Appointed) -> int:
    """The smallest q with q > (n + f) / 2."""
    return (len(appointed.witnesses) + appointed.tolerated) // 2 + 1


def reached(signers: Collection[str], directory: Directory) -> bool:
    """Whether these partners are a quorum of the directory's witnesses.

    Only witnesses whose root key is pinned here count; all that are appointed are counted for q.
    """
    known = {*signers} & {*directory.appointed.witnesses} & directory.partners.keys()
    sectors = {directory.partners[partner].sector for partner in known}
    return len(known) >= required(directory.appointed) and sectors == {*Sector}


def possible(directory: Directory) -> bool:
    """Whether all the directory's witnesses together would be a quorum."""
    return reached(directory.appointed.witnesses, directory)


def require(signers: Collection[str], directory: Directory) -> None:
    """:raises NoQuorum: QUORUM_MISSING: these partners are none."""
    if not reached(signers, directory):
        raise missing()


def missing() -> NoQuorum:
    """The error of a checkpoint that too few have cosigned."""
    return NoQuorum(
        "too few witnesses have cosigned the gateway's log for a highly sensitive purpose",
        remedy=MISSING_REMEDY,
    )
