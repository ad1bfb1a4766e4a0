"""A partner's user authority: says who its people are, and nobody else can.

A process of its own with a key of its own, which neither the node nor the gateway holds. It keeps
a register of pseudonyms, hands out one-time codes, certifies the key each person made, writes a
leaf for every certificate, and signs who is denied. See PROTOCOL §1 and ADR 12.
"""
