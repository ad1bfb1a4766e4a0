"""Gateways of one log that do not follow each other's files: whoever falls behind stops serving.

A suspension that one gateway was brought, another must not outlive. The log both write says what
was in force at either: a gateway that is behind it for longer than a suspension may take is not to
be asked any more. It starts again once it has the files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from fairlead.auditlog import AuditLog
from fairlead.errors import LogUnavailable, Stale

EVERY_S = 2.0
GRACE_S = 60.0
"""As long as a suspension may take to be heard of everywhere."""


async def keep_abreast(
    log: AuditLog,
    own: Callable[[], Mapping[str, int]],
    *,
    every_s: float = EVERY_S,
    grace_s: float = GRACE_S,
) -> None:
    """Return never; compare what is in force here with what the log has seen in force, again and
    again, until this gateway has been behind for too long.

    :param own: subject of an activation → its serial here.
    :raises Stale: GATEWAY_BEHIND.
    """
    loop = asyncio.get_running_loop()
    since: float | None = None
    while True:
        await asyncio.sleep(every_s)
        if not _behind(log, own()):
            since = None
            continue
        since = since or loop.time()
        if loop.time() - since >= grace_s:
            raise Stale(
                "another gateway of this log has newer lists, or a newer policy, than this one",
                reasons=("GATEWAY_BEHIND",),
                remedy="let the gateways share their public files and policy_dir, or copy them; "
                "then start this one again",
            )


def _behind(log: AuditLog, own: Mapping[str, int]) -> bool:
    try:
        seen = dict(log.read("SELECT subject, serial FROM active"))
    except LogUnavailable:  # then nothing is admitted either
        return False
    return any(seen.get(subject, 0) > serial for subject, serial in own.items())
