"""Check digits that several schemes share. All take ASCII digits and capitals only."""

from __future__ import annotations


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 Annex B: every second digit from the right, but the last, is doubled."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def luhn_digit(digits: str) -> str:
    """The digit that belongs behind ``digits``."""
    return next(d for d in "0123456789" if luhn(digits + d))


def mod_97(text: str) -> int:
    """ISO/IEC 7064 MOD 97-10 over digits and letters, A being 10; 1 when right."""
    return int("".join(str(int(character, 36)) for character in text)) % 97


def weighted(digits: str, weights: tuple[int, ...]) -> int:
    """The sum of the digits, each times its weight."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=True))
