"""The command: ``python3 verifier.py FILE [--trust TRUST.toml] [--anchors FINGERPRINT]``.

Leaves with 0 when everything was proved but what no file can prove of itself, 1 when an item does
not verify, 2 when a file cannot be read, and 3 when nothing is wrong and something is not proved.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

from fairlead.verifier.anchors import Anchors, read_anchors
from fairlead.verifier.check import ALL_OF_THEM, verify_page
from fairlead.verifier.finding import EvidenceFailed, Findings

PROVED, FAILED, UNREADABLE, INCOMPLETE = 0, 1, 2, 3


def main(arguments: list[str], source: bytes) -> int:
    """Verify one file and say what was found; the exit code.

    :param source: this verifier as one file, whose fingerprint is printed.
    """
    parser = argparse.ArgumentParser(description="Verify a Fairlead file of evidence offline.")
    parser.add_argument("file", type=Path, help="the file of evidence")
    parser.add_argument("--trust", type=Path, help="the federation's trust anchors (TOML)")
    parser.add_argument("--anchors", help="or their fingerprint: 64 hexadecimal digits")
    options = parser.parse_args(arguments)
    print(f"verifier {hashlib.sha256(source).hexdigest()}")
    try:
        page = options.file.read_bytes()
        trust = options.trust.read_bytes() if options.trust else None
    except OSError:
        print("a file cannot be read")
        return UNREADABLE
    try:
        anchors = _given(trust)
    except EvidenceFailed as failed:
        print(f"the trust anchors: {failed.fault}")
        return UNREADABLE
    return told(page, anchors, source, options.anchors)


def told(page: bytes, anchors: Anchors | None, source: bytes, fingerprint: str | None) -> int:
    """Verify and print; the exit code."""
    try:
        findings = verify_page(page, anchors, source)
        confirm(findings, fingerprint)
    except EvidenceFailed as failed:
        print(f"FAILED      {_plain(failed.item or 'file')}: it {failed.fault}")
        return FAILED
    for line in findings.proved:
        print(f"proved      {_plain(line)}")
    for line in findings.unproved:
        print(f"NOT PROVED  {_plain(line)}")
    print("nothing in this file is wrong; it proves what is listed as proved, and nothing else")
    return INCOMPLETE if set(findings.unproved) - {ALL_OF_THEM} else PROVED


def confirm(findings: Findings, fingerprint: str | None) -> None:
    """Take a fingerprint that was compared for the anchors.

    :raises EvidenceFailed: it is another one.
    """
    if fingerprint is None:
        return
    if fingerprint.lower() != findings.facts["anchors"]:
        raise EvidenceFailed("has another fingerprint than the one given", "anchors")
    findings.unproved = [x for x in findings.unproved if not x.startswith("the trust anchors:")]
    findings.proved.append("the trust anchors have the fingerprint given")


def _plain(text: str) -> str:
    """What a terminal cannot mistake for a command to itself."""
    return re.sub(r"[^ -~]", "?", text)


def _given(trust: bytes | None) -> Anchors | None:
    return None if trust is None else read_anchors(trust)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).read_bytes()))
