"""Decision records: what was decided on what input, sealed, bound into the audit log.

A decision leaves a record in memory before anybody acts on it. Whatever is in memory when the audit
log begins a transaction is written in that transaction, under a leaf that stands before all others
of it: so no INTENT, RELEASE or REFUSAL is durable without the decisions that it rests on. Records
of one transaction are one *batch*: compressed, sealed and written once, on the log's own thread.
"""

from fairlead.decisions.batch import Batch, open_batch, read_batch
from fairlead.decisions.occasion import Occasion, about, holding
from fairlead.decisions.opening import load_public, open_recorder
from fairlead.decisions.recorder import BatchRecorder, Once
from fairlead.decisions.shelf import expire, keep_house

__all__ = [
    "Batch",
    "BatchRecorder",
    "Occasion",
    "Once",
    "about",
    "expire",
    "holding",
    "keep_house",
    "load_public",
    "open_batch",
    "open_recorder",
    "read_batch",
]
