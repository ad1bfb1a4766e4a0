"""Budgets: how many terms may be asked on one account in a window of whole UTC days.

The ledger is two tables in the file of the audit log (PROTOCOL §3). :func:`spend` runs in the
transaction of the INTENT leaf, on the log's one writing thread: what is on the record is spent,
what is not is not, and two queries at once cannot both take the last term. Whatever was paid for
once, known by a token, is never paid for again.

A window never begins twice: a clock that goes back leaves an account in the window it was in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fairlead.errors import Refused

MIGRATIONS = (
    """
    CREATE TABLE budget (
        name TEXT NOT NULL,
        holder TEXT NOT NULL,
        window INTEGER NOT NULL,
        spent INTEGER NOT NULL,
        PRIMARY KEY (name, holder)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE budget_paid (token BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    """,
)
DAY_S = 86_400
_MONDAY_S = 3 * DAY_S
"""Unix time began on a Thursday, and a week's window begins on a Monday."""

Read = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]
"""Runs one small query on the ledger, as :meth:`fairlead.auditlog.AuditLog.read` does."""


class BudgetExhausted(Refused):
    """What a query would spend is not left; the remedy says when the budget is full again."""

    default_code = "BUDGET_EXHAUSTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most ``limit`` terms on each account in every window of ``days`` UTC days."""

    name: str
    """The key of the configuration that sets the limit."""
    limit: int
    days: int = 1

    def window(self, now: float) -> int:
        """The number of the window of a unix time."""
        return int((now + _MONDAY_S) // (self.days * DAY_S))

    def end(self, window: int) -> int:
        """When a window ends, in unix seconds: the budget is full again."""
        return (window + 1) * self.days * DAY_S - _MONDAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """So many terms on the account of one holder."""

    budget: Budget
    holder: str
    terms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How one holder stands. ``refills_at`` in unix seconds."""

    budget: Budget
    holder: str
    window: int
    spent: int

    @property
    def left(self) -> int:
        """Terms that may still be asked in this window."""
        return max(0, self.budget.limit - self.spent)

    @property
    def refills_at(self) -> int:
        """When it is full again."""
        return self.budget.end(self.window)


def account(read: Read, budget: Budget, holder: str, now: float) -> Account:
    """How ``holder`` stands at ``now`` (unix seconds)."""
    window, spent = budget.window(now), 0
    rows = read("SELECT window, spent FROM budget WHERE name = ? AND holder = ?",
                (budget.name, holder))  # fmt: skip
    for kept_window, kept_spent in rows:
        if kept_window >= window:  # the same one, or the clock went back since
            window, spent = kept_window, kept_spent
    return Account(budget=budget, holder=holder, window=window, spent=spent)


def check(read: Read, charges: Sequence[Charge], now: float) -> None:
    """Say early what :func:`spend` would say; it alone binds.

    :raises BudgetExhausted: a charge is more than what is left.
    """
    accounts = [(account(read, c.budget, c.holder, now), c.terms) for c in charges]
    short = [found for found, terms in accounts if terms > found.left]
    if short:
        raise _exhausted(max(short, key=lambda found: found.refills_at))


def spend(
    connection: sqlite3.Connection,
    token: bytes,
    charges: Sequence[Charge],
    now: float,
    *,
    beyond: bool = False,
) -> None:
    """Take every charge, or none; work for the transaction of an INTENT leaf.

    :param token: what is paid for: once it is, nothing is taken again.
    :param beyond: take them also where too little is left, which leaves nothing for others.
    :raises BudgetExhausted: a charge is more than what is left.
    """
    if not charges:
        return
    paid = connection.execute("INSERT OR IGNORE INTO budget_paid VALUES (?)", (token,))
    if not paid.rowcount:
        return

    def read(sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        return connection.execute(sql, parameters).fetchall()

    if not beyond:
        check(read, charges, now)
    for charge in charges:
        found = account(read, charge.budget, charge.holder, now)
        connection.execute(
            "INSERT OR REPLACE INTO budget VALUES (?, ?, ?, ?)",
            (charge.budget.name, charge.holder, found.window, found.spent + charge.terms),
        )


def moment(at: float) -> str:
    """A unix time as people read it: UTC, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%MZ}"


def _exhausted(found: Account) -> BudgetExhausted:
    return BudgetExhausted(
        "a budget has too few terms left for this query",
        remedy=f"the budget {found.budget.name} has {found.left} of {found.budget.limit} terms "
        f"left until {moment(found.refills_at)}; see: fairlead budgets",
    )
