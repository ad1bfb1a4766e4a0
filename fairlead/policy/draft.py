"""A draft: a folder that looks like ``policies/``, or a bundle, read for tools.

Nothing here is verified: a draft is what an officer looks at before anybody signs. It has
``data/*.yaml`` (the federation's files; ``local*.yaml`` are partners' own and not read),
``policy.wasm``, and where the rules may be changed the sources ``<package>/<package>.rego``; beside
them ``cubes/registry.yaml``, ``tests/*.yaml`` and ``reports/*.json``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from fairlead.errors import Misconfigured
from fairlead.policy import folder
from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.cubes import CUBES
from fairlead.policy.documents import InvalidAgreements, Registry, parse_document
from fairlead.policy.engine import WasmEngine
from fairlead.policy.points import Layer, PolicyPoints

WASM = "policy.wasm"
TEST = "_test.rego"
IDENTITY = "draft"
"""What decisions of a draft say their policy is: no bundle's."""
DEADLINE_S = 10.0
"""For a decision in a tool: nobody waits for it, and the machine may be busy."""


@dataclass(frozen=True)
class Draft:
    """The files of a draft, read once: name → octets, names relative with ``/``."""

    root: Path
    data: Mapping[str, bytes]
    sources: Mapping[str, bytes]
    rule_tests: Mapping[str, bytes]
    tests: Mapping[str, bytes]
    wasm: bytes | None
    cubes: bytes | None = None

    @classmethod
    def read(cls, root: Path) -> Draft:
        """Read a folder.

        :raises Misconfigured: DRAFT_MISSING; DRAFT_UNREADABLE: a link is among them, a file too
            large, or none of ours to read.
        """
        names = sorted(p for p in root.glob("data/*.yaml") if not p.name.startswith("local"))
        if not names:
            raise Misconfigured(
                "the folder holds no agreements (data/*.yaml)",
                reasons=("DRAFT_MISSING",),
                remedy="fairlead policy init DIR",
            )
        rego = sorted(root.glob("*/*.rego"))
        try:
            return cls(
                root=root,
                data=_files(root, names),
                sources=_files(root, [p for p in rego if not p.name.endswith(TEST)]),
                rule_tests=_files(root, [p for p in rego if p.name.endswith(TEST)]),
                tests=_files(root, sorted(root.glob("tests/*.yaml"))),
                wasm=_if_there(root, WASM),
                cubes=_if_there(root, CUBES),
            )
        except OSError:
            raise folder.unreadable() from None

    @cached_property
    def compiled(self) -> dict[str, Any]:
        """The engine's data document.

        :raises InvalidAgreements: every problem of every file.
        """
        return federation_data(self.data, self.cubes)

    @cached_property
    def policy(self) -> Mapping[str, Any]:
        """The compiled registry and agreements."""
        federation: Mapping[str, Any] = self.compiled["federation"]
        return federation

    @cached_property
    def registry(self) -> Registry:
        """The words as they are written, with their titles.

        :raises InvalidAgreements: no file has them, or one is wrong.
        """
        problems: list[str] = []
        found = [parse_document(name, content, problems) for name, content in self.data.items()]
        registry = next((d.registry for d in found if d is not None and d.registry), None)
        if registry is None or problems:
            raise InvalidAgreements(
                problems or ["registry: exactly one file of the federation has it"]
            )
        return registry

    @property
    def module(self) -> bytes:
        """The built rules.

        :raises Misconfigured: DRAFT_UNBUILT.
        """
        if self.wasm is None:
            raise Misconfigured(
                "the folder holds no built rules (policy.wasm)",
                reasons=("DRAFT_UNBUILT",),
                remedy="fairlead policy build DIR",
            )
        return self.wasm

    @cached_property
    def engine(self) -> WasmEngine:
        """The draft's rules over its agreements; an identity of its own says whose they are.

        :raises Misconfigured: DRAFT_UNBUILT. :raises PolicyUnavailable: the module is none.
        """
        return WasmEngine(self.module, identified(self.compiled, IDENTITY), deadline_s=DEADLINE_S)

    @cached_property
    def points(self) -> PolicyPoints:
        """Every decision point over the one layer."""
        return PolicyPoints([Layer(self.engine, IDENTITY)], 1)

    @cached_property
    def places(self) -> Mapping[str, str]:
        """``file:line`` of every agreement, by its id."""
        return {
            name: f"{file}:{line}"
            for file, content in self.data.items()
            for name, line in agreement_lines(content)
        }

    def inputs(self) -> dict[str, str]:
        """SHA-256 of every file that decides what a test finds."""
        wasm = {} if self.wasm is None else {WASM: self.wasm}
        cubes = {} if self.cubes is None else {CUBES: self.cubes}
        files = {**self.data, **self.sources, **self.rule_tests, **self.tests, **wasm, **cubes}
        return {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}


def agreement_lines(content: bytes) -> list[tuple[str, int]]:
    """The agreements of a YAML file and the line of each; none of what is no agreement."""
    try:
        top = yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    found: list[tuple[str, int]] = []
    for key, value in getattr(top, "value", []) if isinstance(top, yaml.MappingNode) else []:
        if key.value in ("agreements", "statistics") and isinstance(value, yaml.SequenceNode):
            for row in value.value:
                pairs = row.value if isinstance(row, yaml.MappingNode) else []
                found += [
                    (str(v.value), row.start_mark.line + 1) for k, v in pairs if k.value == "id"
                ]
    return found


def _if_there(root: Path, name: str) -> bytes | None:
    return folder.read(root, name) if os.path.lexists(root / name) else None


def _files(root: Path, paths: list[Path]) -> dict[str, bytes]:
    names = [path.relative_to(root).as_posix() for path in paths]
    return {name: folder.read(root, name) for name in names}
