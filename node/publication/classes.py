"""The audience classes of an owner: which partners and purposes share one snapshot.

Whom policy and acceptance treat alike, for every scheme, source and kind of record, is put into one
class. A record enters a class only if every member and purpose of it is allowed; among those that
are treated alike that keeps nothing back, and fewer classes cannot do so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fairlead.audience import Audience
from fairlead.identifiers import ceiling
from node.exposure.acceptance import Acceptance, Allowed
from node.exposure.matrix import Channel, Exposure

_Pair = tuple[str, str]
"""Partner, purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceClass:
    """A class, its schemes, and for each of them every channel by which a member may ask."""

    audience: Audience
    channels: Mapping[str, tuple[Channel, ...]]

    @property
    def schemes(self) -> tuple[str, ...]:
        """In order. All are published, whatever is held of them: none would tell that too."""
        return tuple(self.channels)


def classes_of(exposure: Exposure, acceptance: Acceptance | None) -> tuple[AudienceClass, ...]:
    """The classes of what policy permits now and somebody accepted; none without an acceptance.

    A scheme with a ceiling is left out: persons by name alone are leads for the owner's desk, and
    a blind hit would be more than that.
    """
    if acceptance is None:
        return ()
    allowed = Allowed(acceptance.rows)
    permitted = {row.channel for row in exposure.rows if row.channel.mode == "blind"}
    answered = {
        channel
        for channel in permitted
        if allowed.answers((channel,)) and ceiling(channel.scheme) is None
    }
    profiles: dict[_Pair, set[object]] = {}
    for channel in answered:
        profiles.setdefault((channel.partner, channel.purpose), set()).add(channel.scheme)
    for row in acceptance.rows:
        if row.channel in answered and row.record_type:
            outcome = (row.channel.scheme, row.kind, row.approvals, row.facets, row.sources)
            profiles[row.channel.partner, row.channel.purpose].add(outcome)
    return tuple(
        _class(partners, purposes, exposure.policy_serial, answered)
        for partners, purposes in _products(profiles)
    )


def _products(profiles: Mapping[_Pair, set[object]]) -> list[tuple[tuple[str, ...], ...]]:
    """Partners x purposes with one profile: first a partner's purposes, then equal partners."""
    alike: dict[frozenset[object], dict[str, set[str]]] = {}
    for (partner, purpose), profile in profiles.items():
        alike.setdefault(frozenset(profile), {}).setdefault(partner, set()).add(purpose)
    found: list[tuple[tuple[str, ...], ...]] = []
    for purposes_of in alike.values():
        partners_of: dict[tuple[str, ...], set[str]] = {}
        for partner, purposes in purposes_of.items():
            partners_of.setdefault(tuple(sorted(purposes)), set()).add(partner)
        found += [(tuple(sorted(partners)), purposes) for purposes, partners in partners_of.items()]
    return sorted(found)


def _class(
    partners: tuple[str, ...], purposes: tuple[str, ...], serial: int, answered: Iterable[Channel]
) -> AudienceClass:
    channels: dict[str, list[Channel]] = {}
    for channel in sorted(answered):
        if channel.partner in partners and channel.purpose in purposes:
            channels.setdefault(channel.scheme, []).append(channel)
    return AudienceClass(
        audience=Audience(partners=partners, purposes=purposes, policy_serial=serial),
        channels=MappingProxyType({s: tuple(channels[s]) for s in sorted(channels)}),
    )
