"""Private keys are their owner's alone: a file that others may read is refused, with the remedy."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import config, process, signing
from fairlead.config import NodeConfig, load
from fairlead.errors import FairleadError, Misconfigured
from fairlead.keyfile import private_folder, read_private, write_private
from fairlead.sealing import SealingKey
from gateway.app import own_keys as gateway_keys
from node.opening import own_keys as node_keys
from tests.founders import enrol, founded, node

READ: dict[str, Callable[[Path], object]] = {
    "signing.key": signing.load_signing_key,
    "user.key": signing.load_user_key,
    "sealing.seed": SealingKey.load,
    "index.key": lambda path: config.reveal(config.SecretReference(f"file:{path}"), {}),
}


def make(path: Path) -> None:
    if path.name == "sealing.seed":
        SealingKey.generate().save(path)
    elif path.name == "index.key":
        write_private(path, b"ab" * 32)
    elif path.name == "user.key":
        signing.save_key(path, ec.generate_private_key(ec.SECP256R1()))
    else:
        signing.save_key(path, Ed25519PrivateKey.generate())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
@pytest.mark.parametrize("name", sorted(READ))
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    """Group or world bits on any private file stop it, and the remedy is the command that helps."""
    path = tmp_path / name
    make(path)
    READ[name](path)
    path.chmod(mode)
    with pytest.raises(Misconfigured) as caught:
        READ[name](path)
    assert caught.value.code == "KEY_PERMISSIONS"
    subprocess.run(shlex.split(caught.value.remedy), check=True)
    READ[name](path)


def test_check_refuses_a_gateway_and_a_node_with_open_keys(tmp_path: Path) -> None:
    """What `check` and `serve` do first finds every open key of either program."""
    gateway = founded(tmp_path / "gateway")
    place = node(tmp_path / "node", gateway.invitation)
    enrol(place, gateway.admission(place))
    settings = load(NodeConfig, place.config)
    starts: list[tuple[Path, Callable[[], object]]] = [
        (
            gateway.config.keys_dir,
            lambda: gateway_keys(gateway.config, process.join(gateway.config, time.time)),
        ),
        (place.keys, lambda: node_keys(settings, process.join(settings, time.time))),
    ]
    for folder, start in starts:
        start()
        for name in ("signing.key", "tls.key"):
            (folder / name).chmod(0o644)
            with pytest.raises(FairleadError) as caught:
                start()
            assert caught.value.code == "KEY_PERMISSIONS", name
            (folder / name).chmod(0o600)


def test_a_file_is_replaced_in_one_step_and_stays_private(tmp_path: Path) -> None:
    """Writing over a file leaves no half of it, no trace beside it, and mode 0600."""
    path = private_folder(tmp_path / "keys") / "x"
    before = os.umask(0)
    try:
        write_private(path, b"one")
        write_private(path, b"two")
    finally:
        os.umask(before)
    assert read_private(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["x"]
