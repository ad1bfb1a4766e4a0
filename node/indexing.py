"""From mapped sources to a new index, with a report per source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

from fairlead.config import NodeConfig
from node.app import INDEX_FILE, LOG_FILE, index_keys
from node.exposure.acceptance import stored_in
from node.exposure.gate import accepts
from node.index import BuildReport, Index
from node.index.build import Progress
from node.sources.csv import CsvSource
from node.sources.mapping import load_mapping
from node.sources.record import SourceRecord
from node.sources.report import ImportReport


def build(
    config: NodeConfig, *, progress: Progress
) -> tuple[BuildReport, list[ImportReport], tuple[str, ...]]:
    """Read every source of ``config`` whose mapping was accepted, and replace its index.

    :returns: also the names of the sources that were skipped, because nobody accepted them.

    :raises SourceUnusable: a source cannot be read as mapped; the index in use stays.
    :raises Misconfigured: the index cannot be written.
    """
    now = time.time()
    mappings = [load_mapping(path) for path in config.sources]
    accepted = stored_in(config.state_dir / LOG_FILE)
    sources = [CsvSource(m, now=now) for m in mappings if accepts(accepted, m)]
    skipped = tuple(m.file.source for m in mappings if not accepts(accepted, m))
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    token_key, field_key = index_keys(config)
    records: Iterator[SourceRecord] = chain.from_iterable(source.records() for source in sources)
    report = Index.build(
        config.state_dir / INDEX_FILE,
        records,
        token_key=token_key,
        field_key=field_key,
        clock=time.time,
        progress=progress,
    )
    return report, [source.report() for source in sources], skipped
