"""The words of the federation's registry: what a case may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.errors import InvalidInput
from fairlead.policy.documents import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Purposes with the legal bases of each, schemes, legal instruments with the authorities that
    issue each, and how long answers are kept at most."""

    purposes: Mapping[str, frozenset[str]]
    schemes: frozenset[str]
    instruments: Mapping[str, frozenset[str]]
    retention_days: int

    @classmethod
    def of(cls, registry: Registry) -> Words:
        """Those of the federation's registry."""
        return cls(
            purposes={
                name: frozenset(purpose.legal_bases) for name, purpose in registry.purposes.items()
            },
            schemes=frozenset(registry.schemes),
            instruments={
                name: frozenset(kind.authorities) for name, kind in registry.instruments.items()
            },
            retention_days=registry.limits.retention_days,
        )

    def check_case(self, purpose: str, legal_basis: str, schemes: tuple[str, ...]) -> None:
        """:raises InvalidInput: PURPOSE_UNKNOWN, LEGAL_BASIS or SCHEME: not in the registry."""
        if purpose not in self.purposes:
            raise _unknown("the federation's policy has no such purpose", "PURPOSE_UNKNOWN")
        if legal_basis not in self.purposes[purpose]:
            raise _unknown("this purpose cannot rest on this legal basis", "LEGAL_BASIS")
        if not set(schemes) <= self.schemes:
            raise _unknown("the federation's policy has no such scheme", "SCHEME")

    def check_instrument(self, kind: str, authority: str) -> None:
        """:raises InvalidInput: INSTRUMENT or AUTHORITY: not in the registry."""
        if kind not in self.instruments:
            raise _unknown("the federation's policy has no such legal instrument", "INSTRUMENT")
        if authority not in self.instruments[kind]:
            raise _unknown("this authority does not issue this legal instrument", "AUTHORITY")


def _unknown(message: str, code: str) -> InvalidInput:
    return InvalidInput(
        message, reasons=(code,), remedy="see docs/policy.md, or: fairlead cases open --help"
    )
