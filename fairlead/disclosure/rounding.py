"""Figures are rounded, so that a record more or less is seldom seen. Pure."""

from __future__ import annotations

from fairlead.disclosure.system import Interval


def round_to_base(value: int, base: int) -> int:
    """The multiple of an odd base that is nearest; nothing is below zero, though noise may be."""
    return max(0, (value + base // 2) // base * base)


def behind(figure: int, base: int) -> Interval:
    """The values that are rounded to a figure: what it says to who leaves noise out of account."""
    return Interval(low=max(0, figure - base // 2), high=figure + base // 2)
