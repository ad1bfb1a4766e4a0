"""The owner's index: keyed tokens instead of identifiers, sealed records instead of content.

A token is BLAKE2b-128, keyed with a secret of this node, over
``norm_version|scheme|canonical value``. A record is AES-256-GCM-SIV (RFC 8452) under a second
secret, with its key as associated data, padded so that its length tells little; its identifiers
are sealed with it, because a blind index is made of them. When anything happened or expires is
masked. Whoever reads the file, or watches the database that the records
came from, learns neither what is held nor what was asked; the file does show how many records
share a token, and which records came from the same part of a source.

One process refreshes the file (:class:`IndexWriter`, a SQLite database with a write-ahead log)
while others answer from it (:class:`Index`): a source is read into a file beside it, and applied
in short transactions once the reading is complete. The description of the content is sealed and
kept up to date with each transaction, so that opening takes no longer for many records than for
few; that the content is what the description says is :func:`verify_index`'s to find out.

Every lookup runs the same statement and opens at least one sealed record, a decoy when nothing
is found. It takes longer the more it finds: that is why answers leave on the protocol's tick.
"""

from node.index.build import BuildReport
from node.index.index import Index
from node.index.record import IndexedRecord
from node.index.source_state import PartState, SourceState
from node.index.verification import Verified, verify_index
from node.index.writer import IndexWriter, Progress

__all__ = [
    "BuildReport",
    "Index",
    "IndexWriter",
    "IndexedRecord",
    "PartState",
    "Progress",
    "SourceState",
    "Verified",
    "verify_index",
]
