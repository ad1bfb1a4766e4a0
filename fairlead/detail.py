"""The sealed detail of a leaf: readable by the partner's oversight, not by its administrators."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from fairlead import sealing
from fairlead.partners import Partner

BLOCK = 1024
"""Details are padded to multiples of this many octets."""


def detail_info(query_id: bytes) -> bytes:
    """HPKE info binding a detail to its query."""
    return b"fairlead/v1/detail\x00" + query_id


def seal_detail(partner: Partner, query_id: bytes, content: Mapping[str, object]) -> bytes:
    """Seal JSON ``content`` to the partner's own oversight key, padded to whole blocks."""
    data = orjson.dumps(content)
    size = (len(data) + 4 + BLOCK - 1) // BLOCK * BLOCK
    return sealing.seal(sealing.pad(data, size), partner.oversight_key, info=detail_info(query_id))
