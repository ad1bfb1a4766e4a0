"""The seeds of this node's masks, one for each other partner and quarter."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.errors import InvalidInput
from fairlead.keyring import KeyRing
from fairlead.partners import Directories, Partner
from fairlead.summing import pair_seed

MOST = 4096
"""Seeds remembered: two quarters of as many partners as a directory has, twice over."""


@dataclass(slots=True, kw_only=True)
class PairSeeds:
    """Derives them of the mask keys and first nodes that the directory has now; which quarters are
    asked for at all, :func:`node.statistics.agreeing.agree` decides."""

    own: str
    directory: Directories
    keys: KeyRing
    _known: dict[tuple[object, ...], bytes] = field(default_factory=dict, repr=False)

    def __call__(self, other: str, quarter: str) -> bytes:
        """The seed with another partner.

        :raises NotFound: a partner that is unknown or unpinned. :raises InvalidInput: MASK_KEY;
            PARTICIPANTS: one without a node.
        :raises Misconfigured: KEY_MISMATCH: the own key of the directory is not here.
        """
        directory = self.directory.current
        mine, theirs = directory.partner(self.own), directory.partner(other)
        nodes = _first(mine), _first(theirs)
        key = mine.mask_key, theirs.mask_key, other, *nodes, quarter
        found = self._known.get(key)
        if found is None:
            found = pair_seed(
                self.keys.mask(mine.mask_key), theirs.mask_key, quarter=quarter,
                federation=directory.federation, ids=(self.own, other), nodes=nodes,
            )  # fmt: skip
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = found
        return found


def _first(partner: Partner) -> str:
    """The node by which a partner takes part."""
    if not partner.nodes:
        raise InvalidInput("a partner without a node takes no part", reasons=("PARTICIPANTS",))
    return partner.nodes[0].spiffe_id
