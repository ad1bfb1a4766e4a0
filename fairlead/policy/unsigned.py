"""A policy from a folder whose signatures nobody looks at: what a draft is replayed as."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.errors import Misconfigured
from fairlead.policy import folder as folders
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.compiling import identified
from fairlead.policy.documents import InvalidAgreements, Registry, parse_document
from fairlead.policy.engine import PolicyEngine, WasmEngine
from fairlead.policy.points import Layer, PolicyPoints
from fairlead.policy.reports import subject

WASM = "policy.wasm"
MANIFEST = "manifest.json"
DATA = "data"
MAX_FILE = 8 * 1024 * 1024
DEADLINE_S = 10.0
"""Nobody waits for an answer: a busy machine must not look like a refusal."""

Make = Callable[[bytes, Mapping[str, object]], PolicyEngine]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedPolicy:
    """The kernel, the federation's agreements, and a partner's own, if there are some.

    It decides nothing that anybody acts on.
    """

    wasm: bytes
    data: Mapping[str, bytes]
    local: tuple[str, bytes] | None = None
    serial: int = 0
    """That of a published bundle; 0 for a draft."""

    @classmethod
    def load(cls, folder: Path, *, local: Path | None = None) -> UnsignedPolicy:
        """Read a draft or a published bundle; of its manifest the serial alone, unverified.

        A partner's own (``local*.yaml``) are none of the federation's.

        :raises Misconfigured: DRAFT_UNREADABLE.
        """
        names = sorted(
            f"{DATA}/{path.name}"
            for path in (folder / DATA).glob("*.yaml")
            if not path.name.startswith("local")
        )
        return cls(
            wasm=_read(folder / WASM),
            data={name: _read(folder / name) for name in names},
            local=None if local is None else (local.name, _read(local)),
            serial=_serial(folder / MANIFEST),
        )

    @property
    def digest(self) -> str:
        """What a report is about: the federation's part, which is what is released."""
        files = {WASM: self.wasm, **self.data}
        return subject({n: hashlib.sha256(octets).hexdigest() for n, octets in files.items()})

    def documents(self) -> list[dict[str, Any]]:
        """The data of each layer, the federation's first.

        :raises InvalidAgreements: every problem of every file.
        """
        federation = federation_data(self.data)
        if self.local is None:
            return [federation]
        return [federation, local_data(federation, self.data, *self.local)]

    def registry(self) -> Registry:
        """:raises InvalidAgreements: none of the files has one."""
        problems: list[str] = []
        for name, octets in self.data.items():
            document = parse_document(name, octets, problems)
            if document is not None and document.registry is not None:
                return document.registry
        raise InvalidAgreements(problems or ["registry: exactly one file of the federation has it"])

    def points(self, serial: int, *, make: Make | None = None) -> PolicyPoints:
        """Its decision points, which leave no record.

        :raises Misconfigured: the agreements are wrong. :raises PolicyUnavailable: no module.
        """
        make = make or _patient
        layers = [
            Layer(make(self.wasm, identified(document, self.digest)), self.digest)
            for document in self.documents()
        ]
        return PolicyPoints(layers, serial, registry=self.registry())

    def moments(self, now: int) -> Sequence[int]:
        """Now, and every later moment at which an agreement begins or is over: one that ends may
        have narrowed what the others allow."""
        edges = {
            int(row[edge])
            for document in self.documents()
            for row in document["federation"]["agreements"].values()
            for edge in ("valid_from", "valid_until")
        }
        return (now, *sorted(moment for moment in edges if moment > now))


def _patient(wasm: bytes, document: Mapping[str, object]) -> PolicyEngine:
    return WasmEngine(wasm, document, deadline_s=DEADLINE_S)


def _serial(path: Path) -> int:
    try:
        found = json.loads(path.read_bytes())["manifest"]["serial"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return found if type(found) is int else 0


def _read(path: Path) -> bytes:
    inside = path.parent.name == DATA and path.name != WASM
    root = path.parent.parent if inside else path.parent
    try:
        content = folders.read(root, path.relative_to(root).as_posix(), largest=MAX_FILE)
    except OSError:
        content = b""
    if not content:
        raise Misconfigured(
            "a file of the policy draft is missing or unreadable",
            reasons=("DRAFT_UNREADABLE",),
            remedy="name a folder with policy.wasm and data/*.yaml, as policies/ in the sources",
        )
    return content
