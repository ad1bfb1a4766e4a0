"""From a mapping to the source of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fairlead.errors import SourceUnusable
from node.sources.mapping import SUFFIXES, Format, SourceMapping, load_mapping
from node.sources.source import Source


def open_source(mapping: Path, *, now: float, environ: Mapping[str, str]) -> Source:
    """Open what the mapping describes; nothing is read before the first use.

    :param now: unix seconds; rows whose retention is over by then are excluded.
    :param environ: where ``env:`` references of the mapping are looked up.
    :raises ConfigurationInvalid: the mapping, every wrong key and value at once.
    :raises SourceUnusable: ``FORMAT``, ``URL``, ``DIALECT``, ``DRIVER_MISSING`` (with the extra
        to install).
    :raises Misconfigured: ``SECRET_MISSING``.
    """
    return source_of(load_mapping(mapping), now=now, environ=environ)


def source_of(mapping: SourceMapping, *, now: float, environ: Mapping[str, str]) -> Source:
    """The source of a mapping that is loaded already. :raises: as :func:`open_source`."""
    if mapping.file.database is not None:
        from node.sources.sql import DatabaseSource

        return DatabaseSource(mapping, mapping.file.database, now=now, environ=environ)
    kind = format_of(mapping)
    if kind is Format.CSV:
        from node.sources.csv import CsvSource

        return CsvSource(mapping, now=now)
    from node.sources.files import FileSource

    if kind is Format.PARQUET:
        from node.sources.parquet import open_parquet

        return FileSource(mapping, open_parquet, now=now)
    if kind is Format.JSON:
        from node.sources.json import open_json

        return FileSource(mapping, open_json, now=now)
    from node.sources.excel import open_excel

    return FileSource(mapping, open_excel, now=now)


def format_of(mapping: SourceMapping) -> Format:
    """What the mapping states, else what every suffix of its patterns says.

    :raises SourceUnusable: ``FORMAT``.
    """
    return format_by(mapping.file.format, mapping.file.files)


def format_by(stated: Format | None, patterns: Iterable[str]) -> Format:
    """The same of any mapping of files. :raises SourceUnusable: ``SOURCE_FORMAT``."""
    if stated is not None:
        return stated
    found = {SUFFIXES.get(Path(glob).suffix.lower()) for glob in patterns}
    only = found.pop()
    if found or only is None:
        raise SourceUnusable(
            "the format of a mapping's files cannot be told from their names",
            reasons=("SOURCE_FORMAT",),
            remedy='add format = "csv", "parquet", "json" or "xlsx" to the mapping',
        )
    return only
