"""Reports that a release names: what was expected of it, and what it would have decided yesterday.

A replay report (``reports/replay-<partner>.json``) lists every widening. Somebody has to have said
why each is wanted before a second person signs, so a release with an unjustified one is none. A
report of tests (``reports/tests.json``) says that they passed. Either is about exact files: a
report of others says nothing of these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from fairlead.errors import InvalidInput
from fairlead.officers import Officer
from fairlead.policy.cubes import CUBES
from fairlead.policy.manifest import WASM, unavailable
from fairlead.policy.report import parse_report


def subject(digests: Mapping[str, str]) -> str:
    """What a replay is about: SHA-256 over the names and digests of everything that decides."""
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()


def is_about(content: bytes, files: Mapping[str, str], data: Iterable[str]) -> bool:
    """Whether a report, of a replay or of tests, is about these files and no others.

    :param files: name → SHA-256 of every file of the release. :param data: its agreements.
    """
    decides = {name: files[name] for name in (WASM, CUBES, *data) if name in files}
    try:
        report = json.loads(content)
        if "inputs" not in report:
            return bool(report["draft"] == subject(decides))
        tested = report["inputs"]
        same = all(files.get(name) == digest for name, digest in tested.items())
        return same and decides.keys() <= tested.keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def check_about(content: bytes, files: Mapping[str, str], data: Iterable[str]) -> None:
    """:raises PolicyUnavailable: POLICY_REPORT: it is about other files, or is no report."""
    if not is_about(content, files, data):
        raise unavailable(
            "POLICY_REPORT",
            "a report is about other files than those of the policy",
            "fairlead policy test DIR, fairlead policy replay DIR, then sign again",
        )


def check_passed(content: bytes) -> None:
    """:raises PolicyUnavailable: POLICY_REPORT: no report of tests, or one of them failed."""
    try:
        passed = json.loads(content)["ok"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        passed = False
    if not passed:
        raise unavailable("POLICY_REPORT", "the tests of a policy have not passed")


def check_justified(content: bytes, officers: Sequence[Officer]) -> None:
    """Whether every widening of a replay report is justified, in words that an officer signed.

    :raises PolicyUnavailable: POLICY_REPORT: no such report; POLICY_UNJUSTIFIED.
    """
    try:
        said = [widening["justification"] for widening in parse_report(content)["widenings"]]
    except InvalidInput:
        raise unavailable("POLICY_REPORT", "a replay report cannot be read") from None
    known = {officer.key_id for officer in officers}
    if not all(why is not None and why["key"] in known for why in said):
        raise unavailable(
            "POLICY_UNJUSTIFIED",
            "a policy permits more than before, and nobody has said why",
            "fairlead policy justify   (each widening of the replay report), then sign again",
        )
