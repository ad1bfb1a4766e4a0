"""A mapped file counts as it is written, whatever the folders it lies in are called."""

from __future__ import annotations

from pathlib import Path
from shutil import copy

import pytest

from tests.mapped import counted, mapping, registry, rows, write_csv, write_parquet


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_folder_is_no_column(tmp_path: Path, suffix: str) -> None:
    """Folders as other programs name them (``port=BEANR``) stand in for no column of a file."""
    level = registry().cube("reports").levels[0].name
    found = rows(200)
    write = write_parquet if suffix == "parquet" else write_csv
    write(tmp_path / f"rows.{suffix}", found)
    results = []
    for folder in ("plain", "port=BEANR", "state=done", "how=named"):
        (tmp_path / folder).mkdir()
        copy(tmp_path / f"rows.{suffix}", tmp_path / folder)
        made = mapping(tmp_path, f'files = ["{folder}/rows.{suffix}"]', name=folder)
        results.append(counted(made, level, "2026-Q1"))
    assert results == [results[0]] * len(results)
