"""Loaded before every test module."""

import os

import fairlead.tls  # noqa: F401 - first: it sets the TLS floor before anything imports gRPC

# Workers of pytest-xdist start demos side by side: each has a thousand ports of its own.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ.setdefault("FAIRLEAD_DEMO_PORT", str(7400 + 1000 * int(_WORKER)))
