"""A node's own share of the noise, which nobody else can know or remove.

The shares of m nodes, each the difference of two negative binomials with r = 1/m, add up to the
discrete Laplace distribution, P(k) ∝ exp(-\\|k\\|/scale) (Inusah and Kozubowski 2006; as shares of
distributed noise: Harrison and Manurangsi 2025, arXiv 2504.05202). Of n nodes any two may withhold
their shares or know them: r is 1/(n - 2), so that those of the others add up to that. The shares of
all have n/(n - 2) times its variance, those of fewer honest ones, m, m/(n - 2) times.

A share follows from the node's secret and from what it is added to, so asking again averages
nothing away. It is bound to everything that tells one figure from another, level and cube too: two
figures under the same share would show their difference. It is not bound to the period, because
a cell's spelling has its unit.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

from fairlead.errors import InvalidInput
from fairlead.summing.binding import DIGEST_SIZE
from fairlead.summing.release import Release, framed
from fairlead.summing.sampling import MAX_SCALE, NegativeBinomial, Uniform

SECRET_SIZE = 32
BOUGHT = 2
"""Nodes whose shares may be missing or known without harm."""


class Noise:
    """The shares of one node, for one release with one list of so many nodes.

    :param secret: 32 octets that this partner alone has.
    :raises InvalidInput: NOISE: no such secret, or too few nodes.
    """

    __slots__ = ("_nodes", "_shake", "_sources")

    def __init__(self, secret: bytes, release: Release, list_digest: bytes, nodes: int) -> None:
        if (len(secret), len(list_digest)) != (SECRET_SIZE, DIGEST_SIZE) or nodes <= BOUGHT:
            raise InvalidInput("noise is of a secret and a list of three", reasons=("NOISE",))
        self._nodes = nodes
        self._sources: dict[str, NegativeBinomial] = {}
        context = framed(secret, *release.source(), list_digest, nodes.to_bytes(4, "big"))
        self._shake = hashlib.shake_256(b"fairlead/v1/statistics-noise\x00" + context)

    def share(self, cell: str, word: str, scale: Fraction) -> int:
        """The share of one word of one cell.

        :raises InvalidInput: NOISE: the scale is not between 0 and 2¹¹², or too long a fraction.
        """
        spelt = str(scale)
        source = self._sources.get(spelt)
        if source is None:
            if not 0 < scale <= MAX_SCALE or scale.denominator > MAX_SCALE:
                raise InvalidInput("noise has a scale above zero", reasons=("NOISE",))
            source = self._sources[spelt] = NegativeBinomial(self._nodes - BOUGHT, scale)
        shake = self._shake.copy()
        shake.update(framed(cell.encode(), word.encode(), spelt.encode()))
        uniform = Uniform(shake)
        return source.draw(uniform) - source.draw(uniform)


def noise_share(
    secret: bytes,
    release: Release,
    list_digest: bytes,
    *,
    cell: str,
    word: str,
    nodes: int,
    scale: Fraction,
) -> int:
    """One share; see :class:`Noise`, which is faster for many."""
    return Noise(secret, release, list_digest, nodes).share(cell, word, scale)
