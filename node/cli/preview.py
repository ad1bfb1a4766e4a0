"""``fairlead-node preview``: what a partner would get, and which rule decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fairlead.cli.output import Format, emit_json, emit_table, say
from fairlead.cli.telling import explanations
from node.cli.act import CONFIG, ConfigOption, act


def preview(
    term: Annotated[str, typer.Argument(help="An identifier, as a partner would ask it.")],
    partner: Annotated[str, typer.Option("--as", help="Partner id, as the directory spells it.")],
    purpose: Annotated[str, typer.Option("--purpose", help="Purpose of the registry.")],
    config: ConfigOption = CONFIG,
    scheme: Annotated[str, typer.Option("--scheme", help="Scheme, when not recognised.")] = "",
    legal_basis: Annotated[
        str, typer.Option("--legal-basis", help="By default the first that partner may rely on.")
    ] = "",
    mode: Annotated[str, typer.Option("--mode", help="sealed or blind.")] = "sealed",
    since: Annotated[
        str, typer.Option("--since", help="As in fairlead ask: 90d, or 2026-01-31.")
    ] = "90d",
    until: Annotated[str, typer.Option("--until", help="A day.")] = "",
    output: Annotated[Format, typer.Option("--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Answer as policy would answer a partner, naming what decided; that you looked is a leaf."""
    import time

    from fairlead.cli.options import asked_since, moment

    now = int(time.time())
    found = act(
        config,
        "preview",
        partner=partner,
        purpose=purpose,
        term=term,
        scheme=scheme,
        legal_basis=legal_basis,
        mode=mode,
        since=asked_since(since, now=now),
        until=moment(until or None, now=now),
    )
    if output is Format.JSON:
        emit_json(found)
    else:
        _print(found)


def _print(found: Mapping[str, Any]) -> None:
    result = (
        found["reason"] if found["status"] == "refused" else "hit" if found["hit"] else "no hit"
    )
    emit_table(
        ("partner", "purpose", "legal_basis", "mode", "result", "count", "contact", "agreements"),
        [
            (
                found["partner"], found["purpose"], found["legal_basis"], found["mode"],
                f"{found['status']}: {result}", found["count_band"] or None,
                found["contact_desk"] or None, " ".join(found["agreements"]) or None,
            )
        ],
    )  # fmt: skip
    leaving = {record["ref"]: record for record in found["records"]}
    rows = []
    for item in found["considered"]:
        sent = leaving.get(item["ref"])
        fields = ", ".join(f"{k}={v}" for k, v in sent["fields"].items()) if sent else ""
        held = ", ".join(f"{name} ({why})" for name, why in item["withheld"].items())
        says = "released" if item["released"] else f"hidden: {item['why']}"
        rows.append((item["type"], says, fields or None, held or None,
                     " ".join(item["agreements"]) or None))  # fmt: skip
    if rows:
        emit_table(("record", "decision", "fields_released", "fields_withheld", "agreements"), rows)
    reasons = [*found["reasons"], *(r for item in found["considered"] for r in item["reasons"])]
    for line in explanations([(r["code"], r["audience"]) for r in reasons], {}):
        say(line)
