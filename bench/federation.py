"""The benchmark's own federation: one asker, as many owners as the largest round needs."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certs.dev.federation import SCHEMES, GatewaySpec, PartnerSpec, UserSpec
from certs.dev.layout import Layout
from certs.dev.make import make
from certs.dev.policies import publish, toml
from fairlead.certificates import Role
from fairlead.config import LocalPolicy
from fairlead.partners import Directory, PartnerKind
from fairlead.policy.issuing import Wishes
from fairlead.sealing import SealingKey
from fairlead.trust import Trust

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = "gw-1"
ASKER, ANALYST, APPROVER = "asker", "u-b01", "u-b02"
CROWD_ASKERS, CROWD_ANALYSTS = 8, 32
"""Asking partners and analysts of each when 256 people ask at once: one partner alone may use a
quarter of the gateway's places."""
PURPOSE, LEGAL_BASIS, SCHEME = "drug-trafficking", "eu-ucc-art-46", "container"
TICK_MS = 50
OWNER_KINDS = (
    PartnerKind.TERMINAL,
    PartnerKind.POLICE,
    PartnerKind.SHIPPING_LINE,
    PartnerKind.INLAND_PORT,
    PartnerKind.SECURITY_COMPANY,
)


@dataclass(frozen=True, slots=True)
class Federation:
    """Everything in one folder; every process of the benchmark opens it by that folder."""

    folder: Path

    @property
    def layout(self) -> Layout:
        """Keys and signed lists."""
        return Layout(self.folder / "keys")

    def directory(self) -> Directory:
        """The verified directory."""
        layout = self.layout
        return Trust.load(layout.pins).directory(layout.directory, now=time.time())

    def owners(self, count: int) -> tuple[str, ...]:
        """Ids of the first ``count`` owners."""
        return tuple(f"owner-{number:02d}" for number in range(1, count + 1))

    def crowd(self, askers: int = CROWD_ASKERS) -> dict[str, tuple[str, ...]]:
        """The first so many further asking partners, each with its analysts."""
        analysts = tuple(f"u-q{number:02d}" for number in range(1, CROWD_ANALYSTS + 1))
        return {f"asker-{number}": analysts for number in range(2, 2 + askers)}

    def make(
        self,
        owners: int,
        *,
        askers: int = 0,
        kinds: Sequence[PartnerKind] = OWNER_KINDS,
        schemes: Sequence[str] = SCHEMES,
    ) -> None:
        """Keys, directory and policy for one asker and ``owners`` owners.

        :param askers: further asking partners, see :meth:`crowd`.
        :param kinds: and ``schemes``: of the owners.

        The policy is the committed one with the demo's agreement, as two officers signed it.
        """
        ports = free_ports(2 + owners + askers)
        layout = make(
            self.folder / "keys",
            federation="fairlead.bench",
            gateway=GatewaySpec(name=GATEWAY, port=ports[0]),
            partners=[
                self._asker(ports[1]),
                *self._owners(owners, ports[2:], kinds, schemes),
                *self._crowd(askers, ports[2 + owners :]),
            ],
            release_tick_ms=TICK_MS,
        )
        now = int(time.time())
        wishes = Wishes(issued_at=now, not_after=now + 86_400)
        publish(layout, self.folder / "policy", wishes)

    def _crowd(self, askers: int, ports: Sequence[int]) -> Iterator[PartnerSpec]:
        for (asker, analysts), port in zip(self.crowd(askers).items(), ports, strict=True):
            yield PartnerSpec(
                partner_id=asker,
                display_name=asker,
                kind=PartnerKind.CUSTOMS,
                country="NL",
                port=port,
                users=tuple(UserSpec(pseudonym=a, roles=(Role.ANALYST,)) for a in analysts),
            )

    def _asker(self, port: int) -> PartnerSpec:
        return PartnerSpec(
            partner_id=ASKER,
            display_name="Asker",
            kind=PartnerKind.CUSTOMS,
            country="NL",
            port=port,
            users=(
                UserSpec(pseudonym=ANALYST, roles=(Role.ANALYST,)),
                UserSpec(pseudonym=APPROVER, roles=(Role.APPROVER,)),
            ),
        )

    def _owners(
        self, count: int, ports: Sequence[int], kinds: Sequence[PartnerKind], schemes: Sequence[str]
    ) -> Iterator[PartnerSpec]:
        for place, owner in enumerate(self.owners(count)):
            yield PartnerSpec(
                partner_id=owner,
                display_name=owner,
                kind=kinds[place % len(kinds)],
                country="NL",
                port=ports[place],
                schemes=tuple(schemes),
            )

    def write_gateway_config(self, name: str) -> Path:
        """The configuration of a gateway with a state of its own."""
        listen = self.directory().gateway.endpoint
        return self._write_config(
            name, name=GATEWAY, listen=listen, keys_dir=self.layout.gateway(GATEWAY)
        )

    def write_node_config(
        self, partner: str, *, own_policy: LocalPolicy | None = None, **more: object
    ) -> Path:
        """The configuration of a partner's real node; ``more`` settings are paths or texts."""
        directory = self.directory()
        path = self._write_config(
            partner,
            partner=partner,
            listen=directory.partners[partner].nodes[0].endpoint,
            gateway=directory.gateway.endpoint,
            keys_dir=self.layout.node(partner),
            index_key=f"file:{self.layout.node(partner) / 'index.key'}",
            **more,
        )
        if own_policy is not None:
            with path.open("a") as file:
                file.write(toml(own_policy))
        return path

    def _policy(self, own: str) -> Path:
        """A process's own copy of the bundle: it takes changes up itself."""
        return Path(
            shutil.copytree(
                self.folder / "policy", self.folder / "policies" / own, dirs_exist_ok=True
            )
        )

    def _write_config(self, own: str, **settings: object) -> Path:
        """A JSON string is a TOML basic string."""
        common = {
            "state_dir": self.folder / "state" / own,
            "directory": self.layout.directory,
            "pins": self.layout.pins,
            "deny_lists": self.layout.deny_lists,
            "policy_dir": self._policy(own),
            "replay_key": self._replay_key(),
        }
        lines = [f"{key} = {json.dumps(str(v))}\n" for key, v in {**settings, **common}.items()]
        path = self.folder / f"{own}.toml"
        path.write_text("".join(lines))
        return path

    def _replay_key(self) -> Path:
        """As a federation that can replay: every decision's input is kept, sealed."""
        path = self.folder / "replay.pub"
        if not path.exists():
            path.write_bytes(SealingKey.generate().public_bytes())
        return path


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
