"""A node's part in the three rounds (PROTOCOL §6), each a procedure with numbered steps.

Every round can be asked for again and gives the same octets; none can be asked for out of order.
What is here trusts no gateway: what others said is verified under their own keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.errors import Forged, InvalidInput, Stale
from fairlead.summing.binding import Binding, Round
from fairlead.summing.combining import contributors, summed, surviving
from fairlead.summing.figures import Figures
from fairlead.summing.indicators import indicator_words
from fairlead.summing.keeper import ListKeeper, Served
from fairlead.summing.masking import mask
from fairlead.summing.noise import Noise
from fairlead.summing.statement import Statement, vectors_of
from fairlead.summing.terms import Terms

Statements = Mapping[str, Statement]
_INDICATORS, _VALUES = "indicators", "values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What one partner's nodes need to take part.

    :param keys: a partner's signing key; raises NotFound for one that is unknown or unpinned.
    :param seeds: another partner's id and the quarter → :func:`fairlead.summing.pair_seed`;
        raises for a quarter that is neither this one nor the last.
    :param secret: 32 octets for the noise, this partner's alone and of all its nodes.
    """

    own: str
    signing_key: Ed25519PrivateKey = field(repr=False)
    keys: Callable[[str], bytes]
    seeds: Callable[[str, str], bytes] = field(repr=False)
    secret: bytes = field(repr=False)
    keeper: ListKeeper

    def ready(self, terms: Terms) -> Statement:
        """Round 0: sign that this node takes part with exactly this list.

        1. The list has this node, and only partners known here.
        2. No combination with lists served before isolates fewer than three nodes, and few sums of
           the same records were stated.
        3. Sign. Nothing is promised yet: the list counts once the next round is served.

        :raises NotFound: a partner that is unknown or unpinned here.
        :raises ListTooClose: LIST_TOO_CLOSE.
        :raises LooksUsedUp: FIGURES_USED_UP: as many sums of a month's records were stated.
        :raises InvalidInput: PARTICIPANTS: not on the list.
        """
        # 1
        if self.own not in terms.participants:
            raise InvalidInput("a list without this node asks it", reasons=("PARTICIPANTS",))
        for name in terms.participants:
            self.keys(name)
        # 2
        self.keeper.judge(_served(terms))
        # 3
        return self._signed(terms.binding(Round.READY), b"")

    def indicators(
        self, terms: Terms, ready: Statements, figures: Callable[[], Figures]
    ) -> Statement:
        """Round 1: say, masked, in which cells this node contributes.

        1. As in round 0.
        2. Every participant is ready, for these terms.
        3. Figures are frozen for the release; they are within their bounds.
        4. The list is served from now on.
        5. Mask, keep, sign.

        :param figures: makes the node's figures, the first time.
        :raises ParticipantMissing: PARTICIPANT_MISSING.
        :raises Forged: SIGNATURE, VECTORS.
        :raises BoundExceeded: BOUND_EXCEEDED; and what :meth:`ready` and Figures.check raise.
        :raises Conflict: ROUND_DIFFERS: this list was served on other terms.
        """
        # 1
        self.ready(terms)
        # 2
        binding = terms.binding(Round.READY)
        if any(vectors_of(ready, terms.participants, binding, self.keys).values()):
            raise Forged("a node says more than that it is ready", reasons=("VECTORS",))
        # 3
        own = self._figures(terms, figures)
        # 4
        self.keeper.serve(_served(terms))
        # 5
        binding = terms.binding(Round.INDICATORS)
        said = indicator_words(own, terms.measures)
        return self._say(terms, _INDICATORS, binding, lambda: self._masked(terms, said, binding))

    def values(self, terms: Terms, indicators: Statements) -> Statement:
        """Round 2: say, masked and with noise, what this node has in the cells that survive.

        1. This node has said its indicators for this list.
        2. Every participant's indicators are signed, this node's as it said them.
        3. Sum them; which cells have enough contributors is found here, not told.
        4. Add this node's noise, mask for exactly these indicators, keep, sign.

        :raises Stale: ROUND_ORDER.
        :raises ParticipantMissing: PARTICIPANT_MISSING.
        :raises Forged: SIGNATURE, VECTORS; MASKS: they do not add up.
        :raises Conflict: ROUND_DIFFERS: it has said its values for other indicators or terms.
        """
        # 1
        if not self.keeper.has_said(_served(terms), _INDICATORS):
            raise Stale("the rounds of a release are in order", reasons=("ROUND_ORDER",))
        own = self._figures(terms, _unfrozen)
        # 2
        binding = terms.binding(Round.INDICATORS)
        seen = vectors_of(indicators, terms.participants, binding, self.keys)
        if seen[self.own] != self._say(terms, _INDICATORS, binding, _unsaid).vector:
            raise Forged("this node's own vector is not what it said", reasons=("VECTORS",))
        # 3
        counted = contributors(seen, terms)
        # 4
        binding = terms.values_binding(seen)
        return self._say(
            terms, _VALUES, binding,
            lambda: self._masked(terms, self._noised(terms, own, counted), binding),
        )  # fmt: skip

    def _figures(self, terms: Terms, make: Callable[[], Figures]) -> Figures:
        def checked() -> bytes:
            made = make()
            made.check(terms.measures, len(terms.cells))
            return made.to_bytes()

        octets = self.keeper.frozen(terms.release, checked)
        own = Figures.from_bytes(octets, len(terms.measures))
        own.check(terms.measures, len(terms.cells))
        return own

    def _noised(self, terms: Terms, own: Figures, counted: tuple[int, ...]) -> list[int]:
        """Nought, and no noise, where a group of measures has too few contributors."""
        nodes = len(terms.participants)
        noise = Noise(self.secret, terms.release, terms.list_digest, nodes)
        found = []
        for place in surviving(counted, terms):
            for measure, value in zip(terms.measures, own.values[place], strict=True):
                is_summed = summed(counted[place], measure.group, terms)
                for power, word in enumerate(measure.words, start=1):
                    if is_summed:
                        share = noise.share(terms.cells[place], word.name, word.scale)
                        found.append(value**power + share)
                    else:
                        found.append(0)
        return found

    def _masked(self, terms: Terms, values: list[int], binding: Binding) -> bytes:
        others = [name for name in terms.participants if name != self.own]
        seeds = {name: self.seeds(name, terms.quarter) for name in others}
        return mask(values, self.own, others, seeds, binding)

    def _say(
        self, terms: Terms, kind: str, binding: Binding, make: Callable[[], bytes]
    ) -> Statement:
        context = hashlib.sha256(binding.to_bytes()).digest()
        return self._signed(binding, self.keeper.said(_served(terms), kind, context, make))

    def _signed(self, binding: Binding, vector: bytes) -> Statement:
        return Statement.sign(self.own, self.signing_key, binding, vector)


def _served(terms: Terms) -> Served:
    return Served(release=terms.release, participants=terms.participants, readers=terms.readers)


def _unfrozen() -> Figures:
    raise Stale("the rounds of a release are in order", reasons=("ROUND_ORDER",))


def _unsaid() -> bytes:
    raise Stale("the rounds of a release are in order", reasons=("ROUND_ORDER",))
