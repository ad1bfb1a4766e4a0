"""``fairlead budgets``: how many terms may still be asked, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fairlead.cli.options import OutputOption, ProfileOption, connect, when
from fairlead.cli.output import Format, awaited, emit

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

COLUMNS = ("budget", "of", "limit", "left", "refills")


def budgets(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """Show what is left of your budgets of terms."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[asking_pb2.BudgetAccount]:
        client, _, _ = connect(profile)
        async with client:
            listed = await client.stub.ListBudgets(asking_pb2.ListBudgetsRequest(), timeout=10)
            return list(listed.accounts)

    emit([record(account) for account in awaited(run())], columns=COLUMNS, output=output)


def record(account: asking_pb2.BudgetAccount) -> dict[str, object]:
    """One account, for printing."""
    return {
        "budget": account.budget,
        "of": account.holder,
        "limit": account.limit,
        "left": account.left,
        "refills": when(account.refills_at),
    }


def costs(accounts: Iterable[asking_pb2.BudgetAccount]) -> list[dict[str, object]]:
    """What a drafted query will spend, for printing."""
    return [{**record(account), "spends": account.spends} for account in accounts]
