"""The file: a readable page, this verifier, and the evidence, one item a line.

Whatever lies between the page's own words is covered by a digest in the first line of the
evidence, which the asker's node signed: there is no octet that nobody vouches for. Data are ASCII
without ``<``, ``>`` and ``&``, so nothing of them can end the block that holds them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fairlead.verifier.finding import EvidenceFailed, reading, require

FORMAT = 1
_KEYS = {"about", "fairlead_evidence", "head", "items", "summary", "verifier"}
_NAME = re.compile(r"anchors|case|(?:directory|query) [0-9]{1,16}", re.ASCII)
MAX_PAGE = 256 * 1024 * 1024
"""Octets of a file."""

_STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#111}"
    "h1{font-size:1.5em}h2{font-size:1.2em;border-top:2px solid #111;padding-top:.6em}"
    "h3{font-size:1em}table{border-collapse:collapse;width:100%;margin:.5em 0}"
    "th,td{border:1px solid #999;padding:.25em .5em;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}code,pre{font:13px monospace;overflow-wrap:anywhere;"
    "white-space:pre-wrap}.note{border-left:4px solid #999;padding-left:.8em}"
    "@media print{body{margin:0;max-width:none;font-size:11pt}h2,h3,tr{break-inside:avoid}}"
)
_HEAD = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    f"<title>Fairlead evidence</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    "<h1>Evidence of one case</h1>\n"
    '<div class="note"><p>This page can be read without any program, and proves nothing by itself. '
    "What proves is data at its end: signatures of the people, partners and logs concerned. To "
    "check them, and that this page says what they say, on a computer without network:</p>\n"
    "<pre>fairlead evidence verify FILE --trust TRUST.toml</pre>\n"
    "<p>Without Fairlead, with Python 3.11 or newer and its package "
    "<code>cryptography</code> alone:</p>\n"
    "<pre>sed -n '/^&lt;script id=\"verifier\"/,/^&lt;.script&gt;$/p' FILE | sed '1d;$d' "
    "&gt; verifier.py\nsha256sum verifier.py\npython3 verifier.py FILE --trust TRUST.toml</pre>\n"
    "<p>Whoever could alter this file could alter the verifier in it. Compare what "
    "<code>sha256sum</code> prints with what <code>fairlead evidence verifier --fingerprint</code> "
    "prints at an organisation you trust. TRUST.toml holds the federation's trust anchors; every "
    "partner has them. Without it the verifier prints their fingerprint for you to "
    "compare.</p></div>\n<main>\n"
)
_MAIN = b"<main>\n"
_CLOSE = "\x3c/script>\n"
"""Written so that this source, which stands in such a block itself, does not end it."""
_TO_VERIFIER = '</main>\n<script id="verifier" type="text/plain">\n'
_TO_EVIDENCE = f'{_CLOSE}<script id="evidence" type="text/plain">\n'
_TAIL = f"{_CLOSE}</body>\n</html>\n"


@dataclass(frozen=True)
class FileParts:
    """The parts of a file as they stand in it, and what its first line says."""

    head: bytes
    summary: bytes
    verifier: bytes
    contents: bytes
    signature: bytes
    items: Sequence[bytes]
    said: Mapping[str, Any]

    @property
    def head_is_ours(self) -> bool:
        """Whether the page begins with the words of this program, and not of another version."""
        return self.head == _HEAD.encode()

    @property
    def names(self) -> list[str]:
        """The items' names, in their order."""
        return [name for name, _ in self.said["items"]]

    def read_items(self) -> dict[str, Any]:
        """Every item's content by its name, and ``about``, which the first line says.

        :raises EvidenceFailed: one is not in its one spelling.
        """
        found: dict[str, Any] = {"about": self.said["about"]}
        for name, line in zip(self.names, self.items, strict=True):
            try:
                require(name not in found, "stands there twice")
                found[name] = reading(partial(json.loads, line), "cannot be read")
                require(plain_line(found[name]) == line, "is not in its one spelling")
            except EvidenceFailed as failed:
                raise EvidenceFailed(failed.fault, name) from None
        return found


