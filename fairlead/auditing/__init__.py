"""The audit log for people: looked through, exported with its proof, counted, streamed.

``selection`` says which leaves, ``reading`` finds them in a log that serves or in its file,
``fields`` puts a leaf into words, ``export`` proves a span under one signed head, ``usage`` counts
what a span holds, and ``events`` and ``stream`` tell a SIEM of each leaf.
"""
