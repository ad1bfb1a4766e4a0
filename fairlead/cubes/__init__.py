"""The cube registry: which figures there are, in which cells, and how these add up.

A query is a cube, a level and a period, so every cell has exactly one spelling. A vector of cells
is a fixed list that depends on the registry alone and never on what anybody counted
(PROTOCOL §6, docs/statistics.md).
"""
