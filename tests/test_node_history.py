"""The vault and the history: nothing in clear, nothing moved, nothing kept that could reopen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.envelope.query import Scope
from fairlead.errors import Misconfigured, NotFound
from fairlead.v1 import asking_pb2, query_pb2
from node.batch import Batch
from node.feedback import FeedbackBook
from node.history import History
from node.kept import KeptAnswer, Opening
from node.opening import VAULT_MIGRATIONS
from node.termlist import TermList
from node.vault import Vault
from tests.walks import NOW

KEY = bytes(range(32))
TERM = "MSCU6639870"


def listed(vault: Vault, number: int = 1) -> TermList:
    """A list of one term and one row."""
    rows = [asking_pb2.Row(text=TERM, term=1)]
    content = {
        0: (0, [("container", TERM)]),
        1: (0, [row.SerializeToString().hex() for row in rows]),
    }
    return TermList(vault, bytes([number]) * 16, {"container": 1}, 1, tails=content)


def batch(vault: Vault, number: int = 1) -> Batch:
    """A batch of one term."""
    return Batch(
        batch_id=bytes([number]) * 16,
        user="spiffe://fairlead.demo/partner/customs/user/u-c01",
        user_name="u-c01",
        case_id="CASE-1",
        mandate=query_pb2.Mandate(purpose="drug-trafficking").SerializeToString(),
        signature=b"signature",
        certificate=b"certificate",
        session=Ed25519PrivateKey.generate(),
        terms=listed(vault, number),
        nonce_seed=bytes(32),
        roots=(bytes(32),),
        salts={"police": bytes(32)},
        scope=Scope(since=1, until=2, events=("gate-in",), tlp=3, pap=2),
        not_asked={"oceanic-line": "BLIND_REQUIRED"},
        asked_at=int(NOW),
        case_retention_days=10,
    )


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    opened = Vault.open(tmp_path / "history.sqlite", key=KEY, migrations=VAULT_MIGRATIONS)
    yield opened
    opened.close()


def line(partner: str = "police") -> asking_pb2.OpenedAnswer:
    return asking_pb2.OpenedAnswer(partner_id=partner, status=query_pb2.STATUS_ANSWERED)


def test_a_batch_survives_its_own_octets(vault: Vault) -> None:
    """What is read back is what was kept, the session key too."""
    made = batch(vault)
    read = Batch.from_bytes(made.to_bytes(), made.terms)
    assert read.session.private_bytes_raw() == made.session.private_bytes_raw()
    assert read.to_bytes() == made.to_bytes()
    assert read.opened() == made.opened()


async def test_what_was_begun_is_found_by_either_id(vault: Vault) -> None:
    """By the batch's own id and by that of a chunk; anything else is unknown."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets")
    await kept.put_chunk(made.batch_id, 0, b"n" * 16, b"other octets")
    assert kept.find(made.batch_id) == kept.find(b"n" * 16) == made.batch_id
    chunk = kept.chunk(made.batch_id, 0)
    assert chunk is not None
    assert (chunk.request, chunk.done) == (b"other octets", False)
    with pytest.raises(NotFound):
        kept.find(bytes(16))


