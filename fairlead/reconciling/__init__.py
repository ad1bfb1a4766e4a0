"""Reconciliation: what a node's log and its gateway's must agree on, said, compared and judged.

A node and the gateway each list what their own log records and the other's must record too, by the
leaves they have written since the last time, and each looks the other's entries up in its whole
log. Whatever one log records of the other was durable there before it could be recorded here, so
clocks need not agree and nothing has to settle. ``docs/protocol.md`` has the steps.
"""

from fairlead.reconciling.exchange import (
    OF_LOG,
    Exchange,
    claimed_pair,
    open_reconciliation,
    require_in_log,
    shown,
)
from fairlead.reconciling.judgement import Incident, Judgement, judge, lasting
from fairlead.reconciling.ledger import FILE, Ledger
from fairlead.reconciling.raised import Raised, put_over, put_raised, together
from fairlead.reconciling.statement import (
    ENTRY_OCTETS,
    MAX_ENTRIES,
    Counterstatement,
    Entry,
    Pair,
    Statement,
    Verdict,
    open_counterstatement,
    open_statement,
    open_verdict,
    sign_counterstatement,
    sign_statement,
    sign_verdict,
)
from fairlead.reconciling.witnessed import (
    Cosigned,
    Unwitnessed,
    require_extension,
    require_witnessed,
    size_of,
)

__all__ = [
    "ENTRY_OCTETS",
    "FILE",
    "MAX_ENTRIES",
    "OF_LOG",
    "Cosigned",
    "Counterstatement",
    "Entry",
    "Exchange",
    "Incident",
    "Judgement",
    "Ledger",
    "Pair",
    "Raised",
    "Statement",
    "Unwitnessed",
    "Verdict",
    "claimed_pair",
    "judge",
    "lasting",
    "open_counterstatement",
    "open_reconciliation",
    "open_statement",
    "open_verdict",
    "put_over",
    "put_raised",
    "require_extension",
    "require_in_log",
    "require_witnessed",
    "shown",
    "sign_counterstatement",
    "sign_statement",
    "sign_verdict",
    "size_of",
    "together",
]
