"""Attack: decision records swapped, dropped, cut, moved, or opened by somebody else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import sealing, signing
from fairlead.decisions.batch import NONCE, ContentKey, open_batch, open_key, read_batch
from fairlead.decisions.stream import read_file, write_file
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.v1 import audit_pb2, decisions_pb2
from tests.decided import OFFICER, STRANGER, Decided, check, read_export

Items = list[decisions_pb2.ReadDecisionsResponse]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Decided]:
    found = Decided(path=tmp_path / "audit.sqlite")
    found.story(3)
    yield found
    found.close()


def rewritten(octets: bytes, change: Callable[[Items], object]) -> bytes:
    """An export after somebody had it in hand."""
    items = list(read_file(io.BytesIO(octets)))
    change(items)
    file = io.BytesIO()
    write_file(iter(items), file)
    return file.getvalue()


def places(items: Items, kind: str) -> list[int]:
    return [place for place, item in enumerate(items) if item.WhichOneof("item") == kind]


def drop(items: Items, place: int, *, told: bool) -> None:
    del items[places(items, "batch")[place]]
    items[0].batches -= told


def swap(items: Items) -> None:
    first, second, *_ = places(items, "batch")
    items[first], items[second] = items[second], items[first]


def relabel(items: Items) -> None:
    """The records in clear of one batch over the sealed inputs of another."""
    first, second, *_ = places(items, "batch")
    one = decisions_pb2.DecisionBatch.FromString(items[first].batch)
    other = decisions_pb2.DecisionBatch.FromString(items[second].batch)
    one.records = other.records
    items[first].batch = signing.canonical(one)


def older_receipt(items: Items) -> None:
    items[-1].receipt.leaf = items[-1].receipt.leaf[:-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda items: drop(items, 1, told=False),
        lambda items: drop(items, 1, told=True),
        lambda items: drop(items, -1, told=True),
        swap,
        relabel,
        older_receipt,
        lambda items: items.pop(),
        lambda items: items.append(items[places(items, "batch")[0]]),
    ],
    ids=["dropped", "dropped and said so", "the newest dropped", "swapped", "relabelled",
         "another receipt", "no receipt", "one more behind the end"],
)  # fmt: skip
def test_an_export_is_all_of_a_time_and_in_its_order(
    made: Decided, change: Callable[[Items], object]
) -> None:
    """Whoever hands an officer fewer, other or reordered records is found out by one receipt."""
    octets = made.export()
    assert len(read_export(octets)) == 6
    with pytest.raises((Forged, InvalidInput)):
        read_export(rewritten(octets, change))


def test_an_export_of_another_log_is_not_believed(made: Decided) -> None:
    """The receipt is the log's that the records say they are of."""

    def theirs(_log: str, receipt: audit_pb2.Receipt) -> None:
        check("gateway/gw-2", receipt)

    with pytest.raises(Forged):
        read_export(made.export(), check=theirs)


def test_another_replay_key_opens_nothing(made: Decided) -> None:
    """Only the officer's private key opens the content keys."""
    with pytest.raises(Forged) as caught:
        read_export(made.export(), private=STRANGER)
    assert caught.value.code == "UNSEALABLE"


def test_an_export_that_was_cut_is_refused_wherever_it_was(made: Decided) -> None:
    """No prefix of an export is taken for the whole."""
    octets = made.export()
    for end in (0, 5, len(octets) // 3, len(octets) // 2, len(octets) - 1):
        with pytest.raises(FairleadError):
            read_export(octets[:end])


def test_no_octet_of_a_sealed_batch_can_change(made: Decided) -> None:
    """Ciphertext, records in clear and place in the chain are authenticated together."""
    row = made.rows()[1]
    key = open_key(made.sealed_key(row), "gateway/gw-1", OFFICER)
    assert len(open_batch(read_batch(row.octets), key)) == 2
    message = decisions_pb2.DecisionBatch.FromString(row.octets)
    for change in (
        {"sealed": message.sealed[:-1]},
        {"sealed": bytes([message.sealed[0] ^ 1]) + message.sealed[1:]},
        {"sealed": message.sealed[:-1] + bytes([message.sealed[-1] ^ 1])},
        {"number": message.number + 1},
        {"previous": bytes(32)},
        {"log": "gateway/gw-2"},
        {"time_ms": message.time_ms + 1},
    ):
        changed = decisions_pb2.DecisionBatch.FromString(row.octets)
        for name, value in change.items():
            setattr(changed, name, value)
        with pytest.raises(Forged):
            open_batch(read_batch(signing.canonical(changed)), key)


async def test_two_inputs_swapped_by_whoever_has_the_content_key_are_found(
    tmp_path: Path,
) -> None:
    """An insider who reads the key in memory cannot give one record another's input."""
    made = Decided(path=tmp_path / "audit.sqlite")
    made.admit()
    made.admit(user_assigned=False)
    await made.commit()
    (row,) = made.rows()
    key = open_key(made.sealed_key(row), "gateway/gw-1", OFFICER)
    made.close()
    swapped = _reseal(row.octets, key)
    with pytest.raises(Forged) as caught:
        open_batch(read_batch(swapped), key)
    assert caught.value.code == "DECISION_INPUT"


def _reseal(octets: bytes, key: AESGCM) -> bytes:
    """The same batch with its first two inputs exchanged, sealed as the process would."""
    import zlib

    message = decisions_pb2.DecisionBatch.FromString(octets)
    sealed, message.sealed = message.sealed, b""
    padded = key.decrypt(sealed[:NONCE], sealed[NONCE:], signing.canonical(message))
    plain = zlib.decompress(sealing.unpad(padded, len(padded)))
    salt, rest, frames = plain[:32], plain[32:], []
    while rest:
        size = 4 + int.from_bytes(rest[:4], "big")
        frames.append(rest[:size])
        rest = rest[size:]
    rows, first, second = frames
    packed = zlib.compress(salt + rows + second + first)
    nonce = bytes(NONCE)
    size = -(-(len(packed) + 4) // 256) * 256
    message.sealed = nonce + key.encrypt(
        nonce, sealing.pad(packed, size), signing.canonical(message)
    )
    return signing.canonical(message)


def test_a_content_key_of_another_log_does_not_open(made: Decided) -> None:
    """A key is sealed for one log: it opens no other log's batches, whoever moves it."""
    theirs = ContentKey.make("gateway/gw-2", 1, OFFICER.public_bytes())
    with pytest.raises(Forged):
        open_key(theirs.sealed, "gateway/gw-1", OFFICER)


def test_a_content_key_that_a_batch_does_not_name_is_refused(made: Decided) -> None:
    """The key beside a batch is the one that its leaf bound."""

    def other(items: Items) -> None:
        items[places(items, "key")[0]].key = ContentKey.make(
            "gateway/gw-1", 1, OFFICER.public_bytes()
        ).sealed

    with pytest.raises(InvalidInput) as caught:
        read_export(rewritten(made.export(), other))
    assert caught.value.code == "DECISION_KEY"


def test_records_written_after_a_restart_go_on_in_the_chain(tmp_path: Path) -> None:
    """Nobody can begin a second chain: the process goes on from what its log holds."""
    for _ in range(2):
        made = Decided(path=tmp_path / "audit.sqlite")
        made.story(1)
        first, *rest = made.rows()
        asyncio.run(made.commit())
        made.close()
    assert [row.number for row in (first, *rest)] == [1, 2]
    assert read_batch(rest[0].octets).previous == read_batch(first.octets).digest
