"""``fairlead-node statistics``: whether mapped sources can be counted, the own figures, and one of
them published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.confirming import confirm
from fairlead.cli.output import Exit, Format, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption, act

if TYPE_CHECKING:
    from fairlead.config import NodeConfig
    from fairlead.cubes.registry import Registry

app = typer.Typer(
    help="What this node counts: check its mappings, see its own figures, publish one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
CHECK = "fairlead-node statistics check"
CHECKED = ("mapping", "cube", "rows", "state")
WAIVED = ("cube", "level", "cell", "measure", "version", "value", "unit", "state")
CELLS = ("unit", "codes", "records", "figures", "needs of others")


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
        if entry["problems"]:
            say(f"next: {entry['remedy']} --config {config}")
    if not found:
        say('no source is mapped to a cube: add its mapping to "statistics" in the configuration')
    if any(entry["problems"] for entry in found):
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
    found = act(config, "statistics-preview", cube=cube, level=level, period=period)
    if output is Format.JSON:
        emit_json(found)
        return
    cells = found["cells"]
    emit([_row(cell, found["units"]) for cell in cells], columns=CELLS, output=output)
    say(f"{len(cells)} of {len(cells) + found['empty']} cells have records of this node")
    if not cells:
        return
    if never := sorted({name for cell in cells for name in _never(cell)}):
        say(f"never shown: {', '.join(never)}: the directory has only {found['partners']} partners")
    say(f"shown is the sum of all who take part, with noise, in steps of {found['round_to']};")
    say("and only where no cell that is not shown could be worked out from it")
    say("nothing left this node")


@app.command("waive")
def waive(
    cube: Annotated[str, typer.Argument(help="A cube's id, as the registry spells it.")],
    cell: Annotated[str, typer.Option("--cell", help="As in 2026-Q1/NL; see preview.")],
    level: Annotated[str, typer.Option("--level", help="As in quarter,country.")],
    measure: Annotated[str, typer.Option("--measure", help="A count or a sum of the cube.")],
    version: Annotated[
        int, typer.Option("--version", help="Of the figures: 1 the first, 2 the final ones.")
    ],
    by: Annotated[str, typer.Option("--by", help="Pseudonym of who publishes, such as u-t01.")],
    yes: Annotated[bool, typer.Option("--yes", help="Publish without being asked.")] = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Publish this node's own figure of one cell: exact, signed, and never taken back."""
    wanted = {"cube": cube, "cell": cell, "level": level, "measure": measure, "version": version}
    found = act(config, "statistics-waive", by=by, **wanted)
    again = found["state"] == "published"
    if not again:
        say(f"{found['measure']} in {found['cell']}: {found['value']} {found['unit']}, exactly")
        say("as frozen for the release" if found["frozen"] else "as it counts now: not frozen yet")
        say("whoever reads figures may know it, for good; and this node covers no other partner in")
        say("this cell any more: what others have there may have to be withheld")
        if not yes:
            confirm("Publish it?")
    found = act(config, "statistics-waive", by=by, value=found["value"], **wanted)
    if output is Format.JSON:
        emit_json(found)
    else:
        emit([found], columns=WAIVED, output=output)
    if again:
        say("nothing changed: it is published")
    else:
        say("published; a leaf of this node's log says so")


def _never(cell: dict[str, Any]) -> list[str]:
    """The measures for which there are too few partners."""
    return [name for name, need in cell["needs"].items() if not need["possible"]]


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
                                "problems": [], "remedy": "", "faults": []}  # fmt: skip
    try:
        found["cube"], found["rows"] = check_mapping(path, registry, environ=os.environ)
    except FairleadError as error:
        if isinstance(error, Uncountable):
            found["faults"] = [fault.as_record() for fault in error.faults]
        lines = error.diagnostics().split("\n")
        problems = [line.strip() for line in lines if not line.startswith("next: ")]
        return found | {"state": error.code, "problems": problems, "remedy": _next(error.remedy)}
    return found


def _next(remedy: str) -> str:
    """What to do, and that this is run again."""
    return remedy if remedy.endswith(CHECK) else "; ".join(filter(None, [remedy, f"then: {CHECK}"]))


def _row(cell: dict[str, Any], units: dict[str, str]) -> dict[str, object]:
    figures = [f"{name} {'/'.join(map(str, words))}" for name, words in cell["values"].items()]
    return {
        "unit": cell["unit"],
        "codes": "/".join(cell["codes"]) or None,
        "records": cell["records"],
        "figures": ", ".join(figures),
        "needs of others": _needs(cell["needs"], units) or None,
    }


def _needs(needs: dict[str, dict[str, Any]], units: dict[str, str]) -> str:
    """``seizures: 3 partners, 4 records; weight: 5 partners, 4 records, 42 kg``: what is the same
    of several measures is said once."""
    said: dict[str, list[str]] = {}
    for name, need in needs.items():
        parts = [_so_many(need["others"], "partner")]
        parts += [_so_many(need["records"], "record")] if need["records"] else []
        parts += [f"{need['amount']} {units[name]}"] if need["amount"] else []
        said.setdefault(", ".join(parts), []).append(name)
    return "; ".join(
        text if len(said) == 1 else f"{'/'.join(names)}: {text}" for text, names in said.items()
    )


def _so_many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
