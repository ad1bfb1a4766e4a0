"""The annual KPI pack: one page that a person opens, the figures as CSV, and a signature over both.

It is made of what was released and of the register of priorities alone, without clock and chance: a
second run over the same gives the same octets.
"""
