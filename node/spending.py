"""What a query costs: on the accounts of those who ask, and on those an owner keeps of them.

An asker pays for a whole mandate with its first INTENT, whatever becomes of its chunks. An owner
is paid chunk by chunk, as it is asked. Neither asks the other.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from fairlead import budgets
from fairlead.auditlog import AuditLog
from fairlead.budgets import Account, Budget, Charge
from fairlead.config import Budgets
from fairlead.envelope.query import Query
from fairlead.identifiers.matching import keys_per_term
from fairlead.policy.decision import Audience, Reason
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.cases import Case

Payment = Callable[[sqlite3.Connection], None]
"""Work for the transaction of an INTENT leaf."""
WEEK = 7
BUDGET_EXHAUSTED = Reason(code=budgets.BudgetExhausted.default_code, audience=Audience.REQUESTER)


class AskerBudgets:
    """What the own users may ask: per user, scheme and day; per case and week; all of them."""

    def __init__(
        self, limits: Budgets, *, partner_id: str, log: AuditLog, clock: Callable[[], float]
    ) -> None:
        self._user = Budget(name="user_day", limit=limits.user_day)
        self._case = Budget(name="case_week", limit=limits.case_week, days=WEEK)
        self._partner = Budget(name="partner_day", limit=limits.partner_day)
        self._partner_id = partner_id
        self._log = log
        self._clock = clock

    def charges(
        self,
        user: str,
        case_id: str,
        schemes: Mapping[str, int],
        mode: int = query_pb2.MODE_SEALED,
    ) -> list[Charge]:
        """What so many terms of each scheme cost a user, by pseudonym, under a case.

        A term that is asked blind costs what its owners are asked to evaluate: a person four, for
        nobody there can see whether its four elements are of one name.
        """
        if mode == query_pb2.MODE_BLIND:
            schemes = {s: count * keys_per_term(s) for s, count in schemes.items()}
        terms = sum(schemes.values())
        return [
            *_by_scheme(self._user, user, schemes),
            Charge(budget=self._case, holder=case_id, terms=terms),
            Charge(budget=self._partner, holder=self._partner_id, terms=terms),
        ]

    def check(self, charges: Sequence[Charge]) -> None:
        """:raises BudgetExhausted: they cannot be paid now; nothing is spent either way."""
        budgets.check(self._log.read, charges, self._clock())

    def payment(self, batch: Batch, *, beyond: bool = False) -> Payment:
        """Pay for a batch with its first INTENT, and for none of its later ones.

        :param beyond: also where the budgets have too little left: an approver let it.
        """
        charges = self.charges(batch.user_name, batch.case_id, batch.terms.schemes, batch.mode)
        token, now = batch.content.session_key, self._clock()
        return lambda connection: budgets.spend(connection, token, charges, now, beyond=beyond)

    def paid(self, batch: Batch) -> bool:
        """Whether a batch had its first INTENT."""
        token = batch.content.session_key
        return bool(self._log.read("SELECT 1 FROM budget_paid WHERE token = ?", (token,)))

    def costs(self, charges: Sequence[Charge]) -> list[pb.BudgetAccount]:
        """What a query will spend, and what is left before."""
        return [_wire(self._account(c.budget, c.holder), spends=c.terms) for c in charges]

    def listed(self, user: str, cases: Iterable[Case]) -> list[pb.BudgetAccount]:
        """Every account a user may ask on: one for each scheme of its open cases, the cases'
        and the partner's."""
        mine = sorted((case for case in cases if user in case.members), key=attrgetter("case_id"))
        still = [case for case in mine if case.open_at(self._clock())]
        schemes = sorted({scheme for case in still for scheme in case.schemes})
        accounts = [self._account(self._user, _holder(user, scheme)) for scheme in schemes]
        accounts += [self._account(self._case, case.case_id) for case in still]
        accounts.append(self._account(self._partner, self._partner_id))
        return [_wire(found) for found in accounts]

    def _account(self, budget: Budget, holder: str) -> Account:
        return budgets.account(self._log.read, budget, holder, self._clock())


class OwnerBudgets:
    """What others may ask this owner: per user, scheme and day, and per partner and day; and
    what a partner may ask urgently in a day, beside both."""

    def __init__(self, limits: Budgets, *, log: AuditLog, clock: Callable[[], float]) -> None:
        self._user = Budget(name="asked_user_day", limit=limits.asked_user_day)
        self._partner = Budget(name="asked_partner_day", limit=limits.asked_partner_day)
        self._urgent = Budget(name="asked_urgent_day", limit=limits.asked_urgent_day)
        self._log = log
        self._clock = clock

    def charges(self, query: Query, schemes: Sequence[str]) -> list[Charge]:
        """What a chunk costs its user and its partner: the scheme of each of its terms, or of
        each blinded element. What an approver there signed as urgent costs its partner on an
        account apart, and nothing else."""
        partner = query.asker.partner_id
        if query.urgent:
            return [Charge(budget=self._urgent, holder=partner, terms=len(schemes))]
        return [
            *_by_scheme(self._user, f"{partner}/{query.user.name}", Counter(schemes)),
            Charge(budget=self._partner, holder=partner, terms=len(schemes)),
        ]

    def check(self, charges: Sequence[Charge]) -> None:
        """:raises BudgetExhausted: they cannot be paid now; nothing is spent either way."""
        budgets.check(self._log.read, charges, self._clock())

    def payment(self, query: Query, charges: Sequence[Charge]) -> Payment:
        """Pay for a chunk, once."""
        token, now = query.session_key + query.chunk.to_bytes(4, "big"), self._clock()
        return lambda connection: budgets.spend(connection, token, charges, now)


def _by_scheme(budget: Budget, user: str, schemes: Mapping[str, int]) -> list[Charge]:
    counted = sorted(schemes.items())
    return [Charge(budget=budget, holder=_holder(user, s), terms=n) for s, n in counted]


def _holder(user: str, scheme: str) -> str:
    """No name and no case reference holds a blank."""
    return f"{user} {scheme}"


def _wire(found: Account, *, spends: int = 0) -> pb.BudgetAccount:
    return pb.BudgetAccount(
        budget=found.budget.name,
        holder=found.holder.rpartition(" ")[2],
        limit=found.budget.limit,
        left=found.left,
        refills_at=found.refills_at,
        spends=spends,
    )
