"""What the owner does at its own node, whether the node runs or not: one class, two callers.

The running node offers these acts on its control socket; a command works on the files itself
when no node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured, Stale
from fairlead.leaves import LeafWriter
from fairlead.names import check_code
from fairlead.partners import Directory
from fairlead.policy.points import PolicyPoints
from fairlead.telemetry import Event, get_logger
from node.exposure.acceptance import Acceptance, widened
from node.exposure.document import document, moment
from node.exposure.gate import ExposureGate
from node.exposure.matrix import Exposure, measure
from node.exposure.source import SourceFacts

EXPOSURE_REMEDY = (
    "fairlead-node exposure --config FILE, then: "
    "fairlead-node exposure accept --by USER --config FILE"
)


DAY_S = 86_400


@dataclass(slots=True, kw_only=True)
class Owner:
    """The owner's own acts.

    :param directory: the directory in force, asked anew each time.
    :param sources: describes the sources as mapped now; raises what a wrong mapping raises.
    """

    partner_id: str
    directory: Callable[[], Directory]
    policy: Callable[[], PolicyPoints]
    sources: Callable[[], Sequence[SourceFacts]]
    log: AuditLog
    leaves: LeafWriter
    gate: ExposureGate
    clock: Callable[[], float]
    _measured: tuple[object, Exposure] | None = None

    async def measured(self) -> Exposure:
        """The exposure as measured last, where nothing that it follows from has changed since:
        agreements begin and end at midnights (UTC). Else it is measured now.

        :raises PolicyUnavailable: no decision could be made.
        """
        if self._measured is not None and self._measured[0] == self._inputs():
            return self._measured[1]
        return await self.measure()

    def _inputs(self) -> object:
        sources = tuple(self.sources())
        day = int(self.clock()) // DAY_S
        return self.policy().serial, self.directory().serial, sources, day

    async def measure(self) -> Exposure:
        """Measure the exposure anew and say in the operator's log how much of it waits.

        Call it when directory, policy or mappings have changed. What goes beyond the acceptance
        is withheld whether or not this is called.

        :raises PolicyUnavailable: no decision could be made.
        """
        directory, inputs = self.directory(), self._inputs()
        found = await measure(
            owner=directory.partner(self.partner_id),
            directory=directory,
            policy=self.policy(),
            sources=self.sources(),
            now=self.clock(),
        )
        changed = self.gate.exposure is None or self.gate.exposure.digest != found.digest
        self.gate.exposure, self._measured = found, (inputs, found)
        waiting = widened(found, self.gate.acceptance)
        if changed and (waiting or self.unaccepted(found)):
            get_logger().warning(Event.EXPOSURE_PENDING, count=len(waiting))
        return found

    def unaccepted(self, exposure: Exposure) -> tuple[str, ...]:
        """Names of sources whose mapping nobody accepted; they are not indexed."""
        known = self.gate.acceptance.sources if self.gate.acceptance else {}
        return tuple(s.name for s in exposure.sources if known.get(s.name) != s.digest)

    async def exposure(self) -> dict[str, Any]:
        """The exposure as a document (:func:`node.exposure.document.document`)."""
        return self._document(await self.measure())

    def _document(self, exposure: Exposure) -> dict[str, Any]:
        registry = self.policy().registry
        if registry is None:
            raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
        return document(
            exposure,
            directory=self.directory(),
            registry=registry,
            acceptance=self.gate.acceptance,
            now=self.clock(),
        )

    async def accept(self, by: str, digest: str = "") -> dict[str, Any]:
        """Measure the exposure as it is now, and :func:`take` it."""
        check_code(by)
        found = await self.measure()
        return await take(
            found,
            by,
            digest=digest,
            log=self.log,
            leaves=self.leaves,
            gate=self.gate,
            now=self.clock(),
        )


async def take(
    found: Exposure,
    by: str,
    *,
    digest: str = "",
    log: AuditLog,
    leaves: LeafWriter,
    gate: ExposureGate,
    now: float,
) -> dict[str, Any]:
    """Accept an exposure just measured; accepting what is accepted changes nothing.

    1. It is the one that was shown, where a digest says which. 2. Leaf and acceptance are durable
    together. 3. The gate opens that far, and closes behind what is no longer in it.

    :param by: the pseudonym of who accepts, written into the leaf.
    :raises InvalidInput: ``CODE``, not a pseudonym. :raises Stale: ``EXPOSURE_CHANGED``.
    """
    check_code(by)
    # 1
    if digest and digest != found.digest:
        raise Stale(
            "the exposure is no longer the one that was shown",
            reasons=("EXPOSURE_CHANGED",),
            remedy="fairlead-node exposure --config FILE, and accept what it shows now",
        )
    held = gate.acceptance
    if held is not None and held.digest == found.digest:
        return _told(held, changed=False)
    # 2
    acceptance = Acceptance.of(found, by=by, now=now)
    leaf = leaves.owner("exposure-accepted", user=by, digest=bytes.fromhex(found.digest))
    await log.append(leaf, also=acceptance.persist())
    # 3
    gate.accept(acceptance)
    get_logger().info(Event.EXPOSURE_ACCEPTED, count=len(found.rows))
    return _told(acceptance, changed=True)


def _told(acceptance: Acceptance, *, changed: bool) -> dict[str, Any]:
    return {
        "digest": acceptance.digest,
        "by": acceptance.by,
        "at": moment(acceptance.accepted_at),
        "changed": changed,
    }
