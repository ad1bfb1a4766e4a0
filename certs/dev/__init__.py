"""A development federation: keys that anybody may see, on loopback only."""

import fairlead.tls  # noqa: F401 - first: it sets the TLS floor before anything imports gRPC
