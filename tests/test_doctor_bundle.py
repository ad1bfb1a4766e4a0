"""The bundle for support holds nothing secret."""

from __future__ import annotations

import base64
import tarfile
from pathlib import Path

from fairlead.config import NodeConfig
from node.doctor import parts, write_bundle
from node.indexing import LOG_FILE
from node.owning import at_rest
from tests.federation import STORY, build, record

CANARIES = ("Wilhelmina Unlikely", "canary-host", "canary-source", "u-dpo", "hunter2")


async def test_a_bundle_holds_no_secret(tmp_path: Path) -> None:
    """Keys, terms, records, names of people, hosts, users and sources planted all around the node
    are nowhere in its bundle, and what support needs is."""
    home = tmp_path / "Wilhelmina Unlikely"
    made = build_one(home)
    config = made.model_copy(
        update={"listen": "canary-host:7443", "index_key": "env:HUNTER", "log_level": "debug"}
    )
    (config.state_dir / "canary-source.csv").write_text(STORY)
    async with at_rest(made) as steering:
        await steering.handlers["preview"](
            partner="customs", purpose="drug-trafficking", term=STORY, since=1
        )
        status = await steering.handlers["status"]()
        status["sources"] = [{"source": "canary-source", "state": "mapped", "rows": 3}]
    checks = [("source canary-source", "COLUMN_MISSING"), ("policy", "in order")]
    found = parts(config, status=status, checks=checks, log=config.state_dir / LOG_FILE)
    target = tmp_path / "bundle.tar.gz"
    write_bundle(target, found, now=0.0)
    with tarfile.open(target) as archive:
        members = [archive.extractfile(member) for member in archive.getmembers()]
        octets = b"".join(member.read() for member in members if member is not None)
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    for secret in secrets(made):
        assert secret not in octets
    for word in (b"COLUMN_MISSING", b"exposure-accepted", b"previewed", b'"partner": "terminal-'):
        assert word in octets


def build_one(folder: Path) -> NodeConfig:
    """A node that holds one record, with what it released accepted."""
    import fairlead.config

    made = build(
        folder,
        partners=("customs", "terminal-north"),
        records={"terminal-north": [record(fields={"driver_name": "Wilhelmina Unlikely"})]},
        local_policy=None,
        tick_ms=5,
        limits=fairlead.config.Limits(),
    )
    return made.node_configs["terminal-north"]


def secrets(config: NodeConfig) -> list[bytes]:
    """Everything planted, as it could be written."""
    words = [*CANARIES, STORY, STORY[4:]]
    found = [word.encode() for word in words]
    for path in [*config.keys_dir.iterdir(), config.state_dir / "index.secret"]:
        if path.suffix in {".key", ".seed", ".secret"}:
            octets = path.read_bytes()
            found += [octets[:64], octets.hex()[:64].encode(), base64.b64encode(octets)[:64]]
            found += [
                line for line in octets.split(b"\n") if len(line) > 40 and b"-----" not in line
            ]
    return found
