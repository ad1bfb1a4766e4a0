"""Owners that only answer: real mTLS gRPC servers with real keys, and nothing behind them.

``python -m bench.owner FOLDER OWNER…`` serves each owner on its own port, in one process. What
an answer must bind (query id, digest of the header) is read and signed for every query; the
sealed body, whose size is fixed, is prepared once. Both arms of the benchmark get exactly this.

Reads its standard input: ``tick SECONDS`` sets the release tick, ``stall OWNER`` makes one owner
accept calls and never answer (``stall`` alone: none), the end of input ends it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from bench.federation import Federation
from fairlead import sealing, signing
from fairlead.envelope.answer import SEAL_OVERHEAD
from fairlead.partners import Directory
from fairlead.v1 import owner_pb2, owner_pb2_grpc, query_pb2

BODY_OCTETS = sealing.answer_size(1) + SEAL_OVERHEAD


class Tick:
    """The release tick of every owner in this process, in seconds (0 is off), and who stalls."""

    seconds = 0.0
    stalled = ""

    def obey(self, line: str) -> None:
        """One order."""
        word, _, value = line.strip().partition(" ")
        if word == "tick":
            self.seconds = float(value)
        else:
            self.stalled = value


class Owner(owner_pb2_grpc.OwnerServiceServicer):
    """One owner: signs that it answered, about a body nobody in the benchmark opens."""

    def __init__(self, federation: Federation, partner_id: str, tick: Tick) -> None:
        self._partner_id = partner_id
        keys = federation.layout.node(partner_id)
        self._key = signing.load_signing_key(keys / "signing.key")
        self._body = os.urandom(BODY_OCTETS)
        self._body_digest = signing.digest(self._body)
        self._index_root = os.urandom(32)
        self._tick = tick

    async def Answer(  # noqa: N802
        self,
        request: owner_pb2.AnswerRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> owner_pb2.AnswerResponse:
        """Answer without looking anything up."""
        if self._partner_id == self._tick.stalled:
            await asyncio.Event().wait()
        asked = request.query.header
        header = signing.canonical(
            query_pb2.AnswerHeader(
                query_id=query_pb2.QueryHeader.FromString(asked).query_id,
                partner_id=self._partner_id,
                status=query_pb2.STATUS_ANSWERED,
                policy_serial=1,
                index_age_s=60,
                index_root=self._index_root,
                body_digest=self._body_digest,
                header_digest=signing.digest(asked),
            )
        )
        answer = query_pb2.SignedAnswer(
            header=header,
            signature=signing.sign(self._key, "answer", header),
            body=self._body,
        )
        if self._tick.seconds > 0:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(self._tick.seconds - now % self._tick.seconds)
        return owner_pb2.AnswerResponse(answer=answer)


def open_server(
    federation: Federation, directory: Directory, partner_id: str, tick: Tick
) -> grpc.aio.Server:
    """A bound server for one owner, on the port the directory names."""
    keys = federation.layout.node(partner_id)
    material = tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", [directory.federation_ca])
    server = grpc.aio.server(options=tls.server_options(tls.TransportLimits()))
    owner_pb2_grpc.add_OwnerServiceServicer_to_server(Owner(federation, partner_id, tick), server)
    endpoint = directory.partners[partner_id].nodes[0].endpoint
    server.add_secure_port(endpoint, tls.server_credentials(lambda: material))
    return server


async def serve(federation: Federation, partners: list[str]) -> None:
    """Serve until standard input ends."""
    loop, ended, tick = asyncio.get_running_loop(), asyncio.Event(), Tick()

    def obey() -> None:
        for line in sys.stdin:
            tick.obey(line)
            print("ok", flush=True)
        loop.call_soon_threadsafe(ended.set)

    directory = federation.directory()
    servers = [open_server(federation, directory, partner, tick) for partner in partners]
    for server in servers:
        await server.start()
    threading.Thread(target=obey, daemon=True).start()
    print("ready", flush=True)
    await ended.wait()
    await asyncio.gather(*(server.stop(0) for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(Federation(Path(sys.argv[1])), sys.argv[2:]))
