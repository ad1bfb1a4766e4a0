"""From mapped sources to a new index, with a report per source."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import chain

from fairlead.config import NodeConfig
from node.app import INDEX_FILE, LOG_FILE, index_keys
from node.exposure.acceptance import stored_in
from node.exposure.gate import accepts
from node.index import BuildReport, Index
from node.index.build import Progress
from node.sources.mapping import load_mapping
from node.sources.opening import source_of
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import records_of


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
    chosen = [mapping for mapping in mappings if accepts(accepted, mapping)]
    skipped = tuple(m.file.source for m in mappings if not accepts(accepted, m))
    sources = [source_of(mapping, now=now, environ=os.environ) for mapping in chosen]
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    token_key, field_key = index_keys(config)
    records: Iterator[SourceRecord] = chain.from_iterable(records_of(source) for source in sources)
    report = Index.build(
        config.state_dir / INDEX_FILE,
        records,
        token_key=token_key,
        field_key=field_key,
        clock=time.time,
        progress=progress,
    )
    return report, [source.report() for source in sources], skipped
