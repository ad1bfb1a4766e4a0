"""How long leaves of an audit log are kept, by the class of who asked; how two people erase what is
over; and the legal holds that keep some of it.

Whoever keeps a log is the controller of its own leaves: nothing is erased by itself. A command
proposes, two people sign the very list of leaves, and the process that writes the log makes sure
that each of them is due before it erases any (docs/operate.md, docs/adr/0037).
"""

from fairlead.retention.approving import (
    Approved,
    approve_as_operator,
    approve_as_user,
    by_operators,
    by_users,
    require_approved,
)
from fairlead.retention.classes import LeafClass, Retention
from fairlead.retention.erasing import Eraser
from fairlead.retention.holds import Hold, holds
from fairlead.retention.order import Order, propose, read_order
from fairlead.retention.spool import Spool
from fairlead.retention.survey import Place, months, survey

__all__ = [
    "Approved",
    "Eraser",
    "Hold",
    "LeafClass",
    "Order",
    "Place",
    "Retention",
    "Spool",
    "approve_as_operator",
    "approve_as_user",
    "by_operators",
    "by_users",
    "holds",
    "months",
    "propose",
    "read_order",
    "require_approved",
    "survey",
]