async def test_a_finished_batch_cannot_be_reopened(vault: Vault) -> None:
    """Request, reply key and session key are gone with the last line; summary and line stay."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets")
    await kept.put_line(made, 0, line(), 90, NOW)
    await kept.finish_chunk(made, 0, asking_pb2.Evidence(outcome=b"o"), made.batch_id)
    assert kept.batch(made.batch_id) is None
    chunk = kept.chunk(made.batch_id, 0)
    assert chunk is not None
    assert (chunk.request, chunk.done) == (b"", True)
    assert kept.lines(made.batch_id, 0, NOW) == [line()]
    assert kept.summary(made.batch_id).chunks_done == 1
    assert kept.evidence(made.batch_id, 0, NOW) == asking_pb2.Evidence(outcome=b"o")


async def test_what_proves_an_answer_goes_with_it(vault: Vault) -> None:
    """Each body goes when its line does, and with the last one the key that opens them; what opens
    the question stays as long as the question."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets")
    headers = {}
    for partner, days in (("police", 1), ("oceanic-line", 3)):
        answer = KeptAnswer(body=partner.encode(), looked=[{"scheme": "container"}])
        await kept.put_line(made, 0, line(partner), days, NOW, answer=answer)
        header = query_pb2.AnswerHeader(partner_id=partner, status=query_pb2.STATUS_ANSWERED)
        headers[partner] = header.SerializeToString()
    evidence = asking_pb2.Evidence(
        answers=[
            query_pb2.SignedAnswer(header=header, body=partner.encode())
            for partner, header in headers.items()
        ]
    )
    opening = Opening(asked=made.asked_document(), reply=b"r" * 96)
    await kept.finish_chunk(made, 0, evidence, made.batch_id, opening=opening)
    assert kept.evidence(made.batch_id, 0, NOW) == evidence
    assert not any(item.body for item in kept.signed(made.batch_id, 0).answers)
    for days, left, reply in ((2, {"oceanic-line"}, b"r" * 96), (4, set(), b"")):
        now = NOW + days * 86_400
        assert kept.proofs.answers(made.batch_id, 0, now).keys() == left
        await kept.expire(now)
        assert kept.evidence(made.batch_id, 0, now) is None
        found = kept.proofs.opening(made.batch_id, 0)
        assert found is not None
        assert (found.reply, found.asked) == (reply, made.asked_document())
    await kept.expire(NOW + 11 * 86_400)
    assert kept.proofs.opening(made.batch_id, 0) is None


@pytest.mark.parametrize(("owner", "days"), [(3, 3), (90, 10)])
async def test_the_shorter_retention_wins(vault: Vault, owner: int, days: int) -> None:
    """An answer is kept as long as its owner and the case both allow."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets")
    await kept.put_line(made, 0, line(), owner, NOW)
    end = NOW + days * 86_400
    assert kept.lines(made.batch_id, 0, end) == []
    assert len(kept.lines(made.batch_id, 0, end - 1)) == 1


async def test_nothing_is_in_clear_or_can_be_moved(vault: Vault, tmp_path: Path) -> None:
    """The file holds no term and no case; a line moved to another partner does not open."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets of the request")
    await kept.put_line(made, 0, line(), 90, NOW)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (TERM.encode(), b"CASE-1", b"octets of the request", b"drug-trafficking"):
        assert secret not in data
    await vault.write(lambda c: c.execute("UPDATE line SET partner_id = 'terminal-north'"))
    with pytest.raises(Misconfigured) as caught:
        kept.lines(made.batch_id, 0, NOW)
    assert caught.value.code == "HISTORY_KEY"


async def test_another_secret_opens_nothing(vault: Vault, tmp_path: Path) -> None:
    """A history beside a secret from another backup says which file is wrong."""
    made = batch(vault)
    await History(vault).begin(made, made.batch_id, b"octets")
    other = Vault.open_readonly(tmp_path / "history.sqlite", key=os.urandom(32))
    try:
        with pytest.raises(Misconfigured) as caught:
            History(other).summary(made.batch_id)
    finally:
        other.close()
    assert "history.secret" in caught.value.remedy


async def test_a_write_that_fails_changes_nothing(vault: Vault) -> None:
    """A batch begun twice is an error, and the first one stands."""
    kept, made = History(vault), batch(vault)
    await kept.begin(made, made.batch_id, b"octets")
    with pytest.raises(Exception, match="UNIQUE"):
        await kept.begin(made, b"n" * 16, b"other")
    with pytest.raises(NotFound):
        kept.find(b"n" * 16)


async def test_the_list_is_ones_own_and_newest_first(vault: Vault) -> None:
    """An auditor's list, which names no user, holds everybody's."""
    kept = History(vault)
    for number in (1, 2, 3):
        made = batch(vault, number)
        await kept.begin(made, made.batch_id, b"octets")
    assert [item.query_id[0] for item in kept.listed("u-c01")] == [3, 2, 1]
    assert kept.listed("u-c03") == []
    assert len(kept.listed(None)) == 3


async def test_feedback_is_kept_no_longer_than_answers_may_be(vault: Vault) -> None:
    """It names a term, so it goes with its time; what is younger stays."""
    book = FeedbackBook(vault)
    for number, now in ((1, NOW), (2, NOW + 86_400)):
        body = query_pb2.FeedbackBody(feedback_id=bytes([number]) * 16, query_id=b"q" * 16)
        await book.put(body, partner_id="police", received=False, now=now)
    assert await book.expire(NOW) == 1
    assert [kept.time_s for kept in book.listed()] == [int(NOW) + 86_400]
