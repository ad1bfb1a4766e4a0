"""``fairlead-node check``: everything verified at once."""

from __future__ import annotations

from fairlead.cli.output import Exit, emit_table, say
from node.cli.act import CONFIG, ConfigOption


def check(config: ConfigOption = CONFIG) -> int:
    """Check the configuration and everything it names; report every error at once."""
    import time

    from fairlead import telemetry
    from fairlead.config import NodeConfig, load
    from fairlead.policy import making
    from node.checking import findings, first_error

    telemetry.configure("error")  # what is found is printed below
    settings = load(NodeConfig, config)
    found = list(findings(settings, clock=time.time))
    emit_table(
        ("check", "result"),
        [(item.what, "in order" if item.error is None else item.error.code) for item in found],
    )
    for item in found:
        if item.error is not None:
            say(f"{item.what}: {item.error.diagnostics()}")
    error = first_error(found)
    if error is not None:
        return error.exit_code
    say(f"decisions are made by {making.told(settings.policy)}")
    say("configuration, directory, keys, policy, mappings and exposure are in order")
    say(f"next: fairlead-node index --config {config}")
    return Exit.ANSWERED
