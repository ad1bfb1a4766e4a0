"""A policy release as it travels: proto messages ⇄ files."""

from __future__ import annotations

from fairlead.errors import InvalidInput
from fairlead.policy.bundle import Files
from fairlead.policy.manifest import MANIFEST
from fairlead.v1 import policy_pb2


def to_wire(files: Files) -> policy_pb2.PolicyRelease:
    """A release as it travels."""
    rows = [policy_pb2.PolicyFile(name=n, content=c) for n, c in sorted(files.items())]
    return policy_pb2.PolicyRelease(files=rows)


def from_wire(release: policy_pb2.PolicyRelease) -> Files:
    """A release that arrived, unverified.

    :raises InvalidInput: POLICY_MALFORMED: no manifest, or one name twice.
    """
    files = {item.name: item.content for item in release.files}
    if len(files) != len(release.files) or MANIFEST not in files:
        raise InvalidInput(
            "a policy release has no manifest, or a file twice",
            reasons=("POLICY_MALFORMED",),
            remedy="fairlead policy sign DIR --key FILE   (it makes the manifest)",
        )
    return files
