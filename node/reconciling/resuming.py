"""A node that was not running when its gateway's log began anew under another origin."""

from __future__ import annotations

from fairlead.partners import Gateway
from node.parts import Parts


async def resume(parts: Parts, gateway: Gateway) -> None:
    """Say, at the start, that this log goes on with another log of the gateway's: what is before
    that leaf is of the former one. A node that runs says so when it follows.

    It is said again at each start until something of the new log was accepted; the first time
    counts.
    """
    former, heads = gateway.former_checkpoint, parts.heads
    if not former or heads.head is not None or heads.origin != gateway.log_origin:
        return
    old = parts.log.foreign_head(former.split("\n", 1)[0])
    if old is not None:
        await parts.log.append(parts.leaves.witness("new-origin", [old.checkpoint, former]))
