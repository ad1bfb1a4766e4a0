"""The audit log: a durable, append-only Merkle log of :class:`AuditLeaf`.

It lies in one SQLite file of one process, or in a PostgreSQL database that several gateways append
to. An append is acknowledged only when its leaf, and a signed checkpoint that covers it, are on
disk. One writer thread commits up to 256 waiting appends in one transaction, because a flush
costs the same for one as for many. A failed write is final: the log never guesses whether its
last bytes reached the disk, it stops, and whoever serves from it stops too.
"""

from fairlead.auditlog.copying import copy_log
from fairlead.auditlog.database_url import DatabaseUrl, Place
from fairlead.auditlog.heads import put_foreign_head
from fairlead.auditlog.log import AuditLog
from fairlead.auditlog.places import snapshot
from fairlead.auditlog.proving import receipt_at, receipts_of
from fairlead.auditlog.store import Also, Beside, Companion, Connection, Reading
from fairlead.auditlog.verification import (
    LogReport,
    claimed_origin,
    verify_log,
    verify_unerased,
)
from fairlead.auditlog.writer import BATCH, Appended

__all__ = [
    "BATCH",
    "Also",
    "Appended",
    "AuditLog",
    "Beside",
    "Companion",
    "Connection",
    "DatabaseUrl",
    "LogReport",
    "Place",
    "Reading",
    "claimed_origin",
    "copy_log",
    "put_foreign_head",
    "receipt_at",
    "receipts_of",
    "snapshot",
    "verify_log",
    "verify_unerased",
]
