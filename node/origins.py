"""Every origin of figures at this node, put together for whoever takes part in a round."""

from __future__ import annotations

from collections.abc import Callable

from fairlead.auditlog import AuditLog
from node.exchanges import COVERAGE, QUERIES, ExchangeFigures
from node.feedback import FeedbackBook
from node.figures import Figures, FiguresOf
from node.figures.adding import Made
from node.register import MADE, Register, RegisterFigures


def figures_of(
    *,
    partner: str,
    kind: Callable[[], str],
    log: AuditLog,
    register: Register,
    book: FeedbackBook,
    kept_since: Callable[[], float],
    clock: Callable[[], float],
    source: FiguresOf | None = None,
    mapped: Callable[[str], bool] = lambda _: True,
) -> Figures:
    """What this node can state of any cube.

    :param kind: the partner's kind, as the directory has it now.
    :param kept_since: feedback from before then (Unix seconds) may have been deleted.
    :param source: counts mapped sources. :param mapped: whether one is mapped for a cube.
    """
    kept = RegisterFigures(register)
    exchanges = ExchangeFigures(
        partner=partner,
        kind=kind,
        read=log.read,
        size=lambda: log.head.size,
        book=book,
        kept_since=kept_since,
    )
    own: dict[Made, FiguresOf] = dict.fromkeys(MADE, kept)
    own |= {QUERIES: exchanges, COVERAGE: exchanges}
    return Figures(own, source=source, mapped=mapped, clock=clock)
