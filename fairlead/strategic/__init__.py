"""Strategic queries: the question, what nodes agree on to answer it, and what may be shown of it.

Pure: keys, clocks and what is out already are handed in (PROTOCOL §6, docs/statistics.md).
"""
