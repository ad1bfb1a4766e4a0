"""``fairlead-node doctor``: a bundle for support that holds nothing secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli.output import say
from node.cli.act import CONFIG, ConfigOption, act


def doctor(
    bundle: Annotated[Path, typer.Option("--bundle", help="The new archive, FILE.tar.gz.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Write what support needs: settings, versions, status, codes; no keys, terms or names."""
    import time

    from fairlead import telemetry
    from fairlead.config import NodeConfig, load
    from fairlead.errors import FairleadError, InvalidInput
    from node.checking import findings
    from node.doctor import parts, write_bundle
    from node.indexing import LOG_FILE

    telemetry.configure("error")
    settings = load(NodeConfig, config)
    if bundle.exists():
        raise InvalidInput(
            "a file of this name is there already",
            reasons=("FILE_EXISTS",),
            remedy="choose another name for --bundle",
        )
    checks = [
        (item.what, "in order" if item.error is None else item.error.code)
        for item in findings(settings, clock=time.time)
    ]
    status: dict[str, Any]
    try:
        status = act(config, "status")
        act(config, "bundle-made")
    except FairleadError as error:  # a node that cannot even start needs support most
        status = {"unknown": error.code}
    content = parts(settings, status=status, checks=checks, log=settings.state_dir / LOG_FILE)
    write_bundle(bundle, content, now=time.time())
    say(f"{bundle} holds {', '.join(content)}; read it before you send it:")
    say(f"next: tar -xzOf {bundle} | less")