def plain_line(content: Any) -> bytes:
    """The one spelling of JSON in a file."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


def first_line(
    about: Mapping[str, Any], items: Sequence[tuple[str, bytes]], summary: bytes, verifier: bytes
) -> bytes:
    """What the asker's node signs: who made it when and for whom, and all of it by digest."""
    return plain_line(
        {
            "about": about,
            "fairlead_evidence": FORMAT,
            "head": hashlib.sha256(_HEAD.encode()).hexdigest(),
            "items": [[name, hashlib.sha256(line).hexdigest()] for name, line in items],
            "summary": hashlib.sha256(summary).hexdigest(),
            "verifier": hashlib.sha256(verifier).hexdigest(),
        }
    )


def whole_page(
    summary: bytes, verifier: bytes, contents: bytes, signature: bytes, items: Sequence[bytes]
) -> bytes:
    """The file."""
    lines = b"".join(line + b"\n" for line in (contents, signature, *items))
    parts = (_HEAD.encode(), summary, _TO_VERIFIER.encode(), verifier, _TO_EVIDENCE.encode(), lines)
    return b"".join(parts) + _TAIL.encode()


def parts_of(page: bytes) -> FileParts:
    """Take a file apart; what is signed is not looked at.

    1. It has the form of one. 2. The first line is the one that was signed. 3. Every item is the
    one the first line names, and none is missing or added. 4. So are the words at the head of the
    page, the summary and the verifier.

    :raises EvidenceFailed: another form, or an item was changed; it is named.
    """
    # 1
    require(len(page) <= MAX_PAGE, "is larger than allowed")
    tail = _TAIL.encode()
    head, main, rest = page[: -len(tail)].partition(_MAIN)
    summary, first, rest = rest.partition(_TO_VERIFIER.encode())
    verifier, second, lines = rest.rpartition(_TO_EVIDENCE.encode())
    if not (page.endswith(tail) and main and first and second):
        raise EvidenceFailed("is not as a file of evidence is", "page")
    rows = lines.split(b"\n")
    if len(rows) < 3 or rows.pop() != b"":
        raise EvidenceFailed("is not as a file of evidence is", "page")
    contents, signature, *items = rows
    # 2
    said = _said(contents, signature)
    # 3
    for place, (name, digest) in enumerate(said["items"]):
        line = items[place] if place < len(items) else b""
        if hashlib.sha256(line).hexdigest() != digest:
            raise EvidenceFailed("was altered, moved or removed", str(name))
    if len(items) > len(said["items"]):
        raise EvidenceFailed("holds an item that nobody signed", "items")
    # 4
    covered = (("head", head + main), ("summary", summary), ("verifier", verifier))
    for name, part in covered:
        if hashlib.sha256(part).hexdigest() != said[name]:
            raise EvidenceFailed("was altered", "page" if name == "head" else name)
    return FileParts(head + main, summary, verifier, contents, signature, items, said)


def _said(contents: bytes, signature: bytes) -> dict[str, Any]:
    fault = "was altered"
    try:
        signed = reading(lambda: json.loads(signature), fault)
        digest = reading(lambda: signed["contents"], fault)
        require(digest == hashlib.sha256(contents).hexdigest(), fault)
        require(plain_line(signed) == signature, fault)
        said = reading(lambda: json.loads(contents), fault)
        require(plain_line(said) == contents, fault)
        require(reading(lambda: said["fairlead_evidence"], fault) == FORMAT, "is of another format")
        shaped = reading(lambda: all(_NAME.fullmatch(name) for name, _ in said["items"]), fault)
        require(shaped and said.keys() == _KEYS, fault)
    except EvidenceFailed as failed:
        raise EvidenceFailed(failed.fault, "contents") from None
    found: dict[str, Any] = said
    return found
