"""Which engine decides, as the configuration says."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fairlead import config
from fairlead.errors import Misconfigured
from fairlead.policy.engine import EngineMaker, PolicyEngine, Program, wasm_engine

if TYPE_CHECKING:
    from fairlead.policy.transport import Place


def engine_maker(settings: config.GatewayConfig | config.NodeConfig) -> EngineMaker:
    """The maker of the configured engine: there is no other one behind it.

    :raises Misconfigured: OPA_COMMAND, OPA_ADDRESS, OPA_LAYERS, or a missing secret.
    """
    if settings.policy.engine == "wasm":
        return wasm_engine
    if settings.policy.opa.url and getattr(settings, "local_policy", None):
        raise Misconfigured(
            "one OPA holds one policy, and the partner's own would be a second",
            reasons=("OPA_LAYERS",),
            remedy="set policy.opa.command instead of policy.opa.url",
        )
    return opa_maker(settings.policy.opa)


def opa_maker(settings: config.Opa) -> EngineMaker:
    """The maker of engines that are an OPA: started here, or running already.

    :raises Misconfigured: OPA_ADDRESS: its host has no address; SECRET_MISSING.
    """
    from fairlead.policy.supervision import supervised_engine

    command = settings.command
    if command is not None:
        return lambda program, data: supervised_engine(command, program, data)

    from fairlead.policy.pushing import remote_engine

    place, token = place_of(settings), token_of(settings)

    def make(program: Program, data: Mapping[str, object]) -> PolicyEngine:
        return remote_engine(place, token, program, data)

    return make


def place_of(settings: config.Opa) -> Place:
    """Where a running server is. Its name is looked up once: a decision waits for no resolver.

    :raises Misconfigured: OPA_ADDRESS.
    """
    from fairlead.policy.transport import Place

    parts = urlsplit(settings.url or "")
    name = parts.hostname or ""
    try:
        found = socket.getaddrinfo(name, parts.port, type=socket.SOCK_STREAM)
        address = str(found[0][4][0])
    except (OSError, UnicodeError):
        raise Misconfigured(
            "the host of policy.opa.url has no address",
            reasons=("OPA_ADDRESS",),
            remedy="correct the host, or write its address",
        ) from None
    return Place(address=address, port=parts.port or 0, name=name, ca=settings.ca)


def token_of(settings: config.Opa) -> str:
    """The bearer token of a running server, if it wants one.

    :raises Misconfigured: SECRET_MISSING, KEY_PERMISSIONS.
    """
    return config.reveal(settings.token, os.environ).decode("latin-1") if settings.token else ""


def told(settings: config.Policy) -> str:
    """The engine in words for a person, with its version where it says so.

    :raises Misconfigured: OPA_COMMAND, OPA_ADDRESS, SECRET_MISSING.
    """
    if settings.engine == "wasm":
        return "WebAssembly in this process"
    if settings.opa.command is None:
        from fairlead.policy import pushing

        found = pushing.version(place_of(settings.opa), token_of(settings.opa))
        return f"OPA {found or 'of a version it does not say'}, which runs already"
    from fairlead.policy.supervision import version

    return f"OPA {version(settings.opa.command)}, started and supervised by this process"
