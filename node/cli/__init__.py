"""Command lines of the node."""
