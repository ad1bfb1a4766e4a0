"""Tables: what an owner's source systems hand over, of every kind, and what is guessed of it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import openpyxl

from node.sources.guess import guess
from node.sources.mapping import load_mapping
from node.sources.opening import source_of
from node.sources.sample import Sample
from node.sources.source import records_of
from tests.federation import ROOT
from tests.fuzz.target import Target

SUFFIXES = ("csv", "json", "jsonl", "parquet", "xlsx")


def targets(folder: Path) -> Iterator[Target]:
    """A reader for every kind of file, and the guesses from any sample."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        yield _reader(folder / suffix, suffix)
    yield Target(name="guess", seeds=[b"container_no,moved_at\nMSCU6639870,2026-11-01\n"],
                 attempt=_guessed)  # fmt: skip


def _reader(folder: Path, suffix: str) -> Target:
    folder.mkdir()
    text = (ROOT / "examples" / "mapping.toml").read_text(encoding="utf-8")
    other_kinds = ("delimiter", "format", "sheet")
    lines = [
        f'files = ["fuzz.{suffix}"]' if line.startswith("files =") else line
        for line in text.splitlines()
        if not line.startswith(other_kinds)
    ]
    mapping = folder / "mapping.toml"
    mapping.write_text("\n".join(lines), encoding="utf-8")
    loaded = load_mapping(mapping)
    columns = sorted(set(loaded.file.columns().values()))
    file = folder / f"fuzz.{suffix}"

    def read(data: bytes) -> object:
        file.write_bytes(data)
        return list(records_of(source_of(loaded, now=time.time(), environ={})))

    return Target(name=f"source-{suffix}", seeds=[_honest(suffix, columns, folder)], attempt=read)


def _honest(suffix: str, columns: list[str], folder: Path) -> bytes:
    row = ["2026-11-01T06:00:00Z"] * len(columns)
    if suffix == "csv":
        out = io.StringIO()
        csv.writer(out).writerows([columns, row])
        return out.getvalue().encode()
    if suffix == "xlsx":
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.append(columns)
        sheet.append(row)
        stream = io.BytesIO()
        book.save(stream)
        return stream.getvalue()
    kind = "PARQUET" if suffix == "parquet" else f"JSON, ARRAY {str(suffix == 'json').lower()}"
    names = ", ".join(f"'{value}' AS \"{name}\"" for name, value in zip(columns, row, strict=True))
    seed = folder / "seed"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {names}) TO '{seed}' (FORMAT {kind})")
    return seed.read_bytes()


def _guessed(data: bytes) -> object:
    text = data.decode("utf-8", "replace").replace("\0", "")
    rows = list(csv.reader(io.StringIO(text, newline=None)))
    header, *body = rows or [[]]
    width = len(header)
    cells = tuple(tuple((row + [""] * width)[:width]) for row in body)
    return guess(Sample(header=tuple(header), rows=cells))
