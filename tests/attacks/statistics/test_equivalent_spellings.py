"""No way to write a question names a cell that another way does not name too."""

from __future__ import annotations

from fairlead.errors import InvalidInput
from tests.attacks.statistics.spelling import LEVEL, canonical, spellings


def test_every_spelling_that_parses_names_the_same_cell() -> None:
    """What noise hangs on is one reference; ``spelled`` of the statistical attacks averages over
    all that were typed instead."""
    names = {name for words in spellings(2024, 2) if (name := _named(words))}
    assert names == {f"reports-received/{LEVEL}/2024-Q2/NL-ZH/anonymous"}


def _named(words: tuple[str, str, str]) -> str | None:
    try:
        return canonical(*words)
    except InvalidInput:
        return None
