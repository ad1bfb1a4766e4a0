"""The gateway's program with a policy that may take its time.

For tests that compare two runs: on a busy machine a decision that comes too late is a refusal.
"""

from __future__ import annotations

from fairlead.policy.engine import WasmEngine
from gateway.cli.main import main

if __name__ == "__main__":
    defaults = WasmEngine.__init__.__kwdefaults__
    assert defaults is not None
    defaults["deadline_s"] = 10.0
    main()
