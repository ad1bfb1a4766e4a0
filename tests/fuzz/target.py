"""What is fuzzed: a name, honest octets to start from, and what is done with any octets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fairlead.errors import FairleadError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Target:
    """One parser. ``attempt`` may return, or raise a :class:`FairleadError`; nothing else."""

    name: str
    seeds: Sequence[bytes]
    attempt: Callable[[bytes], object]
    words: Sequence[str] = field(default=())
    """Words worth trying: a dictionary for the fuzzer."""

    def __repr__(self) -> str:
        return f"Target({self.name})"

    def __call__(self, data: bytes) -> None:
        """Try ``data``; what is not ours escapes and is a finding."""
        try:
            self.attempt(data)
        except FairleadError:
            return


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Group:
    """Parsers fuzzed by one process: the first octet says which of them gets the rest."""

    name: str
    members: Sequence[Target]

    @property
    def seeds(self) -> list[bytes]:
        """The members' seeds, each behind the octet that leads to its member."""
        return [
            bytes([place]) + seed
            for place, member in enumerate(self.members)
            for seed in member.seeds
        ]

    def __call__(self, data: bytes) -> None:
        """Try ``data`` on the member it names."""
        if data:
            self.members[data[0] % len(self.members)](data[1:])


def text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text as one of octets: any octets become some text, surrogates included."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))
