"""Benchmarks: one file per figure; each prints a table and, as its last line, one JSON object."""

import fairlead.tls  # noqa: F401 - first: it sets the TLS floor before anything imports gRPC
