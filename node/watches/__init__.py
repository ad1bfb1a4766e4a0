"""Watches: blind queries that stand, looked up again at home whenever a later snapshot is here.

Nothing of a watch leaves the node once its query was asked: what its owners evaluated is kept,
encrypted, until its epoch, its case, its user's order or its user's standing ends.
"""

from node.watches.shelf import MIGRATIONS, WatchShelf
from node.watches.watches import Watches

__all__ = ["MIGRATIONS", "WatchShelf", "Watches"]
