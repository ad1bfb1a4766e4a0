"""Masked sums: figures of many nodes of which only the sum is ever seen (PROTOCOL §6).

Three rounds for one release and one list of participants. Ready: every node signs that it takes
part with exactly this list. Indicators: every node says, masked, to which measures of which cells
it contributes, and every node sums what all said and sees by itself which have enough contributors.
Values: every node says, masked and with its own share of the noise, what it has of those.

A mask binds release, list, round and all that was said before, so vectors of different rounds,
levels, versions or lists, or of nodes that were shown different things, do not add up to anything.
Pure: keys, secrets and the store are handed in.
"""

from fairlead.summing.binding import Binding, Round
from fairlead.summing.combining import (
    Combined,
    contributors,
    surviving,
    totals,
    words_surviving,
)
from fairlead.summing.figures import Figures, Measure
from fairlead.summing.keeper import ListKeeper, LooksUsedUp, Served, Store
from fairlead.summing.masking import mask, sum_of
from fairlead.summing.noise import noise_share
from fairlead.summing.pairs import pair_seed
from fairlead.summing.participants import list_digest
from fairlead.summing.release import Release
from fairlead.summing.rounds import Rounds
from fairlead.summing.statement import Statement
from fairlead.summing.terms import Terms

__all__ = [
    "Binding",
    "Combined",
    "Figures",
    "ListKeeper",
    "LooksUsedUp",
    "Measure",
    "Release",
    "Round",
    "Rounds",
    "Served",
    "Statement",
    "Store",
    "Terms",
    "contributors",
    "list_digest",
    "mask",
    "noise_share",
    "pair_seed",
    "sum_of",
    "surviving",
    "totals",
    "words_surviving",
]
