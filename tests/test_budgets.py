"""Budgets: nothing is spent twice, nothing is lost, nothing refills before its time."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fairlead import budgets, signing, storage
from fairlead.auditlog import AuditLog
from fairlead.budgets import DAY_S, Budget, BudgetExhausted, Charge, account, check, spend
from fairlead.v1 import audit_pb2
from tests.federation import ROOT

NOON = 1_795_003_200.0
"""Noon, UTC, of Wednesday, 18 November 2026."""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
USER = Budget(name="user_day", limit=10)
WEEK = Budget(name="case_week", limit=25, days=7)


def leaf(number: int) -> bytes:
    made = audit_pb2.AuditLeaf(
        type=audit_pb2.LEAF_TYPE_HISTORY, time_ms=number, log="partner/customs", subject="x"
    )
    return signing.canonical(made)


def open_log(path: Path) -> AuditLog:
    return AuditLog.open(
        path, origin="budgets", key=KEY, clock=lambda: NOON, migrations=budgets.MIGRATIONS
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    opened = open_log(tmp_path / "audit.sqlite")
    yield opened
    opened.close()


def charge(terms: int, budget: Budget = USER, holder: str = "u-c01/container") -> Charge:
    return Charge(budget=budget, holder=holder, terms=terms)


async def pay(
    log: AuditLog, token: bytes, *charges: Charge, now: float = NOON, number: int = 0
) -> None:
    await log.append(leaf(number), also=lambda c: spend(c, token, charges, now))


def left(log: AuditLog, budget: Budget = USER, now: float = NOON) -> int:
    return account(log.read, budget, "u-c01/container", now).left


# ── One account ──────────────────────────────────────────────────────────────────────────────


async def test_a_repetition_spends_nothing(log: AuditLog) -> None:
    """The same token pays once, also for more, also when nothing is left."""
    await pay(log, b"one", charge(10))
    await pay(log, b"one", charge(10))
    assert left(log) == 0


async def test_a_refusal_spends_nothing_and_leaves_no_leaf(log: AuditLog) -> None:
    """What is not left is taken from no account, and the same token may pay later."""
    await pay(log, b"one", charge(8), charge(8, WEEK))
    with pytest.raises(BudgetExhausted):
        await pay(log, b"two", charge(8, WEEK), charge(3))
    assert (left(log), left(log, WEEK), log.head.size) == (2, 17, 1)
    await pay(log, b"two", charge(2))
    assert left(log) == 0


async def test_the_refusal_says_when_and_names_nobody(log: AuditLog) -> None:
    """The code is stable, the remedy has the moment in UTC, and no holder shows."""
    await pay(log, b"one", charge(9))
    with pytest.raises(BudgetExhausted) as caught:
        check(log.read, [charge(2)], NOON)
    said = caught.value.diagnostics()
    assert caught.value.reasons == ("BUDGET_EXHAUSTED",)
    assert "1 of 10 terms left until 2026-11-19 00:00Z" in said
    assert "u-c01" not in said
    assert "container" not in said


@pytest.mark.parametrize(
    ("budget", "full_again"), [(USER, "2026-11-19 00:00Z"), (WEEK, "2026-11-23 00:00Z")]
)
async def test_a_window_ends_at_midnight_and_a_week_on_sunday(
    log: AuditLog, budget: Budget, full_again: str
) -> None:
    """At the moment named, and not a second before, the account is full again."""
    await pay(log, b"one", charge(5, budget))
    found = account(log.read, budget, "u-c01/container", NOON)
    assert budgets.moment(found.refills_at) == full_again
    assert left(log, budget, found.refills_at - 1) == budget.limit - 5
    assert left(log, budget, found.refills_at) == budget.limit


async def test_accounts_do_not_share(log: AuditLog) -> None:
    """Another holder, or another budget of the same holder, has its own limit."""
    await pay(log, b"one", charge(10))
    await pay(log, b"two", charge(10, holder="u-c02/container"), charge(10, WEEK))
    assert (left(log), left(log, WEEK)) == (0, 15)


async def test_a_lowered_limit_holds_at_once(log: AuditLog) -> None:
    """An operator who lowers a limit below what was spent leaves nothing, not less."""
    await pay(log, b"one", charge(9))
    assert left(log, Budget(name="user_day", limit=4)) == 0


async def test_a_clock_set_back_refills_nothing(log: AuditLog) -> None:
    """Yesterday does not come again, however often the clock is moved."""
    await pay(log, b"one", charge(10))
    for moved in (-1, -DAY_S, -30 * DAY_S):
        assert left(log, now=NOON + moved) == 0
        with pytest.raises(BudgetExhausted):
            await pay(log, b"two", charge(1), now=NOON + moved)
    await pay(log, b"three", charge(1), now=NOON + DAY_S)
    assert left(log, now=NOON) == 9


async def test_two_at_once_cannot_both_take_the_last(log: AuditLog) -> None:
    """Of forty queries for one term each, started together, exactly as many pass as are left."""
    work = [pay(log, bytes([n]), charge(1), number=n) for n in range(40)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert sum(result is None for result in results) == 10
    assert sum(isinstance(result, BudgetExhausted) for result in results) == 30
    assert (left(log), log.head.size) == (0, 10)


# ── Every order of events ────────────────────────────────────────────────────────────────────


class Ledger(RuleBasedStateMachine):
    """A ledger against a list of what was paid, under a clock that goes anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.path = Path(os.environ.get("TMPDIR", "/tmp")) / f"ledger-{os.getpid()}.sqlite"

    @initialize()
    def begin(self) -> None:
        self.path.unlink(missing_ok=True)
        self.database = storage.open_database(self.path, budgets.MIGRATIONS)
        self.paid: dict[bytes, list[Charge]] = {}
        self.windows: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            for file in self.path.parent.glob(f"{self.path.name}*"):
                file.unlink()

    def read(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, parameters).fetchall()

    def expected(self, budget: Budget, holder: str) -> tuple[int, int]:
        """The window an account is in, and what was paid in it."""
        known = self.windows.get((budget.name, holder), [])
        window = max([budget.window(self.now), *(w for w, _ in known)])
        return window, sum(terms for w, terms in known if w == window)

    @rule(
        token=st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
        terms=st.integers(1, 12),
        holder=st.sampled_from(["u-1", "u-2"]),
        weekly=st.booleans(),
        crash=st.booleans(),
    )
    def pay(self, *, token: bytes, terms: int, holder: str, weekly: bool, crash: bool) -> None:
        charges = [charge(terms, USER, holder), *([charge(terms, WEEK, "k")] if weekly else [])]
        expected = [(c, *self.expected(c.budget, c.holder)) for c in charges]
        fits = all(spent + c.terms <= c.budget.limit for c, _, spent in expected)
        self.database.execute("BEGIN IMMEDIATE")
        try:
            spend(self.database, token, charges, self.now)
        except BudgetExhausted:
            self.database.execute("ROLLBACK")
            assert token not in self.paid
            assert not fits
            return
        assert token in self.paid or fits
        if crash:
            self.database.close()  # as a killed process leaves it: nothing was committed
            self.database = storage.open_database(self.path, budgets.MIGRATIONS)
            return
        self.database.execute("COMMIT")
        if token not in self.paid:
            self.paid[token] = charges
            for c, window, _ in expected:
                self.windows.setdefault((c.budget.name, c.holder), []).append((window, c.terms))

    @rule(seconds=st.integers(-3 * DAY_S, 3 * DAY_S))
    def move(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.database = storage.open_database(self.path, budgets.MIGRATIONS)

    @invariant()
    def agrees(self) -> None:
        for budget, holder in ((USER, "u-1"), (USER, "u-2"), (WEEK, "k")):
            found = account(self.read, budget, holder, self.now)
            assert (found.window, found.spent) == self.expected(budget, holder)
            assert found.spent <= budget.limit


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# ── A power cut ──────────────────────────────────────────────────────────────────────────────

PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.test_budgets import Budget, charge, open_log, pay
ACCOUNT = Budget(name="user_day", limit=10**9)
async def main():
    log = open_log(Path(sys.argv[1]))
    async def task(lane):
        for number in range(10**6):
            token = f"{log.head.size}/{lane}/{number}/{sys.argv[2]}".encode()
            await pay(log, token, charge(3, ACCOUNT), number=number)
            print(".", end="", flush=True)
    await asyncio.gather(*map(task, range(16)))
asyncio.run(main())
"""


def test_kills_neither_lose_nor_double_what_was_spent(tmp_path: Path) -> None:
    """After kill -9 under load, five times on one log, three terms are spent for every leaf."""
    path = tmp_path / "audit.sqlite"
    chance = random.Random(18)
    for round_ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), str(round_)],
            cwd=ROOT, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.read(16)  # it has begun
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        database = sqlite3.connect(path)
        ((leaves,),) = database.execute("SELECT count(*) FROM leaf")
        ((spent,),) = database.execute("SELECT spent FROM budget")
        database.close()
        assert leaves > 0
        assert spent == 3 * leaves
