"""``fairlead-node rotate``: a new key of each kind, without an interruption."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import say
from node.cli.act import CONFIG, ConfigOption

app = typer.Typer(help="Replace a key without an interruption.", no_args_is_help=True)
RootOption = Annotated[
    Path | None, typer.Option("--root-key", help="This partner's root key, if it is here.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Where the next entry goes; else beside the keys.")
]


@app.callback()
def _group() -> None:
    """Replace a key without an interruption."""


@app.command("signing")
def signing_key(
    config: ConfigOption = CONFIG, root_key: RootOption = None, out: OutOption = None
) -> None:
    """Make the next signing key, and the directory entry that names it."""
    _rotate("signing", config, root_key, out)


@app.command("sealing")
def sealing_key(
    config: ConfigOption = CONFIG, root_key: RootOption = None, out: OutOption = None
) -> None:
    """Make the next sealing key, and the directory entry that names it."""
    _rotate("sealing", config, root_key, out)


@app.command("witness")
def witness_key(
    config: ConfigOption = CONFIG, root_key: RootOption = None, out: OutOption = None
) -> None:
    """Make the next key of cosignatures: also what a restored node needs to cosign again."""
    _rotate("witness", config, root_key, out)


@app.command("mask")
def mask_key(
    config: ConfigOption = CONFIG, root_key: RootOption = None, out: OutOption = None
) -> None:
    """Make the next mask key of figures: also what a restored node needs to state any again."""
    _rotate("mask", config, root_key, out)


@app.command("sign")
def sign_entry(
    entry: Annotated[Path, typer.Argument(help="The entry that rotate wrote.")],
    root_key: Annotated[Path, typer.Option("--root-key", help="This partner's root key.")],
    out: Annotated[Path, typer.Option("--out", help="Where the signed entry goes.")],
) -> None:
    """Sign an entry on the machine that holds the root key."""
    from fairlead import signing
    from fairlead.keyfile import write_private
    from fairlead.trust import read_trusted
    from node.rotating import sign

    write_private(out, sign(read_trusted(entry), signing.load_signing_key(root_key)))
    say(f"next: at the gateway, fairlead-gateway partner update {out} --operator FILE")


@app.command("tls")
def tls_certificate(config: ConfigOption = CONFIG) -> None:
    """Renew this node's TLS key and certificate now; a running node takes them up by itself."""
    import asyncio

    from fairlead.config import NodeConfig, load

    settings = load(NodeConfig, config)

    async def renew() -> None:
        from fairlead import process
        from node.certificate import OwnCertificate
        from node.line import GatewayLine
        from node.opening import own_keys, own_node

        member = process.join(settings, time.time)
        partner, _ = own_keys(settings, member)
        material = process.material_of(settings.keys_dir, member.directory)
        line = GatewayLine(settings.gateway, member.directory, material)
        own = OwnCertificate(settings.keys_dir, own_node(settings, partner), line, clock=time.time)
        try:
            await own.look(force=True)
        finally:
            await line.close()

    asyncio.run(renew())
    say("the new certificate is in place; a running node takes it up within seconds")


def _rotate(kind: str, config: Path, root_key: Path | None, out: Path | None) -> None:
    from fairlead import signing
    from fairlead.config import NodeConfig, load
    from fairlead.keyfile import write_private
    from fairlead.trust import Trust, read_trusted
    from node.rotating import Kind, listed_entry, rotate, sign

    settings = load(NodeConfig, config)
    transmitted = read_trusted(settings.directory)
    Trust.load(settings.pins).verify(transmitted, now=time.time())
    made = rotate(settings.keys_dir, listed_entry(transmitted, settings.partner), Kind(kind))
    say(f"new {kind} key in {made.key_file}; it is used once the directory names it")
    place = out or settings.keys_dir / f"entry-{made.sequence}.signed"
    if root_key is None:
        entry = settings.keys_dir / f"entry-{made.sequence}.bin"
        say(f"next: take {entry} to the machine with the root key, and there")
        say(f"      fairlead-node rotate sign {entry.name} --root-key FILE --out {place.name}")
        return
    write_private(place, sign(made.entry, signing.load_signing_key(root_key)))
    say(f"next: send {place} to the gateway's operator:")
    say(f"      fairlead-gateway partner update {place.name} --operator FILE")
