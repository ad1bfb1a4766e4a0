"""What this node could state of a cube: figures of its own records, cell by cell.

``port`` is what every origin of figures offers, ``tally`` puts records into the cells of a level,
and ``adding`` adds up what the origins of one cube have. No figure leaves a node from here.
"""

from node.figures.adding import Figures
from node.figures.port import Counted, FiguresOf, FiguresUnusable

__all__ = ["Counted", "Figures", "FiguresOf", "FiguresUnusable"]
