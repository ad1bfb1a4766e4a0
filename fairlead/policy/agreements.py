"""Agreements: who may ask whom what, as data that officers edit without knowing Rego.

A federation's data is one file with the registry (the meaning of every word) and agreements,
and any number of files that add agreements. A partner's own file is a second layer over the
same registry: its own agreements and those of the federation it adopts by id. Everything wrong
with a file is reported at once, each with its line. Dates are UTC midnights; ``valid_until`` is
exclusive. docs/policy.md explains every field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairlead.policy.compiling import agreement_data, layer_data, named, registry_data
from fairlead.policy.documents import InvalidAgreements, PolicyFile, Registry, read_file
from fairlead.policy.extending import agreements, written
from fairlead.policy.figures.agreements import cube_names, figure_data, figure_problems
from fairlead.policy.figures.agreements import written as written_figures
from fairlead.policy.meaning import agreement_problems, registry_problems


def federation_data(files: Mapping[str, bytes], cubes: bytes | None = None) -> dict[str, Any]:
    """Compile the federation's files, name → octets, into the engine's data document.

    :param cubes: the registry of cubes beside them; without one there are no figures to ask for.
    :raises InvalidAgreements: every problem of every file; exactly one has a registry.
    """
    problems: list[str] = []
    parsed = _read(files, problems)
    registries = [(f, f.document.registry) for f in parsed if f.document.registry is not None]
    if len(registries) != 1 and not problems:
        problems.append("registry: exactly one file of the federation has it")
    problems += [
        file.problem(("adopt",), "for a partner's own file only")
        for file in parsed
        if file.document.adopt
    ]
    rows = agreements(parsed, (), problems)
    ids = {item.row.get("id") for item in written(parsed)}
    problems += _opt_out_problems(parsed, ids)
    names, figures = cube_names(cubes, problems), written_figures(parsed)
    if len(registries) == 1:
        file, registry = registries[0]
        problems += registry_problems(file, registry)
        problems += agreement_problems(registry, rows, ())
        problems += figure_problems(registry, figures, names, (row.id for _, row in rows))
    if problems:
        raise InvalidAgreements(problems)
    compiled = agreement_data(registry, (row for _, row in rows), _opted_out(parsed))
    words = {
        **registry_data(registry),
        "cubes": named(names),
        "statistics": figure_data(registry, figures, names),
    }
    return layer_data(words, compiled)


def local_data(
    federation: Mapping[str, Any], files: Mapping[str, bytes], name: str, data: bytes
) -> dict[str, Any]:
    """Compile a partner's own file into the data of a second layer.

    :param federation: what :func:`federation_data` made of ``files``.
    :raises InvalidAgreements: every problem of the file.
    """
    problems: list[str] = []
    own = read_file(name, data, problems)
    others = _read(files, problems)
    registry = _registry(others)
    if own is None or registry is None or problems:
        raise InvalidAgreements(problems or ["registry: the federation's data has none"])
    problems += [
        own.problem((key,), "for the federation's own files only")
        for key in ("registry", "opt_outs")
        if getattr(own.document, key)
    ]
    words = dict(federation["federation"])
    known, _ = words.pop("agreements"), words.pop("sizes")
    told = words["statistics"]
    for place, adopted in enumerate(own.document.adopt):
        if adopted not in known and adopted not in told:
            text = "no agreement of the federation has this id"
            problems.append(own.problem(("adopt", place), text))
    rows = agreements([own], others, problems)
    problems += agreement_problems(registry, rows, {**known, **told})
    figures = written_figures([own])
    taken = [*known, *told, *(row.id for _, row in rows)]
    problems += figure_problems(registry, figures, words["cubes"], taken)
    if problems:
        raise InvalidAgreements(problems)
    compiled = agreement_data(registry, (row for _, row in rows), {})
    adopt = own.document.adopt
    words["statistics"] = {
        **{i: told[i] for i in adopt if i in told},
        **figure_data(registry, figures, list(words["cubes"])),
    }
    return layer_data(words, {**{i: known[i] for i in adopt if i in known}, **compiled})


def _read(files: Mapping[str, bytes], problems: list[str]) -> list[PolicyFile]:
    found = [read_file(name, data, problems) for name, data in files.items()]
    return [file for file in found if file is not None]


def _registry(files: Iterable[PolicyFile]) -> Registry | None:
    return next((f.document.registry for f in files if f.document.registry is not None), None)


def _opt_out_problems(files: Iterable[PolicyFile], ids: set[Any]) -> Iterable[str]:
    for file in files:
        for place, row in enumerate(file.document.opt_outs):
            if row.agreement not in ids:
                yield file.problem(("opt_outs", place, "agreement"), "no agreement has this id")


def _opted_out(files: Sequence[PolicyFile]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        for row in file.document.opt_outs:
            found.setdefault(row.agreement, []).append(row.partner)
    return found
