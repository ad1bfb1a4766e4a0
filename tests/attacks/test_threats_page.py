"""The page on threats and the attacks in this folder name each other."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "threats.md"


def test_every_attack_stands_on_the_page_and_every_named_test_exists() -> None:
    """A promise without a test, or a test without a promise, is a mistake in one of the two."""
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE.read_text()))
    attacks = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    elsewhere = {path.name for path in HERE.parent.rglob("test_*.py")}
    assert attacks <= named
    assert named - attacks <= elsewhere
