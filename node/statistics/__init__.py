"""This node's part in the rounds in which partners' figures are summed (PROTOCOL §6).

``agreeing`` checks what a gateway wants against this node's own clock and registry, ``taking`` goes
through the rounds and puts on the record what this node says, ``keeping`` is the file of what was
said, and ``seeds`` what masks are made of. No figure leaves but in a masked sum, and no figure, no
cell and no asker is in a leaf, a log line or an error.
"""

from node.statistics.keeping import FILE, FiguresStore
from node.statistics.taking import MIGRATIONS, TakingPart

__all__ = ["FILE", "MIGRATIONS", "FiguresStore", "TakingPart"]
