"""``make demo``: a federation of six partners, one stolen release, and the proof of all of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from demo.federation import GATEWAY, ROOT, Federation
from demo.scenario import ANALYST, CASE, PURPOSE, Scenario, count_terms, dump, shown
from fairlead.cli.output import run, say
from fairlead.errors import Misconfigured

RECORDS = 200_000
SEED = 7
STOPPED = "inland-port"
"""Left out, so that one partner is unreachable."""


def main() -> int:
    """Entry point of ``python -m demo.run``."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--up", action="store_true", help="leave it running")
    parser.add_argument("--down", action="store_true", help="end what --up left running")
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    federation = Federation(Path(os.environ.get("FAIRLEAD_DEMO_DIR", ROOT / ".demo")).resolve())
    if options.down:
        federation.stop()
        say("the demo is down")
        return 0
    lock = federation.lock()  # held until this process ends
    if lock is None or federation.running():
        raise Misconfigured(
            "the demo is running already", reasons=("DEMO_RUNNING",), remedy="make demo-down"
        )
    story = federation.make(records=options.records, seed=options.seed)
    if options.up:
        federation.start([GATEWAY, *federation.partners])
        _invite(federation, story.container, story.plate)
        return 0
    return _tell(
        federation,
        Scenario(federation, story),
        story.records,
        [story.container, story.plate, story.quiet_container],
    )


def _tell(federation: Federation, scenario: Scenario, records: int, terms: list[str]) -> int:
    try:
        say("starting the gateway and five of six nodes (mTLS, real policy, real logs)")
        federation.start([GATEWAY, *(p for p in federation.partners if p != STOPPED)])
        federation.start([STOPPED])  # it writes its log once, so that every log can be verified
        federation.stop([STOPPED])
        started = time.monotonic()
        scenario.run()
        federation.start([STOPPED])  # the Alliance's figures are everybody's
        pack = scenario.figures()  # meanwhile the owners publish for blind queries
        scenario.blind()
        scenario.refused()
        seconds = time.monotonic() - started
        found = _search(federation, terms)  # while it runs, with its write-ahead log
    finally:
        federation.stop()
    receipts = scenario.verify()
    found += _search(federation, terms)
    control = count_terms(federation.folder / "data" / "terminal-north", terms)
    say(
        f"\n── Every file of the gateway was searched for the terms, running and stopped: found "
        f"{found} times (the same search finds them {control} times in the terminal's own data)."
    )
    if control == 0:
        raise AssertionError("the search for terms finds nothing even where they are")
    lines = scenario.tally.lines
    summary = {
        "schema": 1,
        "demo": "ok" if found + scenario.tally.found_at_holder == 0 else "failed",
        "partners": len(federation.partners),
        "records": records,
        "queries": scenario.tally.queries,
        "hits": lines["hit"],
        "no_hits": lines["no_hit"],
        "refused": lines["refused"],
        "unreachable": lines["unreachable"],
        "blind_hits": scenario.tally.blind_hits,
        "terms_found_at_blind_owner": scenario.tally.found_at_holder,
        "receipts_verified": receipts,
        "terms_found_in_gateway_files": found,
        "figures_shown": scenario.tally.figures_shown,
        "kpi_pack": shown(pack),
        "seconds": round(seconds, 1),
    }
    sys.stdout.write(dump(summary) + "\n")
    return 0 if summary["demo"] == "ok" else 1


def _search(federation: Federation, terms: list[str]) -> int:
    """How often the terms stand in anything the gateway wrote."""
    places = (federation.state(GATEWAY), federation.log(GATEWAY))
    return sum(count_terms(place, terms) for place in places)


def _invite(federation: Federation, container: str, plate: str) -> None:
    folder = federation.folder
    say("\nThe federation is up. Try, from this folder:\n")
    say(f"  export PATH={ROOT}/.venv/bin:$PATH")
    say(f"  export FAIRLEAD_PROFILE={federation.profile('customs', 'u-c02')}   # an approver")
    say(
        f"  fairlead cases open {CASE} --purpose {PURPOSE} --legal-basis eu-ucc-art-46 "
        f"--scheme container --scheme vehicle-plate --member {ANALYST[1]}"
    )
    say(f"  export FAIRLEAD_PROFILE={federation.profile(*ANALYST)}   # an analyst")
    say("  fairlead partners")
    say(f"  fairlead ask {container} --case {CASE} --purpose {PURPOSE} --since 90d")
    say(f"  fairlead ask {plate} --case {CASE} --purpose {PURPOSE} --output json")
    say(f"  fairlead audit verify {folder}/state/gateway/audit.sqlite")
    say("\nA seventh partner joins it with the commands of docs/join.md.")
    say("\nnext: make demo-down")


if __name__ == "__main__":
    run(main)
