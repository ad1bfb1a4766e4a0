"""An owner's own register: reports, the enquiries that ensue, and what came of them.

It is kept at the node and read by its owner alone. Figures are made of it (``figures``), counted
as ``facts`` says and by the codes of the cube registry in force; what could not be counted is
refused when it is entered (``checking``). Whoever made a report is anonymous unless the owner
says otherwise, and leaves the node in no case.
"""

from node.register.book import MIGRATIONS, Register, Row
from node.register.desk import RegisterDesk
from node.register.figures import MADE, RegisterFigures

__all__ = ["MADE", "MIGRATIONS", "Register", "RegisterDesk", "RegisterFigures", "Row"]
