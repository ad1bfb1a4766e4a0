"""Attack: the gateway's operator puts old books back, and lets honest operators sign over them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from fairlead.errors import Forged, Misconfigured
from fairlead.signing import load_signing_key
from gateway import changes
from gateway.cli.partner import signing_over
from tests.founders import Founded, founded, node


def key(gateway: Founded, number: int) -> Path:
    return gateway.folder / "hand-over" / f"operator-{number}" / "operator.key"


def suspend(gateway: Founded, number: int) -> bool:
    """One operator signs the suspension of customs; whether it is published."""
    with signing_over(gateway.folder / "gateway.toml", key(gateway, number)) as books:
        own = load_signing_key(key(gateway, number))
        return changes.suspend(books, "customs", own, now=time.time()).published


def renew(gateway: Founded, number: int) -> bool:
    """One operator signs everything for longer; whether it is published."""
    with signing_over(gateway.folder / "gateway.toml", key(gateway, number)) as books:
        own = load_signing_key(key(gateway, number))
        return changes.renew(books, own, now=time.time()).published


@pytest.fixture
def gateway(tmp_path: Path) -> Founded:
    made = founded(tmp_path / "gateway")
    made.admission(node(tmp_path / "customs", made.invitation))
    return made


@pytest.mark.parametrize("book", ["deny_lists", "directory"])
def test_a_routine_signature_does_not_undo_a_suspension(gateway: Founded, book: str) -> None:
    """Last week's deny list or directory put back before a renewal: the completer refuses."""
    path: Path = getattr(gateway.config, book)
    old = path.read_bytes()
    assert not suspend(gateway, 1)
    assert suspend(gateway, 2)
    assert not renew(gateway, 1)
    assert renew(gateway, 2)
    path.write_bytes(old)
    assert not gateway.books().denied.spiffe_ids or book == "directory"
    with pytest.raises(Forged) as caught:
        renew(gateway, 2)
    assert caught.value.code == "BOOKS_OLDER"
    with contextlib.suppress(Forged):  # who only ever drafts has seen less, and completes nothing
        assert not renew(gateway, 1)
    with pytest.raises(Forged):
        renew(gateway, 2)


def test_other_books_of_the_same_serial_are_refused(gateway: Founded) -> None:
    """Two lists of one serial, each signed by two, do not both find a third signature."""
    old = gateway.config.deny_lists.read_bytes()
    assert not suspend(gateway, 1)
    assert suspend(gateway, 2)
    theirs = gateway.config.deny_lists.read_bytes()
    gateway.config.deny_lists.write_bytes(old)
    for number in (1, 2):  # a renewal drafted without anybody's memory: the fork itself
        changes.renew(gateway.books(), gateway.operators[number - 1], now=time.time())
    assert gateway.config.deny_lists.read_bytes() != theirs
    with pytest.raises(Forged) as caught:
        renew(gateway, 2)
    assert caught.value.code == "BOOKS_FORK"


def test_a_memory_that_cannot_be_read_stops_the_signature(gateway: Founded) -> None:
    """An operator whose program no longer knows what it saw signs nothing."""
    assert not suspend(gateway, 1)
    key(gateway, 1).with_name("operator.key.seen").write_text("[")
    with pytest.raises(Misconfigured) as caught:
        suspend(gateway, 1)
    assert caught.value.code == "SEEN_FILE"
