"""The gate: nothing leaves that was not accepted.

There is no switch. Every decision is met with what was accepted; a policy, a directory or a
mapping that permits more changes nothing until somebody has accepted that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fairlead.partners import Partner
from fairlead.policy.decision import (
    Audience,
    Decision,
    Obligations,
    Reason,
    denial,
    meet,
)
from fairlead.policy.inputs import RecordFacts
from node.exposure.acceptance import Acceptance, Allowed
from node.exposure.matrix import Channel, Exposure
from node.exposure.source import mapping_digest
from node.sources.mapping import SourceMapping

OWNER_NOT_READY = Reason(code="OWNER_NOT_READY", audience=Audience.REQUESTER)
EXPOSURE_NOT_ACCEPTED = Reason(code="EXPOSURE_NOT_ACCEPTED", audience=Audience.OWNER)
_TIMES = ("field:event", "field:occurred_at")


class Asked(Protocol):
    """What the gate needs of a query."""

    @property
    def asker(self) -> Partner: ...
    @property
    def purpose(self) -> str: ...
    @property
    def legal_basis(self) -> str: ...
    @property
    def mode_name(self) -> str: ...
    @property
    def schemes(self) -> tuple[str, ...]: ...


def channels_of(query: Asked) -> tuple[Channel, ...]:
    """One channel for each scheme of a question."""
    return tuple(
        Channel(
            partner=query.asker.partner_id,
            purpose=query.purpose,
            legal_basis=query.legal_basis,
            mode=query.mode_name,
            scheme=scheme,
        )
        for scheme in query.schemes
    )


@dataclass(slots=True)
class ExposureGate:
    """Holds what was accepted; ``exposure`` is what was measured last, for who asks how far
    policy has moved away from it."""

    acceptance: Acceptance | None = None
    exposure: Exposure | None = None
    _allowed: Allowed | None = None

    def accept(self, acceptance: Acceptance | None) -> None:
        """From now on this is what may leave."""
        self.acceptance = acceptance
        self._allowed = Allowed(acceptance.rows) if acceptance else None

    def source(self, mapping: SourceMapping) -> bool:
        """Whether this very mapping was accepted; any other is not indexed."""
        return accepts(self.acceptance, mapping)

    def rule(self, decision: Decision, query: Asked) -> Decision:
        """An owner's decision over a question, within what was accepted.

        Independent of records: a channel was accepted or it was not. A permission keeps at
        least one facet, because the accepted "no hit" is an answer too; :meth:`record` then
        keeps every record back.
        """
        if not decision.permit:
            return decision
        channels = channels_of(query)
        if self._allowed is None or not self._allowed.answers(channels):
            denied = denial(
                OWNER_NOT_READY, checks=decision.checks, policy_serial=decision.policy_serial
            )
            return replace(denied, reasons=(EXPOSURE_NOT_ACCEPTED, OWNER_NOT_READY))
        facets: set[str] = set()
        timed = set(_TIMES)
        for kind in self._allowed.kinds(channels):
            of_kind = self._facets(channels, kind, decision.obligations.approvals)
            facets |= of_kind
            timed &= of_kind or timed
        narrowed = _with_existence(decision)
        allowed = (facets - set(_TIMES)) | (facets & timed)
        if not allowed:
            return decision
        same = Obligations(notify=decision.obligations.notify)
        return meet(narrowed, _permission(allowed, same))

    def record(self, decision: Decision, query: Asked, record: RecordFacts) -> Decision:
        """A decision over one record, within what was accepted for records of its kind."""
        if not decision.permit:
            return decision
        channels = channels_of(query)
        kind, approvals = (record.record_type, record.personal), decision.obligations.approvals
        rows = [self._allowed.row(c, kind, approvals) for c in channels] if self._allowed else []
        found = [row for row in rows if row is not None]
        facets = self._facets(channels, kind, approvals)
        if len(found) != len(channels) or not facets:
            return denial(
                EXPOSURE_NOT_ACCEPTED, checks=decision.checks, policy_serial=decision.policy_serial
            )
        limits = Obligations(
            max_records=min(row.max_records for row in found),
            retention_days=min(row.retention_days for row in found),
            notify=decision.obligations.notify,
        )
        return meet(_with_existence(decision), _permission(facets, limits))

    def _facets(
        self, channels: tuple[Channel, ...], kind: tuple[str, bool], approvals: int
    ) -> set[str]:
        """The facets accepted for every one of these channels."""
        if self._allowed is None or not channels:
            return set()
        rows = [self._allowed.row(channel, kind, approvals) for channel in channels]
        return set.intersection(*(set(row.facets) if row else set() for row in rows))


def accepts(acceptance: Acceptance | None, mapping: SourceMapping) -> bool:
    """Whether somebody accepted exactly this mapping."""
    known: Mapping[str, str] = acceptance.sources if acceptance else {}
    return known.get(mapping.file.source) == mapping_digest(mapping)


def _with_existence(decision: Decision) -> Decision:
    """Who may see a whole record may know that it exists; said, so that a meet can keep it."""
    if "full_record" not in decision.facets:
        return decision
    return replace(decision, facets=decision.facets | {"existence"})


def _permission(facets: set[str], limits: Obligations) -> Decision:
    return Decision.of_grant(facets=facets, obligations=limits, policy_serial=0)
