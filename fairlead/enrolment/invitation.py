"""The invitation: what a newcomer trusts before it has heard anybody.

A TOML file, public, whose check phrase an operator reads to the newcomer::

    federation = "port.example"
    gateway = "gateway.port.example:7443"
    gateway_id = "spiffe://port.example/gateway/gw-1"
    operators = ["<Ed25519 key, hex>", …]
    policy_officers = [{ key = "<Ed25519 key, hex>", person = "…", organisation = "…" }, …]
    federation_ca = "<SHA-256 of the CA's certificate, hex>"
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fairlead import signing
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.officers import Officer, parse_officers, render_officers
from fairlead.phrases import check_phrase, compare_phrase

MAX_FILE = 64 * 1024
_KEYS = ("federation", "gateway", "gateway_id", "operators", "policy_officers", "federation_ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Keys are raw octets; ``federation_ca`` is the SHA-256 of the CA's DER certificate."""

    federation: str
    gateway: str
    gateway_id: str
    operators: tuple[bytes, ...]
    policy_officers: tuple[Officer, ...]
    federation_ca: bytes

    @classmethod
    def parse(cls, data: bytes) -> Invitation:
        """Read an invitation's octets.

        :raises InvalidInput: INVITATION: too large, not TOML, other keys, or misspelt.
        """
        try:
            if len(data) > MAX_FILE:
                raise ValueError
            content = tomllib.loads(data.decode())
            if set(content) != set(_KEYS):
                raise ValueError
            gateway = SpiffeId.parse(_text(content["gateway_id"]))
            found = cls(
                federation=_text(content["federation"]),
                gateway=_text(content["gateway"]),
                gateway_id=str(gateway),
                operators=_octets(content["operators"]),
                policy_officers=_officers(content["policy_officers"]),
                federation_ca=_octets([content["federation_ca"]])[0],
            )
            if gateway.kind is not IdentityKind.GATEWAY or gateway.federation != found.federation:
                raise ValueError
        except (ValueError, TypeError, RecursionError, InvalidInput):
            raise InvalidInput(
                "the invitation cannot be read",
                reasons=("INVITATION",),
                remedy="ask an operator for the invitation file again",
            ) from None
        return found

    @classmethod
    def load(cls, path: Path) -> Invitation:
        """Read an invitation file.

        :raises Misconfigured: missing. :raises InvalidInput: as :meth:`parse`.
        """
        try:
            with path.open("rb") as file:
                return cls.parse(file.read(MAX_FILE + 1))
        except OSError:
            raise Misconfigured(
                "the invitation is missing or unreadable",
                reasons=("FILE",),
                remedy="ask an operator for the invitation file",
            ) from None

    def render(self) -> bytes:
        """The file's octets; :meth:`parse` reads them back."""
        plain = {key: json.dumps(value) for key, value in self._plain().items()}
        plain["policy_officers"] = render_officers(self.policy_officers)
        return "".join(f"{key} = {value}\n" for key, value in plain.items()).encode()

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over everything it says, whatever the file's layout."""
        return signing.digest(
            b"fairlead/v1/invitation\0" + json.dumps(self._plain(), sort_keys=True).encode()
        )

    @property
    def phrase(self) -> str:
        """The check phrase."""
        return check_phrase(self.fingerprint)

    def _plain(self) -> dict[str, object]:
        return {
            "federation": self.federation,
            "gateway": self.gateway,
            "gateway_id": self.gateway_id,
            "operators": [key.hex() for key in self.operators],
            "policy_officers": [officer.plain() for officer in self.policy_officers],
            "federation_ca": self.federation_ca.hex(),
        }


def compare(spoken: str, fingerprint: bytes, *, code: str) -> None:
    """Compare a phrase that somebody read out with the one of ``fingerprint``.

    :raises InvalidInput: misheard. :raises Forged: ``code``: a whole phrase, and another's.
    """
    try:
        compare_phrase(spoken, fingerprint)
    except Forged:
        raise Forged(
            "the check phrase is another one: this is not the file they sent",
            reasons=(code,),
            remedy="telephone again; if it still differs, stop: somebody changed the file",
        ) from None


def endpoint_host(endpoint: str) -> str:
    """The host of a ``host:port``, without brackets."""
    return endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 256:
        raise ValueError
    return value


def _officers(rows: object) -> tuple[Officer, ...]:
    found = parse_officers(rows)
    if not found:
        raise ValueError
    return found


def _octets(values: object) -> tuple[bytes, ...]:
    if not isinstance(values, list) or not 0 < len(values) <= 16:
        raise ValueError
    found = tuple(bytes.fromhex(_text(value)) for value in values)
    if any(len(item) != 32 for item in found) or len(set(found)) != len(found):
        raise ValueError
    return found
