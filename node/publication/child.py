"""``python -m node.publication.child``: reads the index for a publication, apart from who serves.

It reads one order from standard input, writes progress as JSON lines, and last a reply as the
control socket's (:mod:`node.control.message`): a result, or an error in its own words.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from fairlead import ristretto, telemetry
from fairlead.config import NodeConfig
from fairlead.errors import FairleadError
from node.control.message import failure, result
from node.decoys import Decoy
from node.indexing import INDEX_FILE, bound_memory, index_keys
from node.publication.build import Build
from node.publication.decoying import decoy_terms
from node.publication.folder import epoch_folder
from node.publication.target import Target
from node.publication.terms import TermReader

NICE = 5
SAY_EVERY_S = 0.5

Say = Callable[[str, int, int], None]


def order(config: NodeConfig, **fields: Any) -> bytes:
    """One line: what a child is told. Of a build it holds keys, and goes through a pipe."""
    return orjson.dumps({"config": config.model_dump(mode="json"), **fields}) + b"\n"


def obey(document: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Survey the kinds of record, or build what is ordered."""
    config = NodeConfig.model_validate(document["config"])
    telemetry.configure(config.log_level)
    token_key, field_key = index_keys(config)
    until = int(document["until"])
    path = config.state_dir / INDEX_FILE
    with TermReader(path, token_key=token_key, field_key=field_key) as reader:
        if "targets" not in document:
            found = reader.kinds(until, lambda done, total: say("survey", done, total))
            kinds = [[scheme, kind.to_document()] for scheme, kind in found]
            return {"root": reader.root.hex(), "kinds": kinds}
        ristretto.load()
        build = Build(
            reader=reader,
            targets=[Target.from_document(target) for target in document["targets"]],
            folder=epoch_folder(config.state_dir, int(document["epoch"])),
            until=until,
            token_key=token_key,
            report=say,
            decoys=decoy_terms(
                reader,
                [Decoy.from_document(decoy) for decoy in document.get("decoys", ())],
                since=int(document["epoch"]) * config.blind_epoch_s,
            ),
        )
        built = [
            {
                "terms": b.terms,
                "entries": b.entries,
                "digest": b.digest.hex(),
                "pages_root": b.pages_root.hex(),
            }
            for b in build.run()
        ]
        return {"root": reader.root.hex(), "built": built, "computed": build.computed}


def main() -> int:
    """Obey one order."""
    os.nice(NICE)
    bound_memory()
    said = [0.0]

    def say(phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - said[0] >= SAY_EVERY_S:
            said[0] = now
            line = {"progress": {"phase": phase, "done": done, "total": total}}
            sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
            sys.stdout.buffer.flush()

    try:
        reply = result(obey(orjson.loads(sys.stdin.buffer.readline()), say))
    except FairleadError as error:
        reply = failure(error)
    sys.stdout.buffer.write(reply)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
