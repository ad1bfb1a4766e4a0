"""The recipe: ``python -m certs.dev.make`` makes every key of the development federation.

Nothing here is for production: one process sees every private key. Running it again changes
nothing while what it made is valid; other wishes, or expired results, need ``--force``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from certs.dev.federation import GatewaySpec, Lifetimes, PartnerSpec, demo_partners
from certs.dev.layout import Layout
from certs.dev.recipe import Recipe, Wishes
from fairlead.errors import FairleadError, Misconfigured
from fairlead.tls import DEVELOPMENT_MARKER

OUT = Path(__file__).parent / "out"


def make(
    out_dir: Path = OUT,
    *,
    federation: str = "fairlead.demo",
    partners: Sequence[PartnerSpec] = (),
    gateway: GatewaySpec | None = None,
    more_gateways: Sequence[GatewaySpec] = (),
    now: float | None = None,
    lifetimes: Lifetimes | None = None,
    release_tick_ms: int = 50,
    force: bool = False,
) -> Layout:
    """Make a development federation in ``out_dir``, all of it or nothing.

    :param more_gateways: gateways beside the first that share its log.
    :param partners: default: the demo's six. :param now: Unix seconds, default: the clock.
    :param force: replace what an earlier run made; anything else in the way stays untouched.
    :raises Misconfigured: OUT_IN_THE_WAY (not made here), OUT_DIFFERS or OUT_EXPIRED.
    """
    moment = time.time() if now is None else now
    wishes = Wishes(
        federation=federation,
        partners=tuple(partners) or tuple(demo_partners()),
        gateway=gateway or GatewaySpec(),
        more_gateways=tuple(more_gateways),
        lifetimes=lifetimes or Lifetimes(),
        release_tick_ms=release_tick_ms,
    )
    if _already_made(out_dir, wishes, moment, force=force):
        return Layout(out_dir)
    fresh = out_dir.with_name(f".{out_dir.name}.{os.getpid()}")
    try:
        Recipe(Layout(fresh), wishes, moment).run()
        if out_dir.exists():
            shutil.rmtree(out_dir)
        fresh.rename(out_dir)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Layout(out_dir)


def _already_made(out_dir: Path, wishes: Wishes, now: float, *, force: bool) -> bool:
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return False
    if not (out_dir / DEVELOPMENT_MARKER).is_file():
        raise Misconfigured(
            "the output folder holds something this recipe did not make",
            reasons=("OUT_IN_THE_WAY",),
            remedy="choose another folder: python -m certs.dev.make --out FOLDER",
        )
    if force:
        return False
    try:
        made = json.loads(Layout(out_dir).made.read_bytes())
        same = made["fingerprint"] == wishes.fingerprint()
        valid = made["made_at"] <= now < made["valid_until"]
    except (OSError, ValueError, KeyError, TypeError):
        same = valid = False
    if not same or not valid:
        raise Misconfigured(
            "the output folder holds another or an expired development federation",
            reasons=("OUT_EXPIRED" if same else "OUT_DIFFERS",),
            remedy="python -m certs.dev.make --force",
        )
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m certs.dev.make", description="Make the development federation's keys."
    )
    parser.add_argument("--out", type=Path, default=OUT, help="output folder (%(default)s)")
    parser.add_argument("--federation", default="fairlead.demo")
    parser.add_argument("--gateway-port", type=int, default=7400, help="nodes take those above it")
    parser.add_argument("--force", action="store_true", help="replace what an earlier run made")
    options = parser.parse_args(arguments)
    try:
        layout = make(
            options.out,
            federation=options.federation,
            gateway=GatewaySpec(port=options.gateway_port),
            partners=demo_partners(options.gateway_port + 1),
            force=options.force,
        )
    except FairleadError as error:
        print(error.diagnostics(), file=sys.stderr)
        return error.exit_code
    print(f"development federation in {layout.root}: loopback only, never commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
