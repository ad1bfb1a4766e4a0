"""Check phrases: a root key's fingerprint as words two people can compare over the telephone.

Twelve words in three groups: eleven carry the first 88 bits of the fingerprint, the twelfth
checks them. The check word is a weighted sum over GF(2⁸) (x⁸+x⁴+x³+x²+1, generator 2), so one
misheard word, or two words swapped, is always noticed, whatever they are. Finding another key
with a given phrase costs about 2⁸⁸ key generations.
"""

from __future__ import annotations

import re

from fairlead.errors import Forged, InvalidInput

WORDS: tuple[str, ...] = tuple(
    """
    acorn adult agent album almond amber anchor angle animal april arrow artist august
    autumn badge bakery ballet bamboo banana barrel beacon bench berry bicycle biscuit
    blanket blossom bottle boulder brick bronze bucket buffalo bulldog butter cabin cactus
    camera canal captain carpet castle cavalry cement chicken circus citizen clinic clock
    cobra coconut coffee compass copper cotton cousin cradle crystal daisy dancer december
    delta dentist desert diamond doctor dolphin donkey double dragon drum dungeon earth echo
    eight elbow elephant emerald engine eruption evening exit fabric falcon family farmer
    feather festival fiddle field finger fireman flamingo flower forest fossil fountain
    fridge frog galaxy garden ghost giant glacier goblin gold gorilla grape guitar gymnast
    gypsum harbour hazel helmet herring horizon hydrant iceberg igloo ignite inkwell insect
    island ivory jaguar jelly jigsaw jury kangaroo kayak ketchup kidney kitchen kiwi knuckle
    ladder lagoon lantern laptop lemon leopard library lizard lobster locker magnet mango
    maple meadow melody mermaid mill mirror monday mosquito museum napkin nectar needle
    nephew nickel november nurse nutmeg oak oasis obelisk october office olive onion opera
    orange orchid ostrich oxtail oxygen panda paper pebble pencil picnic pilgrim pirate
    plumber polar pony potato powder prince pulley pumpkin puppet pyramid quarter queen
    quilt rabbit radio railway raven rhubarb ribbon robot runner sailor sandwich saturday
    scissors sculptor shepherd shovel silver skeleton snail snowman soldier spider sponge
    squirrel statue submarine summer sunset swallow syrup tadpole telescope temple textile
    thistle thunder toast tractor tropical trumpet tulip turtle twelve umbrella uniform
    upstairs vanilla village vinegar violin volcano vulture waffle walnut wedding whisper
    window yacht yoghurt zigzag
    """.split()  # noqa: SIM905  a list of 256 quoted words would be four pages
)
"""One word per octet, in alphabetical order: at least three letters apart from each other, and
different within their first three."""

OCTETS = 11
"""Octets of the fingerprint that a phrase carries."""
GROUP = 4
MAX_TEXT = 512
"""Characters of a phrase as typed, at most."""

_VALUES = {word: value for value, word in enumerate(WORDS)}
_REMEDY = "have the phrase read to you again, word by word"


def check_phrase(fingerprint: bytes) -> str:
    """The phrase of a root key.

    :param fingerprint: SHA-256 of the raw root key, 32 octets, as the pins file holds it.
    :raises InvalidInput: FINGERPRINT, not 32 octets.
    """
    if len(fingerprint) != 32:
        raise InvalidInput("a fingerprint has 32 octets", reasons=("FINGERPRINT",))
    octets = fingerprint[:OCTETS]
    words = [WORDS[value] for value in (*octets, _check(octets))]
    groups = (words[at : at + GROUP] for at in range(0, len(words), GROUP))
    return " - ".join(" ".join(group) for group in groups)


def parse_phrase(text: str) -> bytes:
    """The octets a phrase carries; case, spaces, hyphens, commas and dots do not matter.

    :returns: the first 11 octets of the fingerprint.
    :raises InvalidInput: PHRASE_LENGTH, PHRASE_WORD or PHRASE_CHECK.
    """
    if len(text) > MAX_TEXT:
        raise InvalidInput("a check phrase is too long", reasons=("PHRASE_LENGTH",))
    words = re.findall(r"[^\W\d_]+", text.lower())
    if len(words) != OCTETS + 1:
        raise InvalidInput(
            "a check phrase has twelve words", reasons=("PHRASE_LENGTH",), remedy=_REMEDY
        )
    values = [_VALUES.get(word) for word in words]
    known = bytes(value for value in values if value is not None)
    if len(known) != len(words):
        position = values.index(None) + 1
        raise InvalidInput(
            "a word of the check phrase is not on the list",
            reasons=("PHRASE_WORD",),
            remedy=f"word {position}: {_REMEDY}",
        )
    if known[-1] != _check(known[:-1]):
        raise InvalidInput(
            "the check phrase was misheard or mistyped", reasons=("PHRASE_CHECK",), remedy=_REMEDY
        )
    return known[:-1]


def compare_phrase(text: str, fingerprint: bytes) -> None:
    """Require a phrase, as it was heard, to be that of ``fingerprint``.

    :raises InvalidInput: as :func:`parse_phrase`.
    :raises Forged: PHRASE_DIFFERS: a whole phrase, and another key's.
    """
    if parse_phrase(text) != fingerprint[:OCTETS]:
        raise Forged(
            "the check phrase is another key's",
            reasons=("PHRASE_DIFFERS",),
            remedy="call the partner on a number you know; do not pin this key",
        )


def _check(octets: bytes) -> int:
    """Horner's rule over GF(2⁸): the sum of octet i times 2 to the power of its place."""
    total = 0
    for octet in octets:
        total <<= 1
        if total & 0x100:
            total ^= 0x11D
        total ^= octet
    return total
