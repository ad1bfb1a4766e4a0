"""Statistics disclosure control (PROTOCOL §6): which cells of a release may be shown. Pure.

It knows cells only by their keys, as variables of a linear system: how a coarser cell is the sum of
finer ones is told to it (:class:`~fairlead.disclosure.system.Sum`), and so is everything of the
cube that is out already (:class:`~fairlead.disclosure.ledger.Ledger`). The whole procedure is
:func:`fairlead.disclosure.release.decide`, in numbered steps.
"""
