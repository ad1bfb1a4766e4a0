"""The asker's side of publications: snapshots of owners' indexes, held before anybody asks.

Everything that is meant for this node is fetched as it appears, so that fetching says nothing about
a question. What is held was verified, stands in the node's log, and gives way to a later one only.
"""

from node.snapshots.held import MIGRATIONS, HeldShelf, report_row
from node.snapshots.store import Exchange, Snapshots, Usable

__all__ = ["MIGRATIONS", "Exchange", "HeldShelf", "Snapshots", "Usable", "report_row"]
