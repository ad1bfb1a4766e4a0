"""``make attacks``, its long half: the statistical attacks, then the distinguishing games.

Each prints its table; the last line is one JSON object, that of the games with the statistical
attacks under ``statistics``. Arguments are the games'.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

STATISTICS = "tests.attacks.statistics.run"
GAMES = "tests.attacks.games.run"


def main() -> int:
    """The command line."""
    statistics, failed = _played(STATISTICS)
    line, lost = _played(GAMES, *sys.argv[1:])
    line |= {"attacks": "failed" if failed or lost else "ok", "statistics": statistics}
    print(json.dumps(line))
    return failed or lost


def _played(module: str, *arguments: str) -> tuple[dict[str, Any], bool]:
    """What a program's last line says, and whether it failed; the lines before it are printed.

    :raises RuntimeError: it ended without such a line; what it said went to standard error.
    """
    command = [sys.executable, "-m", module, *arguments]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    *table, last = said.stdout.splitlines() or [""]
    print(*table, sep="\n", flush=True)
    try:
        return json.loads(last), said.returncode != 0
    except json.JSONDecodeError:
        raise RuntimeError(f"{module} ended without a result") from None


if __name__ == "__main__":
    sys.exit(main())
