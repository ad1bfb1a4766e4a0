"""The verifier as one file: its parts joined, with nothing of the rest of the product in it."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.resources import files

PARTS = (
    "finding", "wire", "tree", "note", "group", "oblivious", "sealed", "anchors", "people", "asked",
    "answered", "lookup", "chunks", "pages", "summary", "check", "command",
)  # fmt: skip
"""In an order in which each uses only those before it."""
_PACKAGE = "fairlead.verifier"
_OPENING = '''"""Fairlead's verifier of evidence as one file: Python 3.11 and cryptography.

python3 verifier.py FILE [--trust TRUST.toml] [--anchors FINGERPRINT]

Licensed under the Apache License, Version 2.0.
"""

from __future__ import annotations
'''


@cache
def source() -> bytes:
    """The file's octets, the same on every machine: ASCII, and no line ends a block of a page."""
    joined = [_OPENING, *(_part(name) for name in PARTS)]
    return "\n".join(joined).encode("ascii")


def fingerprint() -> str:
    """Its SHA-256, to be compared out of band."""
    return hashlib.sha256(source()).hexdigest()


def _part(name: str) -> str:
    """A part without its imports of others, and of the future, which stand once."""
    text = (files(_PACKAGE) / f"{name}.py").read_text(encoding="utf-8")
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            own = node.module == "__future__" or node.module.startswith(_PACKAGE)
            if own:
                for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                    lines[line] = ""
    body = "\n".join(line for line, _ in _squeezed(lines))
    return f"# == {name} {'=' * (90 - len(name))}\n\n{body.strip()}\n"


def _squeezed(lines: list[str]) -> list[tuple[str, int]]:
    """At most two empty lines on end."""
    found: list[tuple[str, int]] = []
    for line in lines:
        empty = found[-1][1] + 1 if found and not line else int(not line)
        if empty <= 2:
            found.append((line, empty))
        else:
            found[-1] = ("", empty)
    return found
