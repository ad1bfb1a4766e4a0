"""How a node is, in one document that an owner can read and a program can watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from fairlead.errors import FairleadError
from fairlead.partners import DenyLists
from node.counting import Today
from node.exposure.acceptance import widened
from node.exposure.document import moment
from node.index import Index
from node.owner import Owner
from node.pausing import Pause
from node.reconciling import OVERDUE_S, last_told

Json = dict[str, Any]
DAY_S = 86_400
SOON_S: Mapping[str, int] = {"directory": 2 * DAY_S, "policy": 2 * DAY_S, "certificate": 2 * DAY_S}
"""What ends within so many seconds is a warning; deny lists live too short a time for one."""
OLD_INDEX_S = DAY_S
SKEW_S = 30.0
"""Clocks further apart than this are a warning; beyond 120 s questions are refused."""


@dataclass(slots=True, kw_only=True)
class Status:
    """Looks at one node.

    :param index: the index in use, None when there is none.
    :param sources: one line per source from whoever refreshes the index: name, state, and more.
    :param reachable: whether the gateway can be reached, None where nobody tries.
    :param skew: seconds the gateway's clock is ahead of ours, None where unknown.
    :param policy_overdue: whether an emergency stands that nobody has reviewed in time.
    """

    partner: str
    owner: Owner
    pause: Pause
    index: Callable[[], Index | None]
    deny_lists: DenyLists
    certificate: Path
    running: bool
    today: Today
    sources: Callable[[], Sequence[Json]] = field(default=lambda: ())
    reachable: Callable[[], Awaitable[bool | None]] | None = None
    skew: Callable[[], float | None] = field(default=lambda: None)
    policy_overdue: Callable[[], bool] = field(default=lambda: False)

    async def report(self) -> Json:
        """The whole of it; what cannot be known is null."""
        now = self.owner.clock()
        paused, index = self.pause.state, self.index()
        answered, refused = await asyncio.to_thread(self.today.count)
        head = self.owner.log.head
        found: Json = {
            "schema": 1,
            "partner": self.partner,
            "state": "stopped" if not self.running else "paused" if paused else "serving",
            "paused": None
            if paused is None
            else {
                "since": moment(paused.since),
                "until": moment(paused.until) if paused.until else None,
                "reason": paused.reason,
            },
            "index": None
            if index is None
            else {"records": index.records, "age_s": int(index.age_s(now)), "epoch": index.epoch},
            "expiry": self._expiry(now),
            "exposure": await self._exposure(),
            "sources": self._sources(),
            "log": {"size": head.size, "root": head.root.hex()},
            "today": {"answered": answered, "refused": refused},
            "reconciled": self._reconciled(now),
            "gateway": {
                "reachable": await self.reachable() if self.reachable else None,
                "clock_skew_s": self.skew(),
            },
        }
        late = ["POLICY_UNREVIEWED"] if self.policy_overdue() else []
        return {**found, "warnings": [*_warnings(found), *late]}

    def _reconciled(self, now: float) -> Json:
        told = last_told(self.owner.log, now)
        return {
            "at": moment(told["at"]) if told["at"] else None,
            "age_s": int(now - told["at"]) if told["at"] else None,
            "incidents": told["incidents"],
        }

    def _expiry(self, now: float) -> list[Json]:
        ends: list[tuple[str, float]] = [
            ("directory", self.owner.directory().expires_at),
            ("policy", self.owner.policy().not_after),
            *((f"deny-list/{issuer}", end) for issuer, end in self.deny_lists.expiries().items()),
        ]
        end = certificate_end(self.certificate)
        ends += [("certificate", end)] if end is not None else []
        return [
            {"what": what, "at": moment(end), "in_s": int(end - now)} for what, end in ends if end
        ]

    async def _exposure(self) -> Json:
        gate = self.owner.gate
        held = gate.acceptance
        try:
            exposure = await self.owner.measure()
        except FairleadError as error:
            return {"accepted": held is not None, "unknown": error.code}
        return {
            "accepted": held is not None,
            "by": held.by if held else None,
            "at": moment(held.accepted_at) if held else None,
            "digest": held.digest if held else None,
            "pending": len(widened(exposure, held)),
            "unaccepted_sources": list(self.owner.unaccepted(exposure)),
        }

    def _sources(self) -> list[Json]:
        told = [dict(line) for line in self.sources()]
        exposure = self.owner.gate.exposure
        if exposure is None:
            return told
        known = {line["source"] for line in told}
        waiting = self.owner.unaccepted(exposure)
        return told + [
            {"source": s.name, "state": "not-accepted" if s.name in waiting else "mapped"}
            for s in exposure.sources
            if s.name not in known
        ]


def certificate_end(path: Path) -> float | None:
    """Unix seconds at which the certificate in a PEM file expires; None when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None


def _warnings(found: Json) -> list[str]:
    """Stable codes of what somebody should look at, most urgent first."""
    codes = []
    exposure = found["exposure"]
    if not exposure["accepted"]:
        codes.append("EXPOSURE_NOT_ACCEPTED")
    elif exposure.get("pending") or exposure.get("unaccepted_sources"):
        codes.append("EXPOSURE_WIDENED")
    if found["paused"]:
        codes.append("PAUSED")
    for line in found["expiry"]:
        what = line["what"].partition("/")[0].upper().replace("-", "_")
        if line["in_s"] <= 0:
            codes.append(f"{what}_EXPIRED")
        elif line["in_s"] < SOON_S.get(line["what"], 0):
            codes.append(f"{what}_EXPIRES_SOON")
    if found["index"] is None:
        codes.append("NO_INDEX")
    elif found["index"]["age_s"] > OLD_INDEX_S:
        codes.append("INDEX_OLD")
    if found["gateway"]["reachable"] is False:
        codes.append("GATEWAY_UNREACHABLE")
    codes += found["reconciled"]["incidents"]
    if (found["reconciled"]["age_s"] or 0) > OVERDUE_S:
        codes.append("RECONCILE_OVERDUE")
    if abs(found["gateway"]["clock_skew_s"] or 0.0) > SKEW_S:
        codes.append("CLOCK_SKEW")
    return list(dict.fromkeys(codes))
