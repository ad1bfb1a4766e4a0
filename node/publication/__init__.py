"""The owner's side of blind queries: what of the index is published, for whom, under which key.

For each audience class and scheme a snapshot (:mod:`fairlead.snapshot`) and its signed manifest
(:mod:`fairlead.envelope.manifest`) are made of the node's refreshed index. Policy is asked here,
once for each kind of record; a process of its own reads the index, and more of them compute.
Nothing is delivered from here (ADR 17).
"""
