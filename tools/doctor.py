"""Say which system packages are missing and how to install them: ``make doctor``.

Standard library only, and no syntax newer than Python 3.6, because it must run on the machine
that has too little. Exit 0: everything required is here; 1: something required is missing.
``--quiet`` prints only what is missing and required.
"""

import glob
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
APT = "apt-get install" if os.geteuid() == 0 else "sudo apt-get install"
OPA_VERSION = "1.21.0"
FREE_GIB = 2


class Finding:
    """One thing looked for: what it is, what was found, and what to do without it."""

    def __init__(self, name: str, ok: bool, found: str, remedy: str, required: bool) -> None:
        self.name = name
        self.ok = ok
        self.found = found
        self.remedy = remedy
        self.required = required

    def line(self) -> str:
        """Return the finding as one line, with the remedy below when it is needed."""
        mark = "ok" if self.ok else ("MISSING" if self.required else "optional")
        text = f"{mark:>8}  {self.name}: {self.found}"
        return text if self.ok else text + f"\n          next: {self.remedy}"


def python_version() -> Finding:
    """Python 3.11 is the floor."""
    return Finding(
        "Python 3.11 or newer",
        sys.version_info >= (3, 11),
        sys.version.split()[0],
        APT + " python3.11 python3.11-venv"
        "   (or any newer python3 on PATH, or make setup PYTHON=/path/to/python3)",
        True,
    )


def virtual_environments() -> Finding:
    """Debian and Ubuntu ship ``venv`` and ``ensurepip`` in a package of their own."""
    missing = []
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            missing.append(module)
    return Finding(
        "Python's venv and ensurepip",
        not missing,
        "present" if not missing else "no " + " and no ".join(missing),
        APT + " python{}.{}-venv".format(*sys.version_info[:2]),
        True,
    )


def make() -> Finding:
    """Every command of this repository is a make target."""
    path = shutil.which("make")
    return Finding("make", bool(path), path or "not found", APT + " make", True)


def disk() -> Finding:
    """Room for the virtual environment and the demo's data."""
    free = shutil.disk_usage(ROOT).free / 2**30
    return Finding(
        "free disk",
        free >= FREE_GIB,
        f"{free:.1f} GiB",
        f"free {FREE_GIB} GiB here: .venv takes about 0.6 GiB",
        True,
    )


def first_line(*command: str) -> str:
    """Return the first line a program prints, or nothing when it cannot be run."""
    try:
        output = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return output.decode("utf-8", "replace").strip().split("\n")[0]


def optional_tool(name: str, purpose: str, remedy: str, *version: str) -> Finding:
    """Look for a program on PATH and in .tools/bin."""
    path = shutil.which(name) or shutil.which(
        name,
        path=os.path.join(ROOT, ".tools", "bin"),  # noqa: PTH118
    )
    found = (first_line(path, *version) or path) if path else f"not found ({purpose})"
    return Finding(name, bool(path), found, remedy, False)


def postgresql() -> Finding:
    """Its server programs are in a folder of their own, which is on no PATH."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))  # noqa: PTH207
    path = found[-1] if found else shutil.which("initdb")
    return Finding(
        "postgresql",
        bool(path),
        path or "not found (only the tests with a real database)",
        APT + " postgresql",
        False,
    )


def libsodium() -> Finding:
    """Ed25519 is verified by it when it is there, and by OpenSSL when not."""
    found = sorted(glob.glob("/usr/lib/*/libsodium.so.*"))  # noqa: PTH207
    return Finding(
        "libsodium",
        bool(found),
        found[0] if found else "not found (signatures are verified more slowly)",
        APT + " libsodium23",
        False,
    )


def opa() -> Finding:
    """Only the pinned OPA rebuilds the same policy.wasm byte for byte."""
    finding = optional_tool(
        "opa", 'only make policies, make test-opa, and engine = "opa"', "make tools", "version"
    )
    if finding.ok and finding.found != f"Version: {OPA_VERSION}":
        finding.ok = False
        finding.found += f" (pinned: {OPA_VERSION})"
    return finding


def main() -> int:
    """Look for everything, print it, and say whether the required part is complete."""
    findings = [
        python_version(),
        virtual_environments(),
        make(),
        disk(),
        optional_tool(
            "go",
            "only one way to build OPA, grpcurl and helm",
            APT + " golang-go   (1.24 or newer; without it make tools takes the released files)",
            "version",
        ),
        opa(),
        postgresql(),
        libsodium(),
        optional_tool(
            "strace", "only make faults and its short tests", APT + " strace", "--version"
        ),
        optional_tool("grpcurl", "only the foreign-client test", "make tools"),
        optional_tool("helm", "only the chart's test", "make tools", "version", "--short"),
    ]
    missing = [finding for finding in findings if finding.required and not finding.ok]
    for finding in missing if "--quiet" in sys.argv else findings:
        print(finding.line())
    if missing:
        print("doctor: install what is MISSING above, then run the same command again")
    elif "--quiet" not in sys.argv:
        print("doctor: ready (next: make demo)")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
