"""The demo's data: six partners, half a year of a port's life, and one stolen release.

Deterministic: the same seed, size and ``now`` write the same octets. No PIN is ever written;
a release is known by its reference alone. ``python -m demo.generate --out FOLDER``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random

from demo.cast import QUIET_CONTAINER, STORY_CONTAINER, STORY_PLATE, STORY_VESSEL, make_cast
from demo.ledger import Ledger
from demo.port import DAY, Port
from demo.story import RELEASE_REF, UNUSUAL_ACCOUNT, Story, tell, tell_police
from fairlead.identifiers import parse

RECORDS = 200_000
SPAN_DAYS = 165
_ROWS_PER_CONTAINER = 8

__all__ = ["RECORDS", "Story", "generate"]


def generate(
    out_dir: Path, *, seed: int = 7, records: int = RECORDS, now: float | None = None
) -> Story:
    """Write every partner's CSV files and mappings to ``out_dir/<partner>/``.

    :param records: at least so many rows, all partners together.
    :param now: unix seconds that all times are relative to; nothing happens after it.
    """
    now = time.time() if now is None else now
    random = Random(seed)
    ledger = Ledger(until=now)
    cast = make_cast(random, containers=max(50, records // _ROWS_PER_CONTAINER))
    issued_at, collected_at, accounts = tell(ledger, cast, now)
    pointer, target = tell_police(ledger, cast, now)
    Port(random, ledger, cast, start=now - SPAN_DAYS * DAY, end=now - DAY).live(records)
    mappings = ledger.write(out_dir)
    country, plate = STORY_PLATE
    return Story(
        container=STORY_CONTAINER,
        plate=parse("vehicle-plate", plate, issuer=country).value,
        vessel=STORY_VESSEL,
        release_ref=RELEASE_REF,
        issued_at=issued_at,
        collected_at=collected_at,
        accounts=accounts,
        unusual_account=UNUSUAL_ACCOUNT,
        police_container=pointer,
        active_target=target,
        quiet_container=QUIET_CONTAINER,
        mappings=mappings,
        records=ledger.total,
    )


def main() -> None:
    """Generate into a folder and say what to ask about."""
    parser = argparse.ArgumentParser(prog="demo.generate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--records", type=int, default=RECORDS)
    arguments = parser.parse_args()
    story = generate(arguments.out, seed=arguments.seed, records=arguments.records)
    print(f"{story.records} records; ask about {story.container}")


if __name__ == "__main__":
    main()
