"""Reports that a release names: what its draft would have decided of yesterday's questions.

A replay report (``reports/replay-<partner>.json``) lists every widening. Somebody has to have said
why each is wanted before a second person signs, so a release with an unjustified one is none.
"""

from __future__ import annotations

import json
from typing import Any

from fairlead.policy.manifest import unavailable

MAX_WIDENINGS = 10_000


def check_justified(content: bytes) -> None:
    """Whether every widening of a replay report is justified, by somebody and in words.

    :raises PolicyUnavailable: POLICY_REPORT: no such report; POLICY_UNJUSTIFIED.
    """
    try:
        report = json.loads(content)
        widenings = report["widenings"]
        if report["schema"] != 1 or not isinstance(widenings, list):
            raise ValueError
        if len(widenings) > MAX_WIDENINGS or len({w["id"] for w in widenings}) != len(widenings):
            raise ValueError
        justified = all(_said(item["justification"]) for item in widenings)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise unavailable("POLICY_REPORT", "a replay report cannot be read") from None
    if not justified:
        raise unavailable(
            "POLICY_UNJUSTIFIED",
            "a policy permits more than before, and nobody has said why",
            "fairlead policy justify   (each widening of the replay report), then sign again",
        )


def _said(justification: Any) -> bool:
    if justification is None:
        return False
    by, text = justification["by"], justification["text"]
    return isinstance(by, str) and isinstance(text, str) and bool(by.strip() and text.strip())
