"""The kernel: what two strangers must agree on."""

import os
import sys

# gRPC reads this once, when it is imported: no cipher suite of TLS 1.2 is left (see fairlead.tls).
if "grpc" not in sys.modules:
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"
