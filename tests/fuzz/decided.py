"""Decision records: batches, what is sealed in them, an operator's file, and a partner's report."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from fairlead import sealing, signing
from fairlead.decisions.batch import NONCE, open_batch, open_key, read_batch
from fairlead.policy import report
from fairlead.policy.replay import Replay
from fairlead.v1 import decisions_pb2
from tests.decided import OFFICER, Decided, read_export
from tests.fuzz.target import Target
from tests.policy_cases import NOW, points

JUSTIFIED = b'{"schema": 1, "widenings": [{"id": "0", "justification": null}]}'


def targets(folder: Path) -> Iterator[Target]:
    """Each parser from outside; of what is sealed, behind a good seal as well."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Decided(path=folder / "audit.sqlite")
    made.release(2)
    made.story(2)
    first, second = made.rows()
    octets = made.export()
    key = open_key(made.sealed_key(first), "gateway/gw-1", OFFICER)
    made.close()
    message = decisions_pb2.DecisionBatch.FromString(first.octets)
    sealed, message.sealed = message.sealed, b""
    padded = key.decrypt(sealed[:NONCE], sealed[NONCE:], signing.canonical(message))
    plain = zlib.decompress(sealing.unpad(padded, len(padded)))

    def inputs(data: bytes) -> object:
        packed = zlib.compress(data, 0)
        padded = sealing.pad(packed, max(260, len(packed) + 4))
        nonce = bytes(NONCE)
        batch = decisions_pb2.DecisionBatch()
        batch.CopyFrom(message)
        batch.sealed = nonce + key.encrypt(nonce, padded, signing.canonical(batch))
        opened = open_batch(read_batch(signing.canonical(batch)), key)
        under_way = Replay(draft=points(), current=points(demo=False), at=[NOW])
        for recorded in opened:
            under_way.take(recorded)
        return under_way.report

    yield Target(name="decision-batch", seeds=[first.octets, second.octets], attempt=read_batch)
    yield Target(name="decision-inputs", seeds=[plain], attempt=inputs)
    yield Target(name="decision-file", seeds=[octets], attempt=read_export)
    yield Target(name="replay-report", seeds=[JUSTIFIED], attempt=report.parse_report)
