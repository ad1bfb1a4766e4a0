"""OPA's own program, for what needs it: compiling, checking and testing rules. Running needs none.

It works on a copy of the sources in a folder of its own, with relative names only: absolute ones
leak into the module, and what is beside the sources must not enter it (FACTS: OPA). It gets no
environment but PATH, and a limit of time.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairlead.errors import Misconfigured
from fairlead.policy.capabilities import restricted

VERSION = "1.21.0"
"""The one release whose octets are compared; see ``make tools``."""
POINTS = ("asking", "admission", "routing", "sovereignty", "release", "statistics")
FOLDER = "policies"
"""What the sources' folder is called there: the name is part of the module."""
PATIENCE_S = 300


class Opa:
    """The pinned program."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, folders: Sequence[Path] = ()) -> Opa | None:
        """The pinned release in one of ``folders`` or on PATH; None where it is not."""
        on_path = shutil.which("opa")
        for path in (*(f / "opa" for f in folders), *([Path(on_path)] if on_path else [])):
            if is_pinned(path):
                return cls(path)
        return None

    @classmethod
    def required(cls, folders: Sequence[Path] = ()) -> Opa:
        """:raises Misconfigured: OPA_MISSING."""
        found = cls.find(folders)
        if found is None:
            raise Misconfigured(
                "the OPA that this program was made for is not on PATH",
                reasons=("OPA_MISSING",),
                remedy=f"put the official OPA {VERSION} on PATH (in a checkout: make tools)",
            )
        return found

    # ── What it does ─────────────────────────────────────────────────────────────────────────

    def build(self, sources: Mapping[str, bytes], revision: str) -> bytes:
        """Compile rules into the octets of ``policy.wasm``, the same octets everywhere.

        :raises Misconfigured: RULES_INVALID, with OPA's words.
        """
        entries = [part for p in POINTS for part in ("-e", f"fairlead/{p}/decision")]
        with self._laid(sources) as folder:
            run = self._run(
                folder,
                "build", "-t", "wasm", "-b", FOLDER, *entries,
                "--capabilities", self._allowed(folder), "--revision", revision,
                "-o", "bundle.tar.gz",
            )  # fmt: skip
            if run.returncode != 0:
                raise InvalidRules(_lines(run.stderr + run.stdout))
            with tarfile.open(fileobj=io.BytesIO((folder / "bundle.tar.gz").read_bytes())) as found:
                member = found.extractfile("/policy.wasm")
                if member is None:
                    raise InvalidRules(["OPA built no module"])
                return member.read()

    def check(
        self, sources: Mapping[str, bytes], schemas: Mapping[str, Mapping[str, Any]]
    ) -> list[str]:
        """What ``opa check --strict`` finds, ``file:line: words`` each.

        :param schemas: name → JSON Schema, for the ``schemas`` that rules' METADATA name.
        """
        with self._laid(sources) as folder:
            (folder / "schema").mkdir()
            for name, schema in schemas.items():
                (folder / "schema" / f"{name}.json").write_text(json.dumps(schema))
            run = self._run(
                folder,
                "check", "--strict", "--capabilities", self._allowed(folder), "--schema", "schema",
                "--max-errors", "0", "--format", "json", FOLDER,
            )  # fmt: skip
        return [] if run.returncode == 0 else _problems(run.stdout, run.stderr)

    def parse(self, sources: Mapping[str, bytes]) -> dict[str, Any]:
        """The syntax tree of each file that has one, with the place of everything in it."""
        found = {}
        with self._laid(sources) as folder:
            for name in sources:
                run = self._run(
                    folder,
                    "parse", "--format", "json", "--json-include", "locations,-comments",
                    f"{FOLDER}/{name}",
                )  # fmt: skip
                if run.returncode == 0:
                    found[name] = json.loads(run.stdout)
        return found

    def test(self, sources: Mapping[str, bytes]) -> dict[str, Any]:
        """Run the tests among the sources: how many, which failed, and how much they covered.

        :raises Misconfigured: RULES_INVALID: none can run, such as where one asks the world.
        """
        with self._laid(sources) as folder:
            words = (
                "test", "--capabilities", self._allowed(folder), "--timeout", f"{PATIENCE_S}s",
                "--format", "json", FOLDER,
            )  # fmt: skip
            told = self._run(folder, *words)
            results = _json(told.stdout)
            if told.returncode != 0 and not isinstance(results, list):
                raise InvalidRules(_problems(told.stdout, told.stderr))
            covered = self._run(folder, *words, "--coverage")
        results = results or []
        failed = [f"{r['package']}.{r['name']}" for r in results if r.get("fail") or r.get("error")]
        coverage = _json(covered.stdout) or {}
        return {
            "tests": len(results),
            "failed": failed,
            "ok": told.returncode == 0 and bool(results),
            "coverage": round(float(coverage.get("coverage", 0.0)), 1),
        }

    def decide(
        self,
        sources: Mapping[str, bytes],
        data: Mapping[str, Any],
        asked: Sequence[tuple[str, Any]],
    ) -> list[Any]:
        """The decisions of points over inputs, all in one run; None where undefined."""
        by_point = {p: {str(i): d for i, (q, d) in enumerate(asked) if q == p} for p in POINTS}
        queries = [
            f'"{p}": {{i: d | some i, c in data.asked.{p}; d := data.fairlead.{p}.decision '
            "with input as c}"
            for p in POINTS
        ]
        with self._laid(sources) as folder:
            (folder / "data.json").write_text(json.dumps({**data, "asked": by_point}))
            run = self._run(
                folder,
                "eval", "--capabilities", self._allowed(folder), "--format", "json",
                "-d", FOLDER, "-d", "data.json",
                f"{{{', '.join(queries)}}}",
            )  # fmt: skip
        result = (_json(run.stdout) or {}).get("result") or [{"expressions": [{"value": {}}]}]
        found = result[0]["expressions"][0]["value"]
        return [found.get(point, {}).get(str(i)) for i, (point, _) in enumerate(asked)]

    def capabilities(self) -> dict[str, Any]:
        """What rules may use of this release; see :func:`restricted`."""
        with tempfile.TemporaryDirectory() as folder:
            run = self._run(Path(folder), "capabilities", "--current")
        return restricted(json.loads(run.stdout))

    # ── How ──────────────────────────────────────────────────────────────────────────────────

    def _allowed(self, folder: Path) -> str:
        """The name of a file there that says what rules may use: whoever reads a draft, checks,
        builds or runs it with that alone."""
        (folder / "capabilities.json").write_text(json.dumps(self.capabilities()))
        return "capabilities.json"

    def _run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [str(self.path.resolve()), *words],
                cwd=folder,
                env={"PATH": os.environ.get("PATH", "")},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            raise Misconfigured(
                "OPA did not end as it should",
                reasons=("OPA_FAILED",),
                remedy="opa version   (and see whether the machine is busy)",
            ) from None

    @contextmanager
    def _laid(self, sources: Mapping[str, bytes]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, content in sources.items():
                path = folder / FOLDER / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield folder


class InvalidRules(Misconfigured):
    """Rules that OPA does not compile; ``problems`` are its words, with places."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the rules do not compile",
            reasons=("RULES_INVALID",),
            remedy="correct every line listed, then: fairlead policy check DIR",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


def is_pinned(path: Path) -> bool:
    """Whether a file is an OPA of this very release."""
    try:
        told = subprocess.run(
            [str(path), "version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    return f"Version: {VERSION}" in told.splitlines()


def _problems(out: str, err: str) -> list[str]:
    content = _json(err) or _json(out)
    errors = content.get("errors", []) if isinstance(content, dict) else []
    found = []
    for error in errors:
        place = error.get("location") or {}
        file = str(place.get("file", "")).removeprefix(f"{FOLDER}/")
        found.append(f"{file}:{place.get('row', 1)}: {error.get('message', 'is wrong')}")
    return found or _lines(err + out) or ["OPA gives no reason"]


def _lines(text: str) -> list[str]:
    return [line.strip().removeprefix(f"{FOLDER}/") for line in text.splitlines() if line.strip()]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
