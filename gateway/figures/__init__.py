"""Figures at the gateway: carried through their rounds, decided, frozen (PROTOCOL §6)."""
