"""Loaded before every test module."""

import fairlead.tls  # noqa: F401 - first: it sets the TLS floor before anything imports gRPC
