"""Check phrases: a fingerprint as words to read over the telephone. (Stand-in until merged.)"""

from __future__ import annotations

import base64


def phrase(fingerprint: bytes) -> str:
    """The phrase."""
    text = base64.b32encode(fingerprint[:15]).decode().lower()
    return " ".join(text[i : i + 3] for i in range(0, 24, 3))
