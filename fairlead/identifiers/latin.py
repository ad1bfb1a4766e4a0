"""Words in Latin capitals, for names and addresses: own small tables, no language is guessed.

Covered: every Latin letter with marks (``É`` as ``E``), the ones without a decomposition
(``ß Æ Œ Ø Ł Đ Þ ı`` …), Cyrillic (Russian, Ukrainian, Bulgarian, Serbian, Macedonian) as in
ICAO Doc 9303 without primes, Greek as in ELOT 743 (``ΟΥ``, ``ΕΥ``, ``ΑΥ`` as ``OU EV AV``).
``AE OE UE`` become ``A O U``, so ``Müller``, ``Mueller`` and ``Muller`` are one. In a word that
mixes scripts, look-alikes are first read in the script that most of it has. Not covered: Arabic,
Hebrew, Indic and East Asian scripts, kept as they are; other romanisations
(``Yuri`` for ``Iurii``); nicknames.
"""

from __future__ import annotations

import re
import unicodedata

from fairlead.identifiers.spelling import LOOKALIKES

_DELETED = str.maketrans("", "", "'’‘ʼʹʺ`´′″ʻ\u00ad")
_SPECIAL = str.maketrans({
    "ß": "SS", "ẞ": "SS", "Æ": "AE", "Œ": "OE", "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "TH",
    "Ħ": "H", "Ŧ": "T", "Ŋ": "N", "Ə": "A", "ı": "I", "ĸ": "K", "Ƒ": "F", "Ɓ": "B", "Ɗ": "D",
})  # fmt: skip
_CYRILLIC = str.maketrans({
    "А": "A", "Б": "B", "В": "V", "Г": "G", "Ґ": "G", "Д": "D", "Е": "E", "Ж": "ZH", "З": "Z",
    "И": "I", "І": "I", "К": "K", "Л": "L", "М": "M", "Н": "N", "О": "O", "П": "P", "Р": "R",
    "С": "S", "Т": "T", "У": "U", "Ф": "F", "Х": "KH", "Ц": "TS", "Ч": "CH", "Ш": "SH",
    "Щ": "SHCH", "Ъ": "", "Ы": "Y", "Ь": "", "Э": "E", "Ю": "IU", "Я": "IA", "Є": "IE", "Ј": "J",
    "Љ": "LJ", "Њ": "NJ", "Ћ": "C", "Ђ": "D", "Џ": "DZ", "Ѕ": "DZ",
})  # fmt: skip
_GREEK_PAIRS = re.compile("ΑΥ|ΕΥ|ΟΥ|ΓΓ|ΓΚ|ΓΞ|ΓΧ|^ΜΠ")
_GREEK_PAIR = {
    "ΑΥ": "AV", "ΕΥ": "EV", "ΟΥ": "OU", "ΓΓ": "NG", "ΓΚ": "GK", "ΓΞ": "NX", "ΓΧ": "NCH", "ΜΠ": "B",
}  # fmt: skip
_GREEK = str.maketrans({
    "Α": "A", "Β": "V", "Γ": "G", "Δ": "D", "Ε": "E", "Ζ": "Z", "Η": "I", "Θ": "TH", "Ι": "I",
    "Κ": "K", "Λ": "L", "Μ": "M", "Ν": "N", "Ξ": "X", "Ο": "O", "Π": "P", "Ρ": "R", "Σ": "S",
    "Τ": "T", "Υ": "Y", "Φ": "F", "Χ": "CH", "Ψ": "PS", "Ω": "O", "ς": "S",
})  # fmt: skip
_AS_CYRILLIC = str.maketrans("ABEKMHOPCTYXIJS", "АВЕКМНОРСТУХІЈЅ")
_AS_GREEK = str.maketrans("ABEZHIKMNOPTYX", "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
_FOREIGN = re.compile(r"[\u0370-\u052f]")
_CYRILLIC_LETTER = re.compile(r"[\u0400-\u052f]")
_LATIN = re.compile(r"[A-Z]")
_UMLAUT = re.compile(r"([AOU])E+")
_ROUNDS = 5


def words(raw: str) -> list[str]:
    """The words of a text in capitals, in order; total, and the same for its own output."""
    text = "".join("�" if unicodedata.category(c) == "Cs" else c for c in raw)
    for _ in range(_ROUNDS):
        found = _words_once(text)
        joined = " ".join(found)
        if joined == text:
            break
        text = joined
    return text.split()


def _words_once(text: str) -> list[str]:
    plain = text.translate(_DELETED)
    if plain.isascii():
        plain = plain.upper()
    else:
        plain = unicodedata.normalize("NFKC", plain).translate(_DELETED).upper()
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(c for c in plain if unicodedata.category(c) not in {"Mn", "Me", "Cf"})
        plain = unicodedata.normalize("NFC", plain)
    spaced = "".join(c if c.isalnum() or unicodedata.category(c) == "Mc" else " " for c in plain)
    return [latin for word in spaced.split() if (latin := _latin(word))]


def _one_script(word: str) -> str:
    """A word that mixes scripts in the one that most of it has, by its look-alikes."""
    latin, foreign = len(_LATIN.findall(word)), len(_FOREIGN.findall(word))
    if not latin:
        return word
    if latin >= foreign:
        return word.translate(LOOKALIKES)
    return word.translate(_AS_CYRILLIC if _CYRILLIC_LETTER.search(word) else _AS_GREEK)


def _latin(word: str) -> str:
    word = word.translate(_SPECIAL)
    if _FOREIGN.search(word):
        word = _one_script(word)
        word = _GREEK_PAIRS.sub(lambda pair: _GREEK_PAIR[pair[0]], word)
        word = word.translate(_GREEK).translate(_CYRILLIC)
    word = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in word)
    return _UMLAUT.sub(r"\1", word)
