"""``make tools``, the OPA part: find or fetch exactly the pinned OPA.

From PATH; else built by Go from the module proxy's source, which Go verifies against its
checksum database; else the official release, verified against the SHA-256 written here. OPA
compiles and tests the policies; running Fairlead and ``make test`` need none.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

from fairlead.policy.compiler import VERSION, Opa, is_pinned

BIN = Path(__file__).resolve().parent.parent / ".tools" / "bin"
MODULE = f"github.com/open-policy-agent/opa@v{VERSION}"
RELEASES = f"https://github.com/open-policy-agent/opa/releases/download/v{VERSION}/"
ASSETS = {
    ("Linux", "x86_64"): (
        "opa_linux_amd64_static",
        "5eef70644868bb04d0556bcc795ee42f2ab379e73f51d1bfa30f83e1305bc9b9",
    ),
    ("Linux", "aarch64"): (
        "opa_linux_arm64_static",
        "0ec34027c15b4d969c21d01ed570fe14fbebd508a08157043ab09f9a0dccbee6",
    ),
    ("Darwin", "x86_64"): (
        "opa_darwin_amd64",
        "0ceb96979d259b3ee31711a6b316a592b8ffcfdd4209cc37600ed85a6cd4a55c",
    ),
    ("Darwin", "arm64"): (
        "opa_darwin_arm64",
        "f1e4da6467a2adb2846bb23eec6ea00d8c3a04786f9270bb11003d22dfd827a5",
    ),
}


def find_opa() -> Path | None:
    """The pinned OPA in ``.tools/bin`` or on PATH; None when neither has this very version."""
    found = Opa.find([BIN])
    return None if found is None else found.path


def main() -> int:
    """Make sure that the pinned OPA is there; say where."""
    found = find_opa() or _from_go() or _from_release()
    if found is None:
        print(
            f"OPA {VERSION} could not be obtained: neither PATH, nor Go, nor a release has it.\n"
            f"next: put the official OPA {VERSION} on PATH, then: make tools",
            file=sys.stderr,
        )
        return 1
    print(f"opa {VERSION}: {found.name if found.parent != BIN else '.tools/bin/opa'}")
    return 0


def _from_go() -> Path | None:
    go = shutil.which("go")
    if go is None:
        return None
    BIN.mkdir(parents=True, exist_ok=True)
    print(f"go install {MODULE} (some minutes)", flush=True)
    try:
        subprocess.run(
            [go, "install", MODULE], env={**os.environ, "GOBIN": str(BIN)}, timeout=900, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return BIN / "opa" if is_pinned(BIN / "opa") else None


def _from_release() -> Path | None:
    asset = ASSETS.get((platform.system(), platform.machine()))
    if asset is None:
        return None
    name, digest = asset
    print(f"downloading {RELEASES}{name}", flush=True)
    try:
        with urllib.request.urlopen(RELEASES + name, timeout=120) as response:
            content = response.read()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != digest:
        print("the download is not the official release: discarded", file=sys.stderr)
        return None
    BIN.mkdir(parents=True, exist_ok=True)
    fresh = BIN / "opa.new"
    fresh.write_bytes(content)
    fresh.chmod(fresh.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    fresh.rename(BIN / "opa")
    return BIN / "opa" if is_pinned(BIN / "opa") else None


if __name__ == "__main__":
    sys.exit(main())
