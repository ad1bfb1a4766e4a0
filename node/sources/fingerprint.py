"""A fingerprint of columns and their types. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def fingerprint(columns: Iterable[tuple[str, str]]) -> str:
    """32 hexadecimal digits that depend on the set of (name, type), not on its order."""
    lines = [f"{name}\0{kind}" for name, kind in sorted(set(columns))]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:32]
