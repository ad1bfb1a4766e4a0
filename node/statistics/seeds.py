"""The seeds of this node's masks, one for each other partner and quarter."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.keyring import KeyRing
from fairlead.partners import Directories
from fairlead.summing import pair_seed

MOST = 4096
"""Seeds remembered: two quarters of as many partners as a directory has, twice over."""


@dataclass(slots=True, kw_only=True)
class PairSeeds:
    """Derives them of the mask keys that the directory has now; which quarters are asked for at
    all, :func:`node.statistics.agreeing.agree` decides."""

    own: str
    directory: Directories
    keys: KeyRing
    _known: dict[tuple[bytes, bytes, str, str], bytes] = field(default_factory=dict, repr=False)

    def __call__(self, other: str, quarter: str) -> bytes:
        """The seed with another partner.

        :raises NotFound: a partner that is unknown or unpinned. :raises InvalidInput: MASK_KEY.
        :raises Misconfigured: KEY_MISMATCH: the own key of the directory is not here.
        """
        directory = self.directory.current
        mine, theirs = (directory.partner(name).mask_key for name in (self.own, other))
        key = mine, theirs, other, quarter
        found = self._known.get(key)
        if found is None:
            found = pair_seed(
                self.keys.mask(mine), theirs,
                quarter=quarter, federation=directory.federation, ids=(self.own, other),
            )  # fmt: skip
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = found
        return found
