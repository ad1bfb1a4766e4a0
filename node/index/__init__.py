"""The owner's index: keyed tokens instead of identifiers, sealed records instead of content.

A token is BLAKE2b-128, keyed with a secret of this node, over
``norm_version|scheme|canonical value``. A record is AES-256-GCM-SIV (RFC 8452) under a second
secret, with its opaque reference as associated data, padded so that its length tells little.
Whoever reads the file, or watches the database that the records came from, learns neither what
is held nor what was asked; the file does show how many records share a token.

The file is written once, as a whole, beside the one in use, and then takes its place. Nobody
writes to it afterwards: it is opened immutable and needs no write-ahead log. Its root is
recomputed when it is opened, so a row that somebody removed shows.

Every lookup runs the same statement and opens at least one sealed record, a decoy when nothing
is found. It takes longer the more it finds: that is why answers leave on the protocol's tick.
"""

from node.index.build import BuildReport
from node.index.index import Index
from node.index.record import IndexedRecord

__all__ = ["BuildReport", "Index", "IndexedRecord"]
