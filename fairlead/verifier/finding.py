"""What a verification found: the item that fails, or what was proved and what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class EvidenceFailed(Exception):
    """An item does not verify. ``fault`` is fixed text, ``item`` a name out of the file."""

    def __init__(self, fault: str, item: str = "") -> None:
        super().__init__(fault)
        self.fault = fault
        self.item = item


@dataclass(slots=True)
class Findings:
    """What was proved, and what was not and why; neither holds a term."""

    proved: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


MISSHAPEN = "is not well formed"
"""The fault of what has not the form that evidence has."""


@contextmanager
def naming(item: str) -> Iterator[None]:
    """Whatever fails inside is a fault of ``item``, or of something in it that has a name."""
    try:
        yield
    except EvidenceFailed as failed:
        within = f"{item}, {failed.item}" if failed.item else item
        raise EvidenceFailed(failed.fault, within) from None


def require(true: object, fault: str) -> None:
    """:raises EvidenceFailed: it is not true."""
    if not true:
        raise EvidenceFailed(fault)


def reading(read: Callable[[], Any], fault: str) -> Any:
    """What ``read`` returns. :raises EvidenceFailed: it stumbles over what it was given."""
    try:
        return read()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError,
            OverflowError):  # fmt: skip
        raise EvidenceFailed(fault) from None
