"""A further gateway of one log: made beside the first, and listed by two operators."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import process, receipts, signing
from fairlead.config import GatewayConfig, load
from fairlead.errors import FairleadError, Misconfigured
from fairlead.phrases import check_phrase
from fairlead.v1 import directory_pb2 as pb
from gateway.app import own_keys
from gateway.beside import ENTRY_FILE, list_beside, make_beside
from gateway.cli import directory as commands
from gateway.founding import Seat
from gateway.restarting import new_origin
from tests.founders import FEDERATION, Founded, founded

SEAT = Seat(name="gw-2", listen="127.0.0.1:0", endpoint="127.0.0.1:7402", hosts=("127.0.0.1",))


@pytest.fixture
def gateway(tmp_path: Path) -> Founded:
    """A first gateway whose log is to lie in a database."""
    made = founded(tmp_path / "gateway")
    with (made.folder / "gateway.toml").open("a") as file:
        file.write('database = "env:FAIRLEAD_DATABASE"\n')
    return made


def test_two_operators_list_a_further_gateway(gateway: Founded, tmp_path: Path) -> None:
    """What the commands make may start once both have signed: its own keys, the same log; and a log
    that begins anew does so for both."""
    folder, config = tmp_path / "gateway-2", gateway.folder / "gateway.toml"
    commands.make_gateway(folder, "gw-2", SEAT.listen, SEAT.endpoint, None, config)
    file = folder / ENTRY_FILE
    phrase = check_phrase(signing.digest(file.read_bytes()))
    settings = load(GatewayConfig, folder / "gateway.toml")
    for number in (1, 2):
        with pytest.raises(FairleadError):
            own_keys(settings, process.join(settings, time.time))
        key = gateway.folder / "hand-over" / f"operator-{number}" / "operator.key"
        commands.add_gateway(file, key, phrase, config)
    entry, _, log_key = own_keys(settings, process.join(settings, time.time))
    first = gateway.books().gateway()
    assert (entry.log_origin, signing.public_bytes(log_key)) == (first.log_origin, first.log_key)
    assert entry.signing_key != first.signing_key
    assert settings.database == gateway.config.database
    with pytest.raises(FairleadError):
        commands.add_gateway(file, key, check_phrase(bytes(32)), config)
    point = receipts.Checkpoint(origin=first.log_origin, size=3, root=bytes(32))
    note = receipts.sign_checkpoint(point, log_key)
    for operator in gateway.operators:
        with gateway.books().desk().alone():
            new_origin(gateway.books(), note, operator, now=time.time())
    listed = gateway.books().directory.gateways
    assert {item.log_origin for item in listed} == {f"{first.log_origin}/2"}
    assert {item.former_checkpoint for item in listed} == {note}
    assert len(listed) == 2


def test_an_entry_that_is_of_no_further_gateway_of_this_log_is_refused(
    gateway: Founded, tmp_path: Path
) -> None:
    """Another log or its key, the first gateway itself, a name that is no gateway's, a key or an
    endpoint that is taken, and octets that are no entry."""
    right = make_beside(gateway.books(), tmp_path / "gateway-2", SEAT, now=time.time())
    own = gateway.books().gateway()
    fresh = signing.public_bytes(Ed25519PrivateKey.generate())
    for changes in (
        {"log_origin": f"{FEDERATION}/gateway/gw-2"},
        {"log_key": fresh},
        {"former_checkpoint": "another"},
        {"spiffe_id": own.spiffe_id},
        {"spiffe_id": f"spiffe://{FEDERATION}/partner/customs/node/gw-2"},
        {"spiffe_id": "spiffe://other.example/gateway/gw-2"},
        {"spiffe_id": "gw-2"},
        {"signing_key": own.signing_key},
        {"signing_key": fresh[1:]},
        {"endpoint": own.endpoint},
        {"endpoint": ""},
    ):
        bent = pb.GatewayEntry()
        bent.CopyFrom(right)
        for part, value in changes.items():
            setattr(bent, part, value)
        with pytest.raises(FairleadError):
            list_beside(
                gateway.books(), signing.canonical(bent), gateway.operators[0], now=time.time()
            )
    with pytest.raises(FairleadError):
        list_beside(gateway.books(), b"\xff", gateway.operators[0], now=time.time())
    assert gateway.books().desk().pending() == []


def test_a_log_in_a_file_has_one_gateway(tmp_path: Path) -> None:
    """Nothing is made for a log that a second process could not open."""
    made = founded(tmp_path / "gateway")
    with pytest.raises(Misconfigured):
        make_beside(made.books(), tmp_path / "gateway-2", SEAT, now=time.time())
    assert not (tmp_path / "gateway-2").exists()
