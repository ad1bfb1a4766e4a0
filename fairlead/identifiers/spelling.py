"""Spelling: the folding that every family starts from.

Folded text is upper case, compatibility-composed (NFKC), with decimal digits of any script as
0-9, with Cyrillic and Greek look-alikes of Latin capitals as Latin, and without separators.
"""

from __future__ import annotations

import unicodedata

LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТУХІЈЅԚԜ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺ" + "ӀҮ",
    "ABEKMHOPCTYXIJSQW" + "ABEZHIKMNOPTYXCM" + "IY",
)
"""Cyrillic and Greek capitals that look like a Latin one."""
_SEPARATORS = frozenset("-/._,:;'\"()[]{}|\\`´·•’‘“”„‚«»<>~")
_ASCII_DROPPED = str.maketrans(
    "", "", "".join(c for c in map(chr, range(128)) if c in _SEPARATORS or c <= " " or c == "\x7f")
)
_DROPPED_CATEGORIES = frozenset({"Cc", "Cf", "Mn", "Me", "Pd", "Zl", "Zp", "Zs"})
_UNREADABLE = "\ufffd"
_ROUNDS = 4


def fold(raw: str) -> str:
    """Fold any text; total and idempotent.

    Dropped: white space, control and format characters (zero width, NUL), dashes of every kind,
    stray combining marks, and the punctuation found between the groups of an identifier. Kept:
    ``* ? # + @`` and the like, because they stand for something unreadable. A lone surrogate
    becomes U+FFFD.
    """
    if raw.isascii():
        return raw.translate(_ASCII_DROPPED).upper()
    text = raw
    for _ in range(_ROUNDS):
        folded = _fold_once(text)
        if folded == text:
            break
        text = folded
    return text


def _fold_once(text: str) -> str:
    composed = unicodedata.normalize("NFKC", text).upper()
    composed = unicodedata.normalize("NFKC", composed).translate(LOOKALIKES)
    return "".join(_fold_character(character) for character in composed)


def _fold_character(character: str) -> str:
    if character.isascii():
        return character.translate(_ASCII_DROPPED)
    category = unicodedata.category(character)
    if category in _DROPPED_CATEGORIES or character in _SEPARATORS:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return _UNREADABLE if category == "Cs" else character
