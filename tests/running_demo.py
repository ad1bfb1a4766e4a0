"""The demo as ``make demo-up`` leaves it running, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.federation import ROOT

RECORDS = "3000"


@contextmanager
def running_demo(folder: Path) -> Iterator[None]:
    """Six partners and their gateway serve from ``folder/.demo``, until the end."""
    environment = {**os.environ, "FAIRLEAD_DEMO_DIR": str(folder / ".demo"), "NO_COLOR": "1"}
    demo = [sys.executable, "-m", "demo.run", "--records", RECORDS]

    def run(option: str) -> None:
        subprocess.run(
            [*demo, option], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=240, check=True,
        )  # fmt: skip

    try:
        run("--up")
        yield
    finally:
        run("--down")
