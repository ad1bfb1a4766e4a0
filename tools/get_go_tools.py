"""Obtain the Go programs that only tests use: from PATH, else built by Go, pinned.

Plain standard library; part of ``make tools``. grpcurl is the foreign client, helm the judge of
the chart.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

MODULES = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.0",
}
INSTALL = "install Go (apt-get install golang-go), then: make tools"
BIN = Path(__file__).resolve().parent.parent / ".tools" / "bin"


def obtain(name: str, module: str) -> bool:
    """Build ``module`` unless the program is there; says what it did."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found:
        print(f"{name}: {found}")
        return True
    go = shutil.which("go")
    if go is None:
        print(f"{name}: Go is missing; {INSTALL}", file=sys.stderr)
        return False
    BIN.mkdir(parents=True, exist_ok=True)
    print(f"{name}: building {module} (a minute or two)", flush=True)
    environment = {**os.environ, "GOBIN": str(BIN), "GOFLAGS": "-buildvcs=false -trimpath"}
    status = subprocess.run([go, "install", module], env=environment, check=False).returncode
    print(f"{name}: {BIN / name}" if status == 0 else f"{name}: could not be built; {INSTALL}")
    return status == 0


def main() -> int:
    """Obtain every program; returns the exit code."""
    done = [obtain(name, module) for name, module in MODULES.items()]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
