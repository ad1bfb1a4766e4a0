"""From a node's configuration to a refreshed index, in this process.

``python -m node.indexing`` is the child by which a serving node refreshes: it reads one order
from standard input, and writes what happens as JSON lines to standard output.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from fairlead import signing, telemetry
from fairlead.config import NodeConfig, reveal
from fairlead.errors import FairleadError, Misconfigured, SourceUnusable
from node.exposure.acceptance import stored_in
from node.exposure.gate import accepts
from node.index import IndexWriter, Progress, SourceState
from node.index.writer import Watch, silent
from node.sources.incident import Incident
from node.sources.mapping import SourceMapping, load_mapping
from node.sources.opening import source_of

LOG_FILE = "audit.sqlite"
INDEX_FILE = "index.sqlite"
INDEX_KEY_FILE = "index.secret"
COMPANIONS = ("", "-wal", "-shm", ".stage", ".stage-journal")
OF_THE_INDEX = frozenset({"INDEX_CHANGED", "INDEX_UNWRITABLE", "NORM_VERSION"})
"""Codes that are not about a source."""
_NICE = 5
MEMORY = 2 * 1024**3
"""Octets a refreshing child may take, twice what ten million rows need: what a file unpacks to is
the choice of whoever can write it."""

Gate = Callable[[SourceMapping], bool]
"""Whether what a source exposes was accepted. One that was not is not indexed, and what the
index holds of it goes."""


def accept_all(_mapping: SourceMapping) -> bool:
    """A gate that stands open."""
    return True


def accepted_gate(config: NodeConfig) -> Gate:
    """What the owner has accepted, as the node's log holds it now."""
    accepted = stored_in(config.state_dir / LOG_FILE)
    return lambda mapping: accepts(accepted, mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """A refresh that came to its end. ``failures`` are the sources that could not be read, by
    name (or the mapping's file name, when that is what is wrong), each with its error;
    ``skipped`` are those that the gate did not let through."""

    records: int
    seconds: float
    sources: tuple[SourceState, ...]
    failures: dict[str, FairleadError]
    skipped: tuple[str, ...]


def index_keys(config: NodeConfig) -> tuple[bytes, bytes]:
    """Token key and field key of the index, 32 octets each, from one secret made at first use."""
    if config.index_key is not None:
        secret = reveal(config.index_key, os.environ)
    else:
        path = config.state_dir / INDEX_KEY_FILE
        if not path.exists():
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(os.urandom(32))
        secret = path.read_bytes()
    if len(secret) < 32:
        raise Misconfigured("the index secret is shorter than 32 octets", reasons=("INDEX_KEY",))
    return signing.commit(secret, b"index token"), signing.commit(secret, b"index field")


def mapping_digest(mapping: SourceMapping) -> str:
    """Tells one wording of a mapping from another."""
    return hashlib.sha256(mapping.file.model_dump_json().encode()).hexdigest()


def refresh(
    config: NodeConfig,
    *,
    gate: Gate = accept_all,
    accept_shrunk: Collection[str] = (),
    watch: Watch = silent,
) -> Refreshed:
    """Bring the index up to date with every source of ``config`` that the gate lets through.

    A source that fails keeps the records the index has of it, and the others go on.

    :param accept_shrunk: names of sources that may have lost as many records as they have.
    :raises Misconfigured: ``INDEX_KEY``, ``INDEX_IN_USE``, ``INDEX_UNWRITABLE``.
    :raises SourceUnusable: ``INDEX_CHANGED``, ``NORM_VERSION``.
    """
    started = time.time()
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    token_key, field_key = index_keys(config)
    failures: dict[str, FairleadError] = {}
    mappings = _mappings(config.sources, failures)
    unreadable = bool(failures)
    writer = IndexWriter.open(
        config.state_dir / INDEX_FILE,
        token_key=token_key,
        field_key=field_key,
        clock=time.time,
        watch=watch,
    )
    try:
        wanted = {m.file.source: m for m in mappings if gate(m)}
        skipped = tuple(m.file.source for m in mappings if m.file.source not in wanted)
        # First, so that no source that is slow, endless or broken keeps another one's records.
        known = writer.states().keys()
        for name in known & set(skipped) if unreadable else known - wanted.keys():
            writer.drop(name)
        pending = writer.pending
        for name in sorted(wanted, key=lambda name: name != pending):
            error = _refresh_one(writer, wanted[name], accept_shrunk)
            if error is not None:
                failures[name] = error
        writer.sweep()
        # Whose mapping cannot be read keeps its records, so nothing is taken away then.
        writer.settle(set(writer.states()) if unreadable else set(wanted))
        return Refreshed(
            records=writer.records,
            seconds=time.time() - started,
            sources=tuple(writer.states().values()),
            failures=failures,
            skipped=skipped,
        )
    finally:
        writer.close()


def remove_index(config: NodeConfig) -> None:
    """Take the index away, to build it anew. No node may be serving from it."""
    for suffix in COMPANIONS:
        (config.state_dir / (INDEX_FILE + suffix)).unlink(missing_ok=True)


def shrunk() -> SourceUnusable:
    """A source was held back because it lost more than a fifth of its records."""
    return SourceUnusable(
        "a source has lost more than a fifth of its records; the index keeps what it had",
        reasons=(Incident.ROWS_SHRANK,),
        remedy="if that is right: fairlead-node index --accept-shrunk SOURCE --config FILE",
    )


def _mappings(paths: Collection[Path], failures: dict[str, FairleadError]) -> list[SourceMapping]:
    found: list[SourceMapping] = []
    for path in paths:
        try:
            found.append(load_mapping(path))
        except FairleadError as error:
            failures[path.stem] = error
    return found


def _refresh_one(
    writer: IndexWriter, mapping: SourceMapping, accept_shrunk: Collection[str]
) -> FairleadError | None:
    name = mapping.file.source
    try:
        source = source_of(mapping, now=time.time(), environ=os.environ)
        state = writer.refresh(
            source, mapping=mapping_digest(mapping), accept_changes=name in accept_shrunk
        )
    except (SourceUnusable, Misconfigured) as error:
        if error.code in OF_THE_INDEX:
            raise
        writer.fail(name, error, time.time())
        return error
    except MemoryError:
        oversized = SourceUnusable(
            "a source holds a row or a cell that fills the memory of a refresh",
            reasons=("TOO_LARGE",),
            remedy="find it with the database's or the file's own tools, and take it out",
        )
        writer.fail(name, oversized, time.time())
        return oversized
    return shrunk() if state.incident == Incident.ROWS_SHRANK else None


# ── The child of a serving node ──────────────────────────────────────────────────────────────


def order(config: NodeConfig, accepted: Collection[str]) -> bytes:
    """One line: what a child is told. ``accepted`` holds digests of mappings."""
    document = {"config": config.model_dump(mode="json"), "accepted": sorted(accepted)}
    return orjson.dumps(document) + b"\n"


def bound_memory(octets: int = MEMORY) -> None:
    """Whatever a source holds, this process takes no more; the machine and the node go on."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = octets if hard == resource.RLIM_INFINITY else min(octets, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def main() -> int:
    """Obey one order; the last line holds ``sources`` or ``error``."""
    os.nice(_NICE)
    bound_memory()
    document = orjson.loads(sys.stdin.buffer.readline())
    config = NodeConfig.model_validate(document["config"])
    accepted = set(document["accepted"])
    telemetry.configure(config.log_level)

    def say(**found: Any) -> None:
        sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
        sys.stdout.buffer.flush()

    def watch(progress: Progress) -> None:
        say(progress=asdict(progress))

    try:
        done = refresh(config, gate=lambda m: mapping_digest(m) in accepted, watch=watch)
    except FairleadError as error:
        say(error=error.code)
        return 1
    failures = {name: error.code for name, error in done.failures.items()}
    say(sources=[state.to_document() for state in done.sources], failures=failures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
