"""Keys that evaluate are in memory no longer than they answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fairlead.blinding import PrivateKey
from fairlead.envelope.blinded import BlindedTerms
from fairlead.envelope.manifest import Manifest
from fairlead.errors import Misconfigured
from node.app import turn
from node.evaluation import Evaluation
from tests.blind import require_libsodium
from tests.libraries import KEY, PURPOSE, library, payload
from tests.walks import ASKER, NOW, OWNER

require_libsodium()
QUERY: Any = SimpleNamespace(asker=SimpleNamespace(partner_id=ASKER), purpose=PURPOSE)


def test_a_key_leaves_memory_with_its_epoch_though_nobody_asks(tmp_path: Path) -> None:
    """A seed that cannot be erased keeps no key."""
    shelf = library(tmp_path, {("container", "MSCU6639870"): payload()})
    held, now = shelf.usable(OWNER, purpose=PURPOSE, scheme="container"), [NOW]

    class Publications:
        def published(self, audience: bytes, epoch: int, scheme: str) -> Any:
            return held

        def key_of(self, manifest: Manifest) -> PrivateKey:
            return KEY

        def turn(self) -> None:
            raise Misconfigured("it cannot be")

    publications: Any = Publications()
    evaluation = Evaluation(publications, clock=lambda: now[0])
    manifest = held.manifest
    asked = BlindedTerms(
        scheme="container",
        audience=manifest.audience.name,
        epoch=manifest.epoch,
        elements=bytes(32),
    )
    evaluation.keyed(QUERY, [asked])
    turn(publications, evaluation)  # type: ignore[arg-type]
    assert list(evaluation._keys) == [manifest.public_key]
    now[0] = manifest.answers_until
    turn(publications, evaluation)  # type: ignore[arg-type]
    assert evaluation._keys == {}
