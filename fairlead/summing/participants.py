"""The list of participants of a release, and how lists may differ (PROTOCOL §6).

Whoever gets the sum of a list and the sum of the same list without one node has that node's figure.
Whatever sums of whole lists somebody adds and subtracts, nodes that are in the same lists stay
together. So it is enough that every such group has :data:`TOGETHER` nodes other than a reader: then
no combination of any number of lists isolates fewer. Lists that differ by three nodes each are not
enough: of X + k, Y + k and X + Y + k each differs from the others by as many as one likes, and the
first two minus the third are k.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

from fairlead.errors import InvalidInput, Refused
from fairlead.names import check_partner_id
from fairlead.summing.release import framed

TOGETHER = 3
"""Nodes that no two lists part from each other; contributors of a cell that is shown."""
DOMINATED = 5
"""Contributors of a cell that is shown where one may make up most of it."""
MAX_PARTICIPANTS = 1024


class TooFewParticipants(Refused):
    """No cell of this list could have enough contributors."""

    default_code = "TOO_FEW_PARTICIPANTS"


class ListTooClose(Refused):
    """Together with a list served before, this one would isolate too few nodes."""

    default_code = "LIST_TOO_CLOSE"


def check_participants(ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of a list, in order, each once.

    :raises InvalidInput: PARTICIPANTS or PARTNER_ID.
    """
    if list(ids) != sorted({check_partner_id(name) for name in ids}):
        raise InvalidInput("participants are listed once, in order", reasons=("PARTICIPANTS",))
    if not 0 < len(ids) <= MAX_PARTICIPANTS:
        raise InvalidInput("a list has no or too many participants", reasons=("PARTICIPANTS",))
    return tuple(ids)


def list_digest(ids: Sequence[str]) -> bytes:
    """SHA-256 over a domain tag and the ids, each behind its length: 32 octets."""
    domain = b"fairlead/v1/statistics-list\x00"
    return hashlib.sha256(domain + framed(*(name.encode() for name in ids))).digest()


def contributors_needed(
    participants: Collection[str], readers: Collection[str], *, dominance: bool = False
) -> int:
    """How many must contribute to a cell that is shown: three other than whoever reads it, five
    where one may make up most of it.

    A reader that takes part knows whether it contributes; the others cannot know, and count it.
    """
    return (DOMINATED if dominance else TOGETHER) + any(
        reader in participants for reader in readers
    )


def check_apart(lists: Collection[Sequence[str]], readers: Collection[str]) -> None:
    """Refuse lists of the same figures of which some combination isolates fewer than three.

    :raises ListTooClose: nodes that are in the same of these lists are too few without a reader.
    """
    inside: dict[str, int] = {}
    for place, listed in enumerate(lists):
        for name in listed:
            inside[name] = inside.get(name, 0) | 1 << place
    groups = Counter(inside.values())
    reading = {pattern for name, pattern in inside.items() if name in readers}
    if any(size < TOGETHER + (pattern in reading) for pattern, size in groups.items()):
        raise ListTooClose(
            "a list of participants differs by too few from one that was served",
            remedy="ask with a list served before, or wait until three partners differ from it",
        )
