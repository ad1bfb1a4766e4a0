"""Timestamps (RFC 3161): an authority outside the federation signs that a log's head was there.

``token`` asks for one and verifies it, ``authority`` is the way to whoever gives it, ``stamper``
gets one an hour and puts it beside its leaf, ``checking`` verifies those of a whole log."""
