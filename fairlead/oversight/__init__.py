"""A partner's oversight: opens what the node may not read, and raises an alert for every decoy.

A process of its own with a key of its own, which neither the node nor its analysts hold. It takes
the node's notices, learns from other owners which references are decoys, and matches the two. It
writes a leaf for every alert. See PROTOCOL §3 and ADR 21.
"""
