"""What a policy may call: nothing whose result depends on more than its arguments.

A decision is to be the same tomorrow, elsewhere and in a replay, and nobody is to hear of it: no
clock, no chance, no network, and no word printed. Time is a field of every input. The WebAssembly
engine needs no list, because it offers nothing that its module has to ask the host for. One rule
for the officers' tools and for the engine: what passes the one starts in the other.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fairlead.policy.transport import unanswered

COMMAND_S = 30.0

IMPURE = frozenset(
    {
        "http.send",
        "io.jwt.decode_verify",
        "io.jwt.encode_sign",
        "io.jwt.encode_sign_raw",
        "json.match_schema",
        "json.verify_schema",
        "net.lookup_ip_addr",
        "opa.runtime",
        "rand.intn",
        "time.now_ns",
        "uuid.rfc4122",
    }
)
"""What OPA itself calls nondeterministic (a test compares), for servers that cannot be asked."""
TELLING = frozenset({"print", "trace"})
"""What tells somebody else what is being decided."""
FAMILIES = ("http.", "net.", "providers.", "rand.")
"""How the names of all begin that reach out or roll dice, also in a later OPA."""


def forbidden(name: str) -> bool:
    """Whether no rule may call a built-in of this name."""
    return name in IMPURE | TELLING or name.startswith(FAMILIES)


def restricted(known: dict[str, Any]) -> dict[str, Any]:
    """What rules may use of the capabilities that an OPA says it has.

    :raises KeyError: :raises TypeError: it says something else.
    """
    allowed = [
        builtin
        for builtin in known["builtins"]
        if not builtin.get("nondeterministic") and not forbidden(builtin["name"])
    ]
    return {**known, "builtins": allowed, "allow_net": []}


def check_capabilities(command: Path, folder: Path, *, into: Path) -> None:
    """Compile the policies in ``folder`` with what a policy may call.

    :param command: the OPA. :param into: where its restricted capabilities are written.
    :raises PolicyUnavailable: OPA_CAPABILITIES: they do not compile without a clock, a network
        and chance.
    """
    try:
        known = json.loads(run(command, "capabilities", "--current"))
        into.write_text(json.dumps(restricted(known)), encoding="utf-8")
        run(command, "check", "--capabilities", into, folder)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        raise unanswered("OPA_CAPABILITIES") from None


def run(command: Path, *arguments: object) -> bytes:
    """What a command of OPA prints, given nothing from the environment.

    :raises OSError: it cannot be started. :raises subprocess.SubprocessError: it failed.
    """
    return subprocess.run(
        [str(command), *map(str, arguments)],
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # may quote what the policy says
        timeout=COMMAND_S,
        check=True,
    ).stdout
