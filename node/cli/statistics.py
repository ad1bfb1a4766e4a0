"""``fairlead-node statistics``: whether mapped sources can be counted, and the own figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Exit, Format, awaited, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption

if TYPE_CHECKING:
    from fairlead.config import NodeConfig
    from fairlead.cubes.registry import Registry
    from node.figures.preview import Previewed

app = typer.Typer(
    help="What this node counts: check its mappings, see its own figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
CHECKED = ("mapping", "cube", "rows", "state")
CELLS = ("unit", "codes", "records", "figures", "needs")


@app.command("check")
def check(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> int:
    """Read every mapped source whole; list what cannot be counted, by rows. Nothing is released."""
    settings, registry = _begin(config)
    found = [_checked(path, registry) for path in settings.statistics]
    if output is Format.JSON:
        emit_json(found)
    else:
        emit(found, columns=CHECKED, output=output)
    for entry in found:
        for line in entry["problems"]:  # type: ignore[attr-defined]
            say(f"{entry['mapping']}: {line}")
    if not found:
        say('no source is mapped to a cube: add its mapping to "statistics" in the configuration')
    if any(entry["problems"] for entry in found):
        say(f"next: correct these, then: fairlead-node statistics check --config {config}")
        return Exit.CHECK_FAILED
    return Exit.ANSWERED


@app.command("preview")
def preview(
    cube: Annotated[str, typer.Argument(help="A cube's id, as the registry spells it.")],
    level: Annotated[str, typer.Option("--level", help="As in quarter,region.")],
    period: Annotated[str, typer.Option("--period", help="As in 2026-Q1..2026-Q3; it is over.")],
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show this node's own figures, and what a cell would still need to be shown to others."""
    import os
    import time

    from node.figures.mapped import MappedFigures
    from node.figures.mapped_fit import check_fits
    from node.figures.mapped_form import load_figures
    from node.figures.preview import preview as previewed

    settings, registry = _begin(config)
    mappings = [load_figures(path) for path in settings.statistics]
    for mapping in mappings:
        check_fits(mapping, registry)
    asked = registry.cube(cube)
    at = asked.level(level)
    over = at.period(period)
    figures = MappedFigures(mappings, environ=os.environ)
    now = time.time()
    cells = awaited(previewed(figures, asked, at, over, cut_off=now))
    if output is Format.JSON:
        emit_json(
            {
                "cube": asked.id,
                "cube_version": asked.version,
                "registry": registry.digest.hex(),
                "level": at.name,
                "period": over.spelling,
                "cut_off": int(now),
                "cells": [cell.as_record() for cell in cells],
            }
        )
        return
    shown = [cell for cell in cells if cell.records]
    emit([_row(cell) for cell in shown], columns=CELLS, output=output)
    say(f"{len(shown)} of {len(cells)} cells have records of this node, the others show none of it")
    say("nothing left this node: others' figures decide about what needs them")


def _begin(config: Path) -> tuple[NodeConfig, Registry]:
    """The configuration, and the registry of the policy in force."""
    import time

    from fairlead.config import NodeConfig, load
    from node.checking import registry_of

    settings = load(NodeConfig, config)
    return settings, registry_of(settings, time.time())


def _checked(path: Path, registry: Registry) -> dict[str, object]:
    import os

    from fairlead.errors import FairleadError
    from node.figures.mapped import check_mapping
    from node.figures.mapped_fault import Uncountable

    found: dict[str, object] = {"mapping": path.name, "cube": None, "rows": None, "state": "ready",
                                "problems": [], "faults": []}  # fmt: skip
    try:
        found["cube"], found["rows"] = check_mapping(path, registry, environ=os.environ)
    except Uncountable as error:
        found["faults"] = [fault.as_record() for fault in error.faults]
        return found | {"state": error.code, "problems": list(error.problems)}
    except FairleadError as error:
        return found | {"state": error.code, "problems": error.diagnostics().split("\n")}
    return found


def _row(cell: Previewed) -> dict[str, object]:
    needs = [str(rule) for rule, standing in cell.rules.items() if standing != "met"]
    figures = [f"{name} {'/'.join(map(str, words))}" for name, words in cell.values.items()]
    return {
        "unit": cell.cell.unit.spelling,
        "codes": "/".join(cell.cell.codes) or None,
        "records": cell.records,
        "figures": ", ".join(figures),
        "needs": ", ".join(needs) or None,
    }
