"""What became of each line of a publication, for who asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fairlead.envelope.manifest import Manifest
from node.publication.classes import AudienceClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one line: ``state`` is ``published``, ``unchanged`` or ``held``."""

    audience: AudienceClass
    scheme: str
    state: str
    manifest: Manifest
    terms: int

    @classmethod
    def of(cls, audience: AudienceClass, state: str, manifest: Manifest, terms: int) -> Self:
        """A line; ``manifest`` is the last one that was signed in it."""
        return cls(
            audience=audience, scheme=manifest.scheme, state=state, manifest=manifest, terms=terms
        )


def row_of(manifest: Manifest, state: str, terms: int) -> dict[str, Any]:
    """A manifest as plain JSON."""
    return {
        "class": manifest.audience.name.hex()[:16],
        "partners": list(manifest.audience.partners),
        "purposes": list(manifest.audience.purposes),
        "scheme": manifest.scheme,
        "epoch": manifest.epoch,
        "serial": manifest.serial,
        "terms": terms,
        "entries": manifest.entry_count,
        "state": state,
        "ends_at": manifest.ends_at,
        "answers_until": manifest.answers_until,
        "digest": manifest.snapshot_digest.hex(),
    }
