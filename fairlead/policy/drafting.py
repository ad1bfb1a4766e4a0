"""A new agreement as a file of a draft: valid, commented YAML; and a draft to write it into.

What is not said is narrow: blind, existence only, one record, a month, a year. Nothing is written
that does not compile with the rest of the draft.
"""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead.errors import Conflict, Misconfigured
from fairlead.policy import folder as folders
from fairlead.policy.agreements import federation_data
from fairlead.policy.building import MANIFEST
from fairlead.policy.cubes import CUBES
from fairlead.policy.documents import SCHEMA, Agreement, Registry
from fairlead.policy.draft import WASM, Draft

NEEDED = ("from", "to", "purposes", "legal_bases", "schemes")
"""What nobody can guess; with ``extends`` none is needed."""
KEPT = ("data/*.yaml", CUBES, "*/*.rego", "schema/*.json", "tests/*.yaml", "selftest.json")
"""What a draft takes over from a folder."""


def narrow(registry: Registry, today: dt.date) -> dict[str, Any]:
    """The narrowest useful agreement: what holds where nothing is said."""
    return {
        "modes": ["blind"],
        "roles": list(registry.roles),
        "facets": ["existence"],
        "redact": sorted(name for name, field in registry.fields.items() if field.personal),
        "max_records": 1,
        "notice_delay_s": 0,
        "retention_days": 30,
        "max_terms": 16,
        "max_window_days": 90,
        "valid_from": today,
        "valid_until": dt.date(today.year + 1, today.month, min(today.day, 28)),
    }


def render(values: Mapping[str, Any]) -> str:
    """An agreement as a file: each field that is said, under what it means."""
    lines = [
        "# An agreement: who may ask whom what. docs/policy.md explains every field.",
        "# yaml-language-server: $schema=../schema/agreements.schema.json",
        f"schema: {SCHEMA}",
        "",
        "agreements:",
    ]
    for name, field in Agreement.model_fields.items():
        key = field.alias or name
        if key in values:
            meaning = " ".join((field.description or "").split())
            lines += [f"    # {line}" for line in textwrap.wrap(meaning, 90)]
            lines.append(f"    {key}: {_value(values[key])}")
    first = next(i for i, line in enumerate(lines) if line.startswith("    id:"))
    lines[first] = lines[first].replace("    id:", "  - id:", 1)
    comment = lines[first - 1]
    if comment.startswith("    #"):
        lines[first - 1] = comment[2:]
    return "\n".join(lines) + "\n"


def add_agreement(draft: Draft, values: Mapping[str, Any]) -> Path:
    """Write an agreement into a file of its own.

    :raises Conflict: AGREEMENT_EXISTS: there is such a file.
    :raises InvalidAgreements: it does not compile with the rest; nothing was written.
    """
    name = f"data/{values['id']}.yaml"
    path = draft.root / name
    if path.exists():
        raise Conflict(
            "the draft has a file of that name",
            reasons=("AGREEMENT_EXISTS",),
            remedy="choose another --id, or edit the file, then: fairlead policy check DIR",
        )
    content = render(values).encode()
    federation_data({**draft.data, name: content}, draft.cubes)
    folders.write(draft.root, name, content)
    return path


def start_draft(source: Path, folder: Path) -> list[str]:
    """Copy a bundle, or a folder like ``policies/``, into a new draft without any signature.

    :returns: the names of the files. :raises Misconfigured: no policy, or the folder exists.
    """
    if folder.exists() and any(folder.iterdir()):
        raise Misconfigured(
            "the folder is there and not empty",
            reasons=("FOLDER_IN_THE_WAY",),
            remedy="fairlead policy init NEW-FOLDER",
        )
    Draft.read(source)
    found = {p for pattern in KEPT for p in source.glob(pattern)} | {source / WASM}
    try:
        for path in sorted(p for p in found if p.is_file()):
            name = path.relative_to(source).as_posix()
            folders.write(folder, name, folders.read(source, name))
        if (source / MANIFEST).is_file():
            folders.write(folder, MANIFEST, _unsigned(folders.read(source, MANIFEST)))
    except OSError:
        raise folders.unreadable() from None
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _unsigned(manifest: bytes) -> bytes:
    """The list of what was built, without serial, dates and signatures."""
    content = json.loads(manifest)
    inner = content.get("manifest", content)
    kept = {"schema": 1, "revision": inner["revision"], "files": inner["files"]}
    return (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode()


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dt.date():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{k}: {_value(v)}' for k, v in value.items())}}}"
        case _:
            return json.dumps(value)
