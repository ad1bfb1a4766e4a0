"""``fairlead-node status``: how the node is, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fairlead.cli.output import Format, emit_json, emit_table, say
from node.cli.act import CONFIG, ConfigOption, act

EVERY_S = 2.0


def status(
    config: ConfigOption = CONFIG,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print again every 2 s until Ctrl-C.")
    ] = False,
    output: Annotated[Format, typer.Option("--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Show whether the node serves, what waits for acceptance, and what ends soon."""
    while True:
        found = act(config, "status")
        if output is Format.JSON:
            emit_json(found)
        else:
            emit_table(("what", "state"), _rows(found))
            if found["warnings"]:
                say("warnings: " + ", ".join(found["warnings"]))
        if not watch:
            return
        time.sleep(EVERY_S)


def _source(line: Mapping[str, Any]) -> str:
    """State, and how many records of how many rows."""
    if "records" not in line:
        return str(line["state"])
    excluded = sum(line["excluded"].values())
    lost = f", {excluded:,} rows excluded" if excluded else ""
    return f"{line['state']}: {line['records']:,} records of {line['rows']:,} rows{lost}"


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    paused, index, exposure = found["paused"], found["index"], found["exposure"]
    rows = [("node", f"{found['partner']}: {found['state']}")]
    if paused:
        until = paused["until"] or "until resumed"
        rows.append(("paused", f"{paused['reason']} since {paused['since']}, until {until}"))
    rows.append(
        ("index", f"{index['records']:,} records, {index['age_s']} s old" if index else "none")
    )
    rows += [(f"source {s['source']}", _source(s)) for s in found["sources"]]
    rows.append(("exposure", _exposure(exposure)))
    rows += [(e["what"], f"until {e['at']}") for e in found["expiry"]]
    reachable = {True: "reachable", False: "unreachable", None: "not tried"}
    gateway, skew = found["gateway"], found["gateway"]["clock_skew_s"]
    rows.append(
        ("gateway", reachable[gateway["reachable"]]
         + ("" if skew is None else f", its clock {skew:+.0f} s"))
    )  # fmt: skip
    today = found["today"]
    rows.append(("today", f"{today['answered']} answered, {today['refused']} refused"))
    rows.append(("reconciled", _reconciled(found["reconciled"])))
    rows.append(("log", f"{found['log']['size']} leaves, root {found['log']['root'][:16]}"))
    return rows


def _reconciled(told: Mapping[str, Any]) -> str:
    if told["incidents"]:
        return f'INCIDENT {", ".join(told["incidents"])}: docs/operate.md, "An incident"'
    return f"{told['at']}, {told['age_s']} s ago" if told["at"] else "not yet"


def _exposure(exposure: Mapping[str, Any]) -> str:
    if not exposure["accepted"]:
        return "not accepted: nobody is answered"
    if "unknown" in exposure:
        return f"accepted; whether it still fits is unknown: {exposure['unknown']}"
    waiting = exposure["pending"] + len(exposure["unaccepted_sources"])
    by = f"accepted by {exposure['by']} on {exposure['at']}"
    return f"{by}; {waiting} additions are withheld until accepted" if waiting else by
