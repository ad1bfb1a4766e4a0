"""``next:``: what an error or a command tells a person to type exists and is accepted as typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.reasons import catalogue, reason
from tests.test_documentation import PROGRAMS, ROOT, command_of, options_of

_TYPED = re.compile(
    r"(?<![\w./`-])((?:fairlead(?:-node|-gateway|-authority|-oversight)?|make) [a-z][^\n`]*)"
)
_ENDS = re.compile(r"[,;:)](?: |$)| {2,}| \(|<| and ")
"""Where a command ends and the sentence goes on."""


def said(tree: ast.AST) -> Iterator[str]:
    """Every remedy, every text said by a command, and every constant that either may name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            yield from texts(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"say", "add_note"}:
            yield from (text for item in node.args for text in texts(item))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            yield from texts(node.value)


def texts(node: ast.AST) -> Iterator[str]:
    """The strings of an expression; what is only known when it runs reads ``X``."""
    match node:
        case ast.Constant(value=str() as value):
            yield value
        case ast.JoinedStr():
            parts = (v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
            yield "".join(str(part) for part in parts)
        case ast.BinOp():
            sides = [next(texts(side), "X") for side in (node.left, node.right)]
            yield "".join(sides)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)


def typed(text: str) -> Iterator[str]:
    """Each command that a text tells a person to type."""
    for found in _TYPED.findall(text):
        starts = [m.start() for m in re.finditer(r"(?<= )fairlead(?=[ -])", found)]
        for part in (found[: min(starts, default=None)], *(found[s:] for s in starts)):
            yield _ENDS.split(part.strip())[0]


def commands() -> Iterator[tuple[str, str]]:
    """Each file and each command that a text in it tells a person to type."""
    for language in catalogue().languages:
        for code in catalogue().codes:
            told = reason(code, language)
            for text in (told.text, told.needed, told.next):
                yield from ((f"fairlead/reasons/{language}.toml", word) for word in typed(text))
    for package in ("fairlead", "node", "gateway"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "v1" in path.parts:
                continue
            for text in said(ast.parse(path.read_text(encoding="utf-8"))):
                yield from ((path.relative_to(ROOT).as_posix(), word) for word in typed(text))


NEXT = sorted(set(commands()))


def test_remedies_are_found() -> None:
    """The walk below has something to walk."""
    assert len(NEXT) > 60


@pytest.mark.parametrize(("file", "command_line"), NEXT, ids=[f"{f} {t}"[:90] for f, t in NEXT])
def test_what_is_next_can_be_typed(file: str, command_line: str) -> None:
    """The command exists with each option named, and nothing it needs is left out unless by …."""
    program, *words = shlex.split(command_line.removesuffix("."))
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", Path(ROOT / "Makefile").read_text(), re.MULTILINE)
        assert len(words) > 1 or words[0] in targets, file  # else it is English
        return
    assert program in PROGRAMS
    command, rest = command_of(program, words)
    named = {word for word in rest if word.startswith("--")}
    assert named <= options_of(command) | {"--help"}
    if "…" not in rest and "--help" not in rest:
        command.make_context(program, rest)
