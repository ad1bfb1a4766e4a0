"""The node's half of reconciliation: it asks every hour, judges by its own log, and signs."""

from node.reconciling.calling import Calling
from node.reconciling.reconciler import OVERDUE_S, Reconciler, Witnessing
from node.reconciling.resuming import resume
from node.reconciling.standing import MIGRATIONS, State, last_told

__all__ = [
    "MIGRATIONS",
    "OVERDUE_S",
    "Calling",
    "Reconciler",
    "State",
    "Witnessing",
    "last_told",
    "resume",
]
