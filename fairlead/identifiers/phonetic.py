"""How a name sounds, roughly: the first three sounds of a word, so that spellings fall together.

Own rules, because what they give is looked up under two strangers' keys and must not change with
another program's version. A change here is another :data:`fairlead.identifiers.NORM_VERSION`.
They are for Latin capitals as :mod:`fairlead.identifiers.latin` writes them, of many languages, and
guess none: what one language keeps apart and another does not, falls together.
"""

from __future__ import annotations

import re

SOUNDS = 3
"""On FEBRL 3 four lose one and a half more persons in a hundred, and with two four times as many
strangers sound alike (``bench/febrl.py``)."""

_LATIN = re.compile(r"[A-Z]+")
_GROUPS = re.compile("SCH|[CSTD]Z|TS|PH|X|DJ")
_GROUP = {"PH": "F", "X": "KS", "DJ": "J"}
_SAME = str.maketrans("CQGZFWEIJOUY", "KKKSVVAAAAAA", "H")
"""``H`` is silent, so ``CH KH GH SH TH ZH`` sound as their first letter; vowels, with ``J`` and
``Y``, are one sound."""
_REPEATED = re.compile(r"(.)\1+", re.DOTALL)


def code(word: str) -> str:
    """The code of one word: its first sound and the consonants behind it, :data:`SOUNDS` in all.

    1. A group of letters that is one sound becomes it. 2. Like sounds become one letter. 3. Vowels
    go, but one at the beginning. 4. What is then repeated counts once.

    A word with anything but ``A`` to ``Z`` is its own code, so other scripts match exactly. Total;
    never empty for a word that is not.
    """
    if not _LATIN.fullmatch(word):
        return word
    joined = _GROUPS.sub(lambda group: _GROUP.get(group[0], "S"), word)
    sounds = joined.translate(_SAME) or "H"
    heard = sounds[0] + sounds[1:].replace("A", "")
    return _REPEATED.sub(r"\1", heard)[:SOUNDS]
