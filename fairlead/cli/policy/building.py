"""``fairlead policy init`` and ``build``: a draft from what is in force, and its module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Format, emit, say
from fairlead.cli.policy.options import FolderArgument

BASELINE = Path(__file__).resolve().parents[3] / "policies"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    source: Annotated[
        Path, typer.Option("--from", metavar="DIR", help="A bundle or a draft; default: baseline.")
    ] = BASELINE,
    output: OutputOption = Format.TABLE,
) -> None:
    """Start a draft from a bundle or from the baseline that is shipped; nothing of it is signed."""
    from fairlead.policy.drafting import start_draft

    names = start_draft(source, folder)
    emit([{"file": name} for name in names], columns=("file",), output=output)
    say(f"a draft of {len(names)} files")
    say("next: fairlead policy new-agreement DIR, or edit its data/*.yaml")


def build(folder: FolderArgument, output: OutputOption = Format.TABLE) -> None:
    """Compile a draft's rules into policy.wasm. Needs OPA; agreements alone need no building."""
    from fairlead.policy.building import build as compile_draft
    from fairlead.policy.compiler import Opa

    wasm, revision = compile_draft(folder, Opa.required())
    record = {"file": "policy.wasm", "octets": len(wasm), "revision": revision}
    emit([record], columns=tuple(record), output=output)
    say("next: fairlead policy test DIR")
