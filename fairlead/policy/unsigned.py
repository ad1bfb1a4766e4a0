"""A policy from a folder whose signatures nobody looks at: what a draft is replayed as."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.policy import folder as folders
from fairlead.policy.agreements import local_data
from fairlead.policy.compiling import identified
from fairlead.policy.cubes import CUBES
from fairlead.policy.documents import Registry
from fairlead.policy.draft import DEADLINE_S, WASM, Draft
from fairlead.policy.engine import PolicyEngine, WasmEngine
from fairlead.policy.manifest import MANIFEST
from fairlead.policy.points import Layer, PolicyPoints
from fairlead.policy.reports import subject

Make = Callable[[bytes, Mapping[str, object]], PolicyEngine]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedPolicy:
    """A draft, and a partner's own agreements over it, if there are some.

    It decides nothing that anybody acts on.
    """

    draft: Draft
    local: tuple[str, bytes] | None = None
    serial: int = 0
    """That of a published bundle; 0 for a draft."""

    @classmethod
    def load(cls, folder: Path, *, local: Path | None = None) -> UnsignedPolicy:
        """Read a draft or a published bundle; of its manifest the serial alone, unverified.

        :raises Misconfigured: DRAFT_MISSING, DRAFT_UNREADABLE, DRAFT_UNBUILT.
        """
        draft = Draft.read(folder)
        _ = draft.module
        return cls(
            draft=draft,
            local=None if local is None else (local.name, _read(local)),
            serial=_serial(folder),
        )

    @property
    def digest(self) -> str:
        """What a report is about: the federation's part, which is what is released."""
        cubes = {} if self.draft.cubes is None else {CUBES: self.draft.cubes}
        files = {WASM: self.draft.module, **cubes, **self.draft.data}
        return subject({n: hashlib.sha256(octets).hexdigest() for n, octets in files.items()})

    def documents(self) -> list[dict[str, Any]]:
        """The data of each layer, the federation's first.

        :raises InvalidAgreements: every problem of every file.
        """
        federation = self.draft.compiled
        if self.local is None:
            return [federation]
        return [federation, local_data(federation, self.draft.data, *self.local)]

    def registry(self) -> Registry:
        """:raises InvalidAgreements: none of the files has one."""
        return self.draft.registry

    def points(self, serial: int, *, make: Make | None = None) -> PolicyPoints:
        """Its decision points, which leave no record.

        :raises Misconfigured: the agreements are wrong. :raises PolicyUnavailable: no module.
        """
        make = make or _patient
        layers = [
            Layer(make(self.draft.module, identified(document, self.digest)), self.digest)
            for document in self.documents()
        ]
        return PolicyPoints(layers, serial, registry=self.registry())

    def moments(self, now: int) -> Sequence[int]:
        """Now, and every later moment at which an agreement begins or is over: one that ends may
        have narrowed what the others allow."""
        edges = {
            int(row[edge])
            for document in self.documents()
            for kind in ("agreements", "statistics")
            for row in document["federation"][kind].values()
            for edge in ("valid_from", "valid_until")
        }
        return (now, *sorted(moment for moment in edges if moment > now))


def _patient(wasm: bytes, document: Mapping[str, object]) -> PolicyEngine:
    return WasmEngine(wasm, document, deadline_s=DEADLINE_S)


def _serial(folder: Path) -> int:
    try:
        found = json.loads(folders.read(folder, MANIFEST))["manifest"]["serial"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return found if type(found) is int else 0


def _read(path: Path) -> bytes:
    try:
        return folders.read(path.parent, path.name)
    except OSError:
        raise folders.unreadable() from None
