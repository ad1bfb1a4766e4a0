"""Sealed details for tests that make a query's messages themselves."""

from __future__ import annotations

from collections.abc import Callable

from fairlead import signing
from fairlead.detail import Bound, seal_detail
from fairlead.partners import Directory


def some_detail(directory: Directory, maker: str, query_id: bytes) -> bytes:
    """A detail of the right shape for the right readers, which says nothing."""
    return seal_detail(directory, Bound(query_id=query_id, maker=maker), b"nothing")


def naming(detail: bytes) -> Callable[[bytes], bytes]:
    """What ``sign_query`` wants: the digest of this detail, whatever the header is."""
    return lambda _header: signing.digest(detail)
