"""From something an owner has to a mapping of it: sample, guess, draft, register."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fairlead.errors import InvalidInput
from fairlead.names import check_code
from node.sources.database import DatabaseTable
from node.sources.draft import TO_FILL, Decisions, Origin, draft
from node.sources.guess import Guesses, guess
from node.sources.register import register
from node.sources.sample import Sample, sample_database, sample_file

FOLDER = "sources"
"""Beside the node's configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was written. ``to_fill`` names the keys that a person still has to decide."""

    name: str
    mapping: Path
    guesses: Guesses
    to_fill: tuple[str, ...]
    written: bool
    registered: bool


def add(
    what: str,
    *,
    name: str,
    config: Path,
    origin: Origin,
    decisions: Decisions,
    environ: Mapping[str, str],
    again: bool = False,
) -> Added:
    """Write ``sources/NAME.toml`` beside the configuration and register it there.

    :param what: a file or a pattern of files, a database URL, or a reference to one.
    :param origin: what is known beyond ``what``: sheet, table or query, key, cursor.
    :param again: replace a mapping of that name, which is kept otherwise.
    :raises InvalidInput: ``NAME``, ``DATABASE``, ``FILE_MISSING``.
    :raises SourceUnusable: it cannot be read.
    :raises Misconfigured: as :func:`node.sources.register.register`.
    """
    name = name or name_of(what, origin)
    _check_name(name)
    folder = config.absolute().parent / FOLDER
    mapping = folder / f"{name}.toml"
    sample, origin = _sampled(what, origin, folder, environ)
    guesses = guess(sample)
    text = draft(name, origin, guesses, decisions)
    folder.mkdir(mode=0o750, exist_ok=True)
    written = again or not mapping.exists()
    if written:
        mapping.write_text(text, encoding="utf-8")
    return Added(
        name=name,
        mapping=mapping,
        guesses=guesses,
        to_fill=to_fill(mapping.read_text(encoding="utf-8")),
        written=written,
        registered=register(config, mapping),
    )


def name_of(what: str, origin: Origin) -> str:
    """A name for a source: of its table, or of its file."""
    found = origin.table or ("" if _is_database(what) else Path(what).stem)
    return re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-")


def to_fill(text: str) -> tuple[str, ...]:
    """The keys of a mapping's text that still say ``TO FILL``, in order."""
    found: list[str] = []
    table = ""
    for line in text.splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        if f'"{TO_FILL}"' in line and not line.startswith("#"):
            key = line.partition("=")[0].strip()
            found.append(table + key)
    return tuple(found)


def _sampled(
    what: str, origin: Origin, folder: Path, environ: Mapping[str, str]
) -> tuple[Sample, Origin]:
    if _is_database(what):
        table = _table(what, origin, folder.parent)
        sample = sample_database(table, folder.parent, environ)
        url = _from_folder(what)
        return sample, replace(origin, url=url, key=origin.key or sample.key or (TO_FILL,))
    files = [path for path in sorted(_files(what)) if path.is_file()]
    if not files:
        raise InvalidInput(
            "nothing is there to read",
            reasons=("FILE_MISSING",),
            remedy="name a file, a quoted pattern of files, a database URL, or env: or file: and"
            " where a URL stands",
        )
    sample = sample_file(files[0], sheet=origin.sheet)
    pattern = Path(os.path.relpath(Path(what).absolute(), folder)).as_posix()
    return sample, replace(origin, files=(pattern,), delimiter=sample.delimiter)


def _files(what: str) -> list[Path]:
    path = Path(what)
    if path.is_file() or not re.search(r"[*?\[]", path.name):
        return [path]
    return list(path.parent.glob(path.name))


def _table(what: str, origin: Origin, base: Path) -> DatabaseTable:
    """The table to sample; ``url`` is checked as a mapping's is, so no password stands in it."""
    try:
        return TypeAdapter(DatabaseTable).validate_python(
            {"url": what, "table": origin.table, "query": origin.query,
             "key": list(origin.key) or [TO_FILL], "cursor": origin.cursor},
            context={"base": base},
        )  # fmt: skip
    except ValidationError:
        raise InvalidInput(
            "a database needs a URL without a password, or a reference to one, and one of table"
            " and query",
            reasons=("DATABASE",),
            remedy="write the URL into a file of mode 0600, then: fairlead-node source add"
            " file:PATH --table NAME",
        ) from None


def _from_folder(what: str) -> str:
    """A reference as the mapping's folder sees it: what is relative starts one folder higher."""
    for prefix in ("file:", "sqlite:///"):
        rest = what.removeprefix(prefix)
        if what.startswith(prefix) and not Path(rest).is_absolute():
            return f"{prefix}../{rest}"
    return what


def _is_database(what: str) -> bool:
    return "://" in what or what.startswith(("env:", "file:"))


def _check_name(name: str) -> None:
    try:
        check_code(name)
    except InvalidInput:
        raise InvalidInput(
            "a source's name is of lower-case letters, digits and hyphens",
            reasons=("NAME",),
            remedy="fairlead-node source add … --name gate",
        ) from None
