"""The rules of the house that a program can check (HOUSE §5, CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fairlead", "gateway", "node")
GENERATED = ROOT / "fairlead" / "v1"
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
SECTIONS = (
    "Context", "Options", "Decision", "Bad consequences", "What a corrupted insider can now do",
)  # fmt: skip
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """Return what git has or would add; without git, everything not in a hidden folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        shown = re.compile(r"(?!certs/dev/out/)(?:\.ci/|\.github/|\.\w+$|[^.])")
        paths = [p for p in ROOT.rglob("*") if shown.match(p.relative_to(ROOT).as_posix())]
    return [path for path in paths if path.is_file()]


FILES = tracked()


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    things = ast.walk(ast.parse(path.read_bytes()))
    functions = [t for t in things if isinstance(t, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function for function in functions if function.name.startswith("test")]


def one_sentence(docstring: str | None) -> bool:
    """Judge: one paragraph, begins like a sentence, ends with one full stop."""
    if not docstring or "\n\n" in docstring.strip():
        return False
    text = " ".join(docstring.split())
    return text.endswith((".", "?", "!")) and not re.search(r"[.!?] [A-Z]\w+ \w+", text)


# ── The Makefile ─────────────────────────────────────────────────────────────────────────────


def test_help_lists_every_target() -> None:
    """No target hides: each is phony, has a comment, and stands in `make help`."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*?[^\\])$", MAKEFILE, re.MULTILINE | re.DOTALL)
    assert phony is not None
    assert set(phony[1].replace("\\\n", " ").split()) == targets
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, check=True, text=True)
    listed = re.findall(r"^  ([a-z][a-z0-9-]*) +\S", shown.stdout, re.MULTILINE)
    assert set(listed) == targets
    assert len(listed) == len(targets)


def test_the_makefile_starts_only_what_exists() -> None:
    """Each script and module a target starts is in the repository."""
    scripts = re.findall(r"\$\(PY\) ([a-z][\w/]*\.py)", MAKEFILE)
    modules = re.findall(r"\$\(PY\) -m ((?:demo|bench|certs)[\w.]*)", MAKEFILE)
    wanted = {*scripts, *(f"{module.replace('.', '/')}.py" for module in modules)}
    assert {name for name in wanted if not (ROOT / name).is_file()} == set()


# ── Names and floors ─────────────────────────────────────────────────────────────────────────


def test_no_file_has_a_vague_name() -> None:
    """A file is named for its one noun; a drawer for everything is how cycles start."""
    vague = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.suffix == ".py" and {path.stem.strip("_"), *path.relative_to(ROOT).parts} & VAGUE
    ]
    assert vague == []


def test_every_package_folder_is_a_package() -> None:
    """Import floors see only folders with `__init__.py`; one without would escape them."""
    folders = {
        path.parent
        for path in FILES
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    } - {GENERATED}
    assert {
        f.relative_to(ROOT).as_posix() for f in folders if not (f / "__init__.py").is_file()
    } == set()


# ── Tests ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name
)
def test_every_test_says_one_sentence(path: Path) -> None:
    """Each test names its behaviour or its attack in a docstring of one sentence."""
    silent = [test.name for test in functions_of(path) if not one_sentence(ast.get_docstring(test))]
    assert silent == []


@pytest.mark.parametrize(
    ("docstring", "right"),
    [
        ("A replay is answered once.", True),
        ("A replay: the stored outcome (RFC 9497, e.g. this) comes back.", True),
        ("Wrapped over\n    two lines.", True),
        (None, False), ("", False), ("No full stop", False),
        ("Two sentences here. This is the second.", False), ("One.\n\nMore.", False),
    ],
)  # fmt: skip
def test_a_sentence_is_recognised(docstring: str | None, right: bool) -> None:
    """The judge of docstrings itself can say no."""
    assert one_sentence(docstring) is right


# ── Locks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_index(path: Path) -> None:
    """A lock holds names, versions and hashes: where packages come from is the machine's choice."""
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(--(?!hash=)|-[a-z] )", text, re.MULTILINE)
    assert " @ " not in text


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_pin_every_package_by_hash(path: Path) -> None:
    """Every requirement is one exact version with at least one SHA-256."""
    text = path.read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > (20 if path.name != "fuzz.lock" else 0)
    for block in blocks:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+", block)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block)


def test_locks_hold_every_declared_dependency() -> None:
    """A dependency added to pyproject.toml without `make lock` is found here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {"run.lock": project["project"]["dependencies"]}
    declared["dev.lock"] = declared["run.lock"] + project["dependency-groups"]["dev"]
    declared["fuzz.lock"] = project["dependency-groups"]["fuzz"]
    assert {path.name for path in LOCKS} == set(declared)
    for path in LOCKS:
        pinned = set(
            re.findall(r"^([a-z0-9][a-z0-9._-]*)==", path.read_text("utf-8"), re.MULTILINE)
        )
        names = {re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in declared[path.name]}
        assert names - pinned == set()


# ── Secrets and places ───────────────────────────────────────────────────────────────────────

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE " + rb"KEY-----")


def test_no_private_key_is_in_the_repository() -> None:
    """Keys are generated and git-ignored; a committed one is public for ever."""
    suspects = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if PRIVATE_KEY.search(path.read_bytes()) or path.suffix in {".key", ".pem", ".p12", ".pfx"}
    ]
    assert suspects == []


@pytest.mark.parametrize(
    "path", ["certs/dev/out/ca.txt", "x/node.key", "y.pem", ".venv/x", ".tools/bin/opa", "s.sqlite"]
)
def test_git_ignores_keys_and_state(path: str) -> None:
    """What holds keys, tools or state cannot be added by accident."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0


# ── Decisions ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name)
def test_every_decision_has_its_sections(path: Path) -> None:
    """An ADR says what it costs and what a bought insider gains, or it is not decided."""
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
    headings = re.findall(r"^## (.+?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading for heading in SECTIONS if heading not in headings] == []


def test_decisions_are_numbered_without_gaps() -> None:
    """Two decisions never share a number, and none disappears."""
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))
