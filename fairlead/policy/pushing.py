"""Putting a program into an OPA server that somebody else runs, and making sure that it is there.

Such a server holds one program at a time, and whoever may write to it decides what is decided:
therefore its token is a key, and what it holds is read back before it is believed. Its output says
under which policy it decided, so a server that was given another one later is noticed at the next
decision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

import orjson
import requests
from opa_client.errors import (
    DeletePolicyError,
    PolicyNotFoundError,
    RegoParseError,
)

from fairlead.errors import PolicyUnavailable
from fairlead.policy.capabilities import IMPURE
from fairlead.policy.engine import DEADLINE_S, SELF_TEST, Program, self_test
from fairlead.policy.opa import Client, OpaEngine, refusal
from fairlead.policy.transport import Place, unanswered

LOAD_S = 5.0
"""Seconds for each call of loading, which is on nobody's way."""
MAX_LISTING = 64 * 1024 * 1024
PREFIX = "fairlead/"
"""How the ids of our policies begin at a server."""
_VERSION = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}")
_REFUSED = (requests.RequestException, ValueError, KeyError, TypeError, AttributeError)


def remote_engine(
    place: Place,
    token: str,
    program: Program,
    data: Mapping[str, object],
    *,
    deadline_s: float = DEADLINE_S,
) -> OpaEngine:
    """Load the program and the data into the server at ``place``, and decide by it.

    Steps: 1. what is not there yet is put there, 2. what is there is exactly that, 3. it calls
    nothing that it may not, 4. it decides as it should.

    :raises PolicyUnavailable: OPA_LOAD, OPA_REFUSES, OPA_OTHER_POLICY,
        OPA_CAPABILITIES, ENGINE_SELFTEST, or
        that the server does not answer.
    """
    client = Client(place, token=token, timeout=LOAD_S, largest=MAX_LISTING)
    wanted = _texts(program)
    try:
        # 1
        if _held(client) != wanted:
            _replace(client, wanted)
        for name, value in data.items():
            client.update_or_create_data(value, name)
        # 2, 3
        _verify(client, wanted, data)
    except requests.HTTPError as error:
        raise refusal(error) from None
    except (*_REFUSED, PolicyNotFoundError, DeletePolicyError, RegoParseError):
        raise unanswered("OPA_LOAD") from None
    finally:
        client.close_connection()
    # 4
    self_test(OpaEngine(place, token=token, deadline_s=LOAD_S), program)
    return OpaEngine(place, token=token, deadline_s=deadline_s)


def version(place: Place, token: str) -> str:
    """What the server says it is, such as ``1.21.0``; nothing where it does not say."""
    client = Client(place, token=token, timeout=LOAD_S, largest=MAX_LISTING)
    try:
        found = str(client.ad_hoc_query("version := opa.runtime().version")["result"][0]["version"])
    except (*_REFUSED, IndexError, PolicyUnavailable):
        return ""
    finally:
        client.close_connection()
    return found if _VERSION.fullmatch(found) else ""


def _texts(program: Program) -> dict[str, str]:
    """Id at the server → text."""
    found = {
        PREFIX + name.removesuffix(".rego"): octets.decode()
        for name, octets in program.sources.items()
        if name != SELF_TEST
    }
    if not found:
        raise unanswered("OPA_NO_SOURCES")
    return found


def _held(client: Client) -> dict[str, str]:
    """What is there under our prefix, as text."""
    policies = client.policies().items()
    return {name: policy["raw"] for name, policy in policies if name.startswith(PREFIX)}


def _replace(client: Client, wanted: Mapping[str, str]) -> None:
    """Take out what is ours, and put in what is wanted.

    A server compiles after each call, and refuses one that leaves a function without its
    definition: what it refuses is tried again after the rest.
    """
    _until_done([*_held(client)], client.delete_policy)
    _until_done(
        [*wanted],
        lambda name: client.update_policy_from_string(wanted[name], name, rego_compat=False),
    )


def _until_done(names: list[str], change: Callable[[str], object]) -> None:
    """:raises PolicyUnavailable: OPA_LOAD: none of the rest can be changed."""
    while names:
        left = []
        for name in names:
            try:
                change(name)
            except (DeletePolicyError, RegoParseError):
                left.append(name)
        if len(left) == len(names):
            raise unanswered("OPA_LOAD")
        names = left


# ── Reading back ─────────────────────────────────────────────────────────────────────────────


def _verify(client: Client, wanted: Mapping[str, str], data: Mapping[str, object]) -> None:
    """:raises PolicyUnavailable: OPA_OTHER_POLICY: what is there is not what was put there, or
    another policy adds to it. OPA_CAPABILITIES: it asks a clock, a network or chance."""
    held = client.policies()
    for name, policy in held.items():
        package = [part["value"] for part in policy["ast"]["package"]["path"]]
        if name in wanted and IMPURE & set(_names(policy["ast"])):
            raise unanswered("OPA_CAPABILITIES")
        if name not in wanted and package[1] in {"fairlead", *data}:
            raise unanswered("OPA_OTHER_POLICY")
    texts = {name: held[name]["raw"] for name in wanted if name in held}
    if texts != wanted or not all(
        client.get_data(name)["result"] == json.loads(orjson.dumps(value))
        for name, value in data.items()
    ):
        raise unanswered("OPA_OTHER_POLICY")


def _names(node: object) -> Iterator[str]:
    """Every dotted name in a module's syntax tree."""
    if isinstance(node, dict):
        if node.get("type") == "ref":
            yield ".".join(str(part.get("value")) for part in node["value"])
        for item in node.values():
            yield from _names(item)
    elif isinstance(node, list):
        for item in node:
            yield from _names(item)
