"""The other program of the blind benchmark: openmined-psi, in an environment of its own.

Started by its path with that environment's Python, so it imports nothing of this product. Obeys
one JSON object a line: how the records and terms of two files of lines intersect, and the CPU
seconds that each step of its protocol took. https://github.com/OpenMined/PSI
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

import private_set_intersection.python as psi

FALSE_POSITIVES = 1e-9
"""The rate it is asked for; ours is below 1e-23."""


def run(records: list[str], terms: list[str]) -> dict[str, object]:
    """Its whole protocol, once: set up, ask, answer, intersect."""
    server, client = psi.server.CreateWithNewKey(True), psi.client.CreateWithNewKey(True)
    marks = [time.process_time()]
    setup = server.CreateSetupMessage(FALSE_POSITIVES, len(terms), records)
    marks.append(time.process_time())
    request = client.CreateRequest(terms)
    marks.append(time.process_time())
    response = server.ProcessRequest(request)
    marks.append(time.process_time())
    found = client.GetIntersection(setup, response)
    marks.append(time.process_time())
    steps = [end - start for start, end in pairwise(marks)]
    return {
        "cpu_s": marks[-1] - marks[0],
        "steps_s": dict(zip(("setup", "ask", "answer", "intersect"), steps, strict=True)),
        "hits": len(found),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Say ``ready`` and obey."""
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        records, terms = (
            Path(order[name]).read_text(encoding="ascii").split() for name in ("records", "terms")
        )
        print(json.dumps(run(records, terms)), flush=True)


if __name__ == "__main__":
    main()
