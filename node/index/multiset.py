"""A hash of a set of rows that a refresh keeps up to date without reading the set.

The construction is MSet-Add-Hash (Clarke, Devadas, van Dijk, Gassend, Suh: *Incremental Multiset
Hash Functions and Their Application to Memory Integrity Checking*, ASIACRYPT 2003): the sum,
modulo 2**256, of a keyed pseudo-random value (BLAKE2b-256) for each element, with the number of
elements beside it. An element is added or taken out in any order at the cost of one hash.

What it rests on, and its limits:

* The values of single elements must stay secret: whoever knows enough of them finds another set
  with the same sum by solving a subset-sum problem (Wagner's generalised birthday). So neither
  values nor sums lie in the file in clear: values are recomputed when a row goes, and the sum is
  in the sealed description. That takes the place of the paper's random summand, and answers
  carry a hash of the sum under the node's key, never the sum.
* It says whether the rows are those that were written, not which one is not.
* Whoever holds the node's secret can make any set and its sum. Others then have the roots that
  earlier answers carried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.index.codec import ROOT_SIZE, Codec

_MODULUS = 1 << (8 * ROOT_SIZE)


@dataclass(slots=True)
class Multiset:
    """Sum and number of the elements of one kind."""

    kind: bytes
    total: int = 0
    count: int = 0

    def add(self, codec: Codec, elements: Iterable[bytes]) -> None:
        """Count these in."""
        for octets in elements:
            self.total += codec.element(self.kind, octets)
            self.count += 1
        self.total %= _MODULUS

    def remove(self, codec: Codec, elements: Iterable[bytes]) -> None:
        """Count these out."""
        for octets in elements:
            self.total -= codec.element(self.kind, octets)
            self.count -= 1
        self.total %= _MODULUS

    def copy(self) -> Multiset:
        """The same, apart."""
        return Multiset(self.kind, self.total, self.count)
