"""The list of mappings in a node's configuration: read, and added to without touching the rest."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fairlead.config import Creatable, load
from fairlead.errors import Misconfigured
from node.sources.draft import quoted

_KEY = re.compile(r"(?m)^[ \t]*sources[ \t]*=[ \t]*(?=\[)")
_TABLE = re.compile(r"(?m)^[ \t]*\[")
_WORD = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[\[\]]""")


class _Registered(BaseModel):
    """The one key of the configuration that these commands need: they work before enrolment."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)
    sources: tuple[Creatable, ...] = Field(
        default=(), strict=False, description="a list of paths to source mappings"
    )


def registered(config: Path) -> tuple[Path, ...]:
    """The mappings that a node's configuration names, which need not be there.

    :raises ConfigurationInvalid: unreadable, no TOML, or ``sources`` is no list of paths.
    """
    return load(_Registered, config).sources


def register(config: Path, mapping: Path) -> bool:
    """Add a mapping to ``sources``; False when it is there already.

    Everything else of the file stays as it is written.

    :raises ConfigurationInvalid: as :func:`registered`.
    :raises Misconfigured: ``SOURCES_BY_HAND``, the list is written in a way not understood here,
        or ``CONFIG_UNWRITABLE``.
    """
    if Path(os.path.normpath(mapping.absolute())) in {p.absolute() for p in registered(config)}:
        return False
    name = os.path.relpath(mapping.absolute(), config.absolute().parent)
    text = config.read_text(encoding="utf-8")
    changed = with_source(text, Path(name).as_posix())
    try:
        _replace(config, changed)
    except OSError:
        raise Misconfigured(
            "the node's configuration cannot be written",
            reasons=("CONFIG_UNWRITABLE",),
            remedy="check the file's and its folder's permissions (ls -l), then add it again",
        ) from None
    return True


def with_source(text: str, name: str) -> str:
    """The configuration's text with one more entry in ``sources``.

    :raises Misconfigured: ``SOURCES_BY_HAND``.
    """
    before = tomllib.loads(text)
    table = _TABLE.search(text)
    head = text[: table.start()] if table else text
    key = _KEY.search(head)
    if key is None:
        line = f"sources = [{quoted(name)}]\n"
        gap = "" if not head or head.endswith("\n") else "\n"
        changed = f"{head}{gap}{line}{chr(10) if table else ''}{text[len(head) :]}"
    else:
        changed = _inserted(text, key.end(), name)
    try:
        after = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        after = {}
    if after != {**before, "sources": [*before.get("sources", []), name]}:
        raise Misconfigured(
            "the node's list of sources is written in a way that is not changed by program",
            reasons=("SOURCES_BY_HAND",),
            remedy="add the new mapping to `sources` by hand, then: fairlead-node source list",
        )
    return changed


def _inserted(text: str, start: int, name: str) -> str:
    """Put the entry behind the last one of the list that begins at ``start``."""
    depth, last = 0, start + 1
    for word in _WORD.finditer(text, start):
        mark = word[0]
        if mark == "[":
            depth += 1
        elif mark == "]":
            depth -= 1
            if depth == 0:
                rest = text[last : word.start()]
                empty = last == start + 1
                comma = "" if empty or re.match(r"\s*,", rest) else ","
                at = last + len(re.match(r"\s*,|", rest)[0]) if not comma else last  # type: ignore[index]
                blank = _blank(text, start, last, empty=empty)
                return f"{text[:at]}{comma}{blank}{quoted(name)}{text[at:]}"
        elif not mark.startswith("#"):
            last = word.end()
    return text


def _blank(text: str, start: int, last: int, *, empty: bool) -> str:
    """What stands before an entry: a new line where the entries have lines of their own."""
    if empty:
        return ""
    line = text.rfind("\n", start, last)
    if line < 0:
        return " "
    indent = re.match(r"[ \t]*", text[line + 1 : last])
    return "\n" + (indent[0] if indent else "")


def _replace(path: Path, text: str) -> None:
    """Write the file anew beside itself, with its mode, and put it in its place."""
    mode = path.stat().st_mode & 0o777
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
