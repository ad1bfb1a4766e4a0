"""What support needs to help with a node, and nothing secret.

In the bundle: the configuration (secrets by reference, paths by their last part), versions, the
status, what ``check`` found, the permissions of our own files, and the last leaves of the log as
type, time, subject and reason codes. Not in it: keys, terms, records, names of persons, users,
partners of leaves, host names.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import sqlite3
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fairlead import storage
from fairlead.auditlog.leaves import type_name
from fairlead.config import NodeConfig
from fairlead.v1 import audit_pb2

Json = dict[str, Any]
TAIL = 200
"""Leaves shown."""
PACKAGES = (
    "fairlead", "grpcio", "protobuf", "cryptography", "pydantic", "duckdb", "sqlalchemy",
    "structlog", "opa-py-wasm", "wasmtime",
)  # fmt: skip
OWN_FILES = frozenset(
    {
        "audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm", "audit.sqlite.lock",
        "index.sqlite", "index.secret", "index.key", "control.sock", "signing.key",
        "sealing.seed", "tls.key", "tls.pem", "DEVELOPMENT-ONLY",
    }
)  # fmt: skip
"""Names that we chose ourselves; any other is counted and not told."""


def write_bundle(path: Path, parts: Mapping[str, object], *, now: float) -> None:
    """Write the parts as JSON files into a new archive that its owner alone may read.

    :raises FileExistsError: there is one of this name.
    """
    path.touch(mode=0o600, exist_ok=False)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in parts.items():
            octets = json.dumps(content, indent=1, sort_keys=True).encode("ascii")
            entry = tarfile.TarInfo(f"fairlead-doctor/{name}.json")
            entry.size, entry.mode, entry.mtime = len(octets), 0o600, int(now)
            archive.addfile(entry, io.BytesIO(octets))


def parts(
    config: NodeConfig, *, status: Mapping[str, Any], checks: Sequence[tuple[str, str]], log: Path
) -> dict[str, object]:
    """Everything that goes in.

    :param checks: (what, "in order" or a code) of ``fairlead-node check``.
    """
    return {
        "configuration": configuration(config),
        "versions": versions(),
        "status": _status(status),
        "checks": [
            {
                "check": "source" if what.startswith("source ") else what,
                "result": code,
            }
            for what, code in checks
        ],
        "files": [*files(config.state_dir, "state"), *files(config.keys_dir, "keys")],
        "log": tail(log),
    }


def configuration(config: NodeConfig) -> Json:
    """The settings: numbers as they are, paths by whether something is there, secrets by the
    kind of their reference."""
    found: Json = {}
    for name, value in config:
        if name == "index_key":
            found[name] = str(value).partition(":")[0] if value else None
        elif isinstance(value, Path):
            found[name] = {"exists": value.exists()}
        elif name == "sources":
            found[name] = len(value)
        elif name in {"listen", "gateway"}:
            found[name] = {"port": str(value).rpartition(":")[2]}
        elif name == "limits":
            found[name] = value.model_dump()
        elif name in {"partner", "log_level"}:
            found[name] = value
        else:
            found[name] = {"set": value is not None}
    return found


def versions() -> Json:
    """Of the language, the system and what matters among our dependencies."""
    found: Json = {"python": platform.python_version(), "system": platform.system(),
                   "release": platform.release(), "machine": platform.machine()}  # fmt: skip
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _status(status: Mapping[str, Any]) -> Json:
    """The status without who accepted and without the names of sources and issuers."""
    if "exposure" not in status:
        return dict(status)
    found = dict(status)
    exposure = {k: v for k, v in found["exposure"].items() if k not in {"by", "unaccepted_sources"}}
    exposure["unaccepted_sources"] = len(found["exposure"].get("unaccepted_sources", ()))
    found["exposure"] = exposure
    found["sources"] = [
        {k: v for k, v in source.items() if isinstance(v, int | float) or k == "state"}
        for source in found["sources"]
    ]
    found["expiry"] = [
        {**line, "what": str(line["what"]).partition("/")[0]} for line in found["expiry"]
    ]
    return found


def files(folder: Path, label: str) -> Iterable[Json]:
    """Our own files in a folder with mode and size; the others by their number."""
    others = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in OWN_FILES:
            others += 1
            continue
        found = path.lstat()
        yield {
            "folder": label,
            "name": path.name,
            "mode": stat.filemode(found.st_mode),
            "size": found.st_size,
        }
    yield {"folder": label, "others": others}


def tail(log: Path) -> list[Json]:
    """The last leaves: what happened and when, not by whom or about what."""
    if not log.exists():
        return []
    with closing(storage.open_readonly(log)) as database:
        try:
            rows = database.execute(
                "SELECT idx, body FROM leaf ORDER BY idx DESC LIMIT ?", (TAIL,)
            ).fetchall()
        except sqlite3.Error:
            return []
    found = []
    for index, body in reversed(rows):
        leaf = audit_pb2.AuditLeaf.FromString(body)
        found.append(
            {
                "index": index,
                "type": type_name(leaf),
                "time_ms": leaf.time_ms,
                "subject": leaf.subject.partition("/")[0],
                "reasons": list(leaf.reasons),
                "answers": len(leaf.released),
                "policy_serial": leaf.policy_serial,
            }
        )
    return found
