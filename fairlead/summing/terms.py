"""What all nodes must agree on before they send anything: the terms of a release's rounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.errors import InvalidInput
from fairlead.names import check_partner_id
from fairlead.summing.binding import Binding, Round
from fairlead.summing.figures import Measure, Word
from fairlead.summing.indicators import MAX_GROUPS, groups_of
from fairlead.summing.masking import MAX_WORDS
from fairlead.summing.participants import (
    TooFewParticipants,
    check_participants,
    contributors_needed,
    list_digest,
)
from fairlead.summing.release import Release, framed

MAX_CELLS = 4096
MAX_SPELLING = 255
MAX_MOMENT = 2**40
"""Unix seconds; some time after the year 30,000."""
_QUARTER = re.compile(r"[1-9][0-9]{3}-Q[1-4]\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A release, its list, who reads it, and how its vectors are laid out.

    ``readers`` are the partners who may ever read the release, for it is frozen for all of them;
    ``cells`` are spelled in canonical order, each once and beginning with the period. ``quarter``
    is that of the pair seeds, the one in which the rounds begin, and ``cut_off`` when they do (Unix
    seconds): whatever is recorded later is not counted.

    :raises InvalidInput: PARTICIPANTS, PARTNER_ID, QUARTER or TERMS_LAYOUT; PERIOD_OPEN: the period
        has not ended at the cut-off.
    :raises TooFewParticipants: the threshold could not be met.
    """

    release: Release
    participants: tuple[str, ...]
    readers: tuple[str, ...]
    quarter: str
    cut_off: int
    measures: tuple[Measure, ...]
    cells: tuple[str, ...]

    def __post_init__(self) -> None:
        check_participants(self.participants)
        if not self.readers or list(self.readers) != sorted({*map(check_partner_id, self.readers)}):
            raise InvalidInput("readers are listed once, in order", reasons=("PARTICIPANTS",))
        if not _QUARTER.match(self.quarter):
            raise InvalidInput("seeds are of a calendar quarter", reasons=("QUARTER",))
        if not self.release.ends <= self.cut_off <= MAX_MOMENT:
            raise InvalidInput(
                "what is summed was not over at its cut-off", reasons=("PERIOD_OPEN",)
            )
        names, spelled = {m.measure_id for m in self.measures}, {*self.cells}
        fits = len(self.cells) <= MAX_CELLS and len(self.cells) * len(self.words) <= MAX_WORDS
        if not names or len(names) != len(self.measures) or not spelled or not fits:
            raise InvalidInput("cells or measures are none or too many", reasons=("TERMS_LAYOUT",))
        if len(groups_of(self.measures)) > MAX_GROUPS:
            raise InvalidInput("measures are of too many groups", reasons=("TERMS_LAYOUT",))
        if len(spelled) != len(self.cells) or not all(map(self._belongs, spelled)):
            raise InvalidInput("a cell is spelled once, in its unit", reasons=("TERMS_LAYOUT",))
        if len(self.participants) < self.needed:
            raise TooFewParticipants(
                "too few partners take part for any cell to be shown",
                remedy="fairlead partners",
            )

    def _belongs(self, cell: str) -> bool:
        """Whether a cell is of the release's one unit, so that no other release has it too."""
        unit, _, _ = cell.partition("/")
        return unit == self.release.period and len(cell) <= MAX_SPELLING

    @property
    def needed(self) -> int:
        """Contributors of a cell that is shown."""
        return contributors_needed(self.participants, self.readers)

    @property
    def words(self) -> tuple[Word, ...]:
        """What is summed of each cell, in order."""
        return tuple(word for measure in self.measures for word in measure.words)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of measures that have contributors of their own."""
        return groups_of(self.measures)

    @property
    def list_digest(self) -> bytes:
        """Of the participants."""
        return list_digest(self.participants)

    def digest(self) -> bytes:
        """SHA-256 of what release and list do not say: readers, quarter, cut-off, layout."""
        words = (
            framed(*(str(part).encode() for part in (w.name, w.bound, w.scale, w.group)))
            for w in self.words
        )
        parts = (
            framed(*(name.encode() for name in self.readers)),
            self.quarter.encode(),
            self.cut_off.to_bytes(8, "big"),
            framed(*words),
            framed(*(cell.encode() for cell in self.cells)),
        )
        return hashlib.sha256(b"fairlead/v1/statistics-terms\x00" + framed(*parts)).digest()

    def binding(self, round_: Round) -> Binding:
        """What the first two rounds are bound to; of the last one, see :meth:`values_binding`."""
        return self._bound(round_, self.digest())

    def values_binding(self, indicators: Mapping[str, bytes]) -> Binding:
        """What the last round is bound to: every node's indicator vector as it was seen here."""
        seen = framed(*(part for name in sorted(indicators)
                        for part in (name.encode(), indicators[name])))  # fmt: skip
        domain = b"fairlead/v1/statistics-seen\x00"
        return self._bound(Round.VALUES, hashlib.sha256(domain + self.digest() + seen).digest())

    def _bound(self, round_: Round, earlier: bytes) -> Binding:
        return Binding(
            release=self.release, round=round_, list_digest=self.list_digest, earlier=earlier
        )
