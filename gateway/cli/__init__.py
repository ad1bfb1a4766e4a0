"""Command lines of the gateway."""
