"""A real timestamp authority, ``openssl ts``, behind a small HTTP server on loopback.

Where OpenSSL's command is missing the tests that need it are skipped, and fail under
``FAIRLEAD_REQUIRE_ALL``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

_CONFIG = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
signer_cert = {folder}/{name}.pem
signer_key = {folder}/{name}.key
"""
STAMPING = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n"
SERVING = "extendedKeyUsage=critical,serverAuth\nkeyUsage=critical,digitalSignature\n"
Reply = Callable[[bytes], AsyncIterator[bytes]]
"""What the server says to a request's body: the HTTP response, piece by piece."""


def openssl() -> str:
    """The command, or a skip that says how to get it."""
    found = shutil.which("openssl")
    if found is None:
        how = "openssl is missing: apt-get install openssl"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(how)
        pytest.skip(how)
    return found


@dataclass(frozen=True, slots=True)
class Authority:
    """A folder with a root (``ca.pem``) and signers under it."""

    folder: Path
    command: str

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """A root, and a signer ``tsa`` under it."""
        made = cls(folder, openssl())
        folder.mkdir()
        (folder / "serial").write_text("01\n")
        made._run(
            "req", "-x509", *_key("ca"), "-out", "ca.pem", "-subj", "/CN=Root of time", "-days",
            "3650", "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip
        made.signer("tsa")
        return made

    @property
    def ca(self) -> Path:
        """What a process is configured with."""
        return self.folder / "ca.pem"

    def signer(self, name: str, *, extensions: str = STAMPING, days: int = 3650) -> None:
        """Another signer; negative ``days`` have passed since its certificate ended."""
        (self.folder / "extensions").write_text(extensions)
        self._run("req", *_key(name), "-out", f"{name}.csr", "-subj", f"/CN=Time by {name}")
        ends = ["-days", str(days)]
        if days < 0:
            now = int(datetime.now(UTC).timestamp())
            begin, end = (_utc(now + day * 86_400) for day in (2 * days, days))
            ends = ["-startdate", begin, "-enddate", end]
            self._expired(name, ends)
            return
        self._run(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "extensions", *ends, "-out", f"{name}.pem",
        )  # fmt: skip

    def _expired(self, name: str, ends: list[str]) -> None:
        (self.folder / "index.txt").touch()
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = ca-serial\n"
            "new_certs_dir = .\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
        )
        (self.folder / "ca-serial").write_text("77\n")
        self._run(
            "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
            "-extfile", "extensions", *ends, "-in", f"{name}.csr", "-out", f"{name}.pem",
        )  # fmt: skip

    def stamp(self, request: bytes, *, name: str = "tsa", chain: bool = False) -> bytes:
        """What the authority says to a request; ``chain``: with its root's certificate too."""
        more = f"certs = {self.ca}\n" if chain else ""
        (self.folder / "tsa.cnf").write_text(_CONFIG.format(folder=self.folder, name=name) + more)
        (self.folder / "q.tsq").write_bytes(request)
        self._run(
            "ts", "-reply", "-config", "tsa.cnf", "-section", "own", "-queryfile", "q.tsq", "-out",
            "r.tsr",
        )  # fmt: skip
        return (self.folder / "r.tsr").read_bytes()

    def resigned(self, response: bytes, *, name: str) -> bytes:
        """The same statement signed by another certificate, which ``openssl ts`` would not do."""
        (self.folder / "r.tsr").write_bytes(response)
        self._run("ts", "-reply", "-in", "r.tsr", "-token_out", "-out", "r.der")
        self._run(
            "cms", "-verify", "-noverify", "-inform", "DER", "-in", "r.der", "-out", "info.der",
        )  # fmt: skip
        self._run(
            "cms", "-sign", "-binary", "-nodetach", "-econtent_type", "1.2.840.113549.1.9.16.1.4",
            "-in", "info.der", "-signer", f"{name}.pem", "-inkey", f"{name}.key", "-outform", "DER",
            "-md", "sha256", "-nosmimecap", "-out", "other.der",
        )  # fmt: skip
        token = b"\x30\x03\x02\x01\x00" + (self.folder / "other.der").read_bytes()
        return b"\x30\x82" + len(token).to_bytes(2, "big") + token

    def agrees(self, note: Path, response: Path) -> bool:
        """Whether OpenSSL's own verifier believes a saved head and token."""
        words = ["ts", "-verify", "-data", str(note), "-in", str(response), "-CAfile", "ca.pem"]
        done = subprocess.run(
            [self.command, *words], cwd=self.folder, capture_output=True, check=False
        )
        return done.returncode == 0

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [self.command, *words], cwd=self.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()


def _key(name: str) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    return (*curve, "-nodes", "-keyout", f"{name}.key")


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%SZ")


def http(
    body: bytes, *, status: str = "200 OK", kind: str = "application/timestamp-reply"
) -> bytes:
    """A response that ends where the connection does."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving(reply: Reply, *, closes: bool = True) -> AsyncIterator[str]:
    """Serve one kind of reply; yields the address."""

    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert b"application/timestamp-query" in head
            async for piece in reply(await reader.readexactly(length)):
                writer.write(piece)
                await writer.drain()
            if not closes:
                await asyncio.sleep(60)
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(answer(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/tsa"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed
