"""A gate through which everything may pass that a test's question could bring."""

from __future__ import annotations

from types import MappingProxyType

from node.exposure.acceptance import Acceptance
from node.exposure.gate import Asked, ExposureGate, channels_of
from node.exposure.matrix import UNLIMITED, Row

FIELDS = (
    "account", "booking", "company_eori", "driver_card", "driver_name", "event", "occurred_at",
    "operator_name", "place", "plate", "reefer_action", "release_ref", "seal", "severity",
    "terminal", "vessel_imo",
)  # fmt: skip
FACETS = ("contact_desk", "count_band", "existence", *(f"field:{name}" for name in FIELDS))


def gate_for(query: Asked, *, facets: tuple[str, ...] = FACETS) -> ExposureGate:
    """Movements, about persons or not, with every field; nothing else was accepted."""
    rows = []
    for channel in channels_of(query):
        rows.append(Row(channel=channel))
        rows += [
            Row(
                channel=channel,
                record_type="movement",
                personal=personal,
                facets=tuple(sorted(facets)),
                max_records=UNLIMITED,
                retention_days=UNLIMITED,
            )
            for personal in (False, True)
        ]
    gate = ExposureGate()
    gate.accept(
        Acceptance(
            digest="0" * 64,
            by="u-test",
            accepted_at=0.0,
            rows=tuple(rows),
            sources=MappingProxyType({}),
        )
    )
    return gate
