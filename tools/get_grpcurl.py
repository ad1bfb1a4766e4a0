"""Obtain grpcurl, the foreign client of the tests: from PATH, else through Go, pinned.

Plain standard library; part of ``make tools``. Nothing but the tests needs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "1.9.3"
MODULE = f"github.com/fullstorydev/grpcurl/cmd/grpcurl@v{VERSION}"
INSTALL = "install Go (apt-get install golang-go), then: make tools"
BIN = Path(__file__).resolve().parent.parent / ".tools" / "bin"


def find() -> str | None:
    """The path of a grpcurl: ours first, then the one on PATH."""
    return shutil.which("grpcurl", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")


def main() -> int:
    """Install unless there; returns the exit code."""
    found = find()
    if found:
        print(f"grpcurl: {found}")
        return 0
    go = shutil.which("go")
    if go is None:
        print(f"grpcurl: Go is missing; {INSTALL}", file=sys.stderr)
        return 1
    BIN.mkdir(parents=True, exist_ok=True)
    print(f"grpcurl: building {MODULE} (about a minute)", flush=True)
    environment = {**os.environ, "GOBIN": str(BIN), "GOFLAGS": "-buildvcs=false -trimpath"}
    status = subprocess.run([go, "install", MODULE], env=environment, check=False).returncode
    if status != 0:
        print(f"grpcurl: could not be built; {INSTALL}", file=sys.stderr)
        return 1
    print(f"grpcurl: {BIN / 'grpcurl'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
