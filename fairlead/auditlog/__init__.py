"""The audit log: a durable, append-only Merkle log of :class:`AuditLeaf` in one SQLite file.

An append is acknowledged only when its leaf, and a signed checkpoint that covers it, are on
disk. One writer thread commits up to 256 waiting appends in one transaction, because a flush
costs the same for one as for many. A failed write is final: the log never guesses whether its
last bytes reached the disk, it stops, and whoever serves from it stops too.
"""

from fairlead.auditlog.heads import put_foreign_head
from fairlead.auditlog.log import AuditLog
from fairlead.auditlog.proving import receipt_at, receipts_of
from fairlead.auditlog.verification import LogReport, claimed_origin, verify_log
from fairlead.auditlog.writer import BATCH, Also, Appended, Beside, Companion

__all__ = [
    "BATCH",
    "Also",
    "Appended",
    "AuditLog",
    "Beside",
    "Companion",
    "LogReport",
    "claimed_origin",
    "put_foreign_head",
    "receipt_at",
    "receipts_of",
    "verify_log",
]
