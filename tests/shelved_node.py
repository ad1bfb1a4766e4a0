"""The node's program with a shelf of snapshots and a policy that may take its time."""

from __future__ import annotations

import os
from pathlib import Path

import node.app
from fairlead.policy.engine import WasmEngine
from node.cli.main import main
from tests.shelf import Shelf

if __name__ == "__main__":
    defaults = WasmEngine.__init__.__kwdefaults__
    assert defaults is not None
    defaults["deadline_s"] = 10.0
    shelf = Shelf(Path(os.environ["FAIRLEAD_SHELF"]), "customs")
    node.app._library = lambda: shelf  # type: ignore[assignment]
    main()
