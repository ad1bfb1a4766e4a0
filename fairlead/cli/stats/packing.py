"""``fairlead stats kpi-pack``: the year on one page, signed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, connect
from fairlead.cli.output import Format, awaited, emit, say
from fairlead.cli.stats.priorities import RegisterOption
from fairlead.errors import FairleadError, Misconfigured

if TYPE_CHECKING:
    from fairlead.cli.stats.choosing import Known
    from fairlead.cli.stats.gathering import Telling
    from fairlead.cli.stats.keeping import Kept
    from fairlead.cubes.cube import Cube
    from fairlead.cubes.period import Unit
    from fairlead.kpi.contents import Contents
    from fairlead.published import Published
    from fairlead.strategic.received import Request

COLUMNS = ("page", "bundle", "signature", "year", "releases", "state")


def kpi_pack(
    year: Annotated[int, typer.Option(help="The year; what is over of it is asked for.")],
    out: Annotated[Path, typer.Option(help="The folder for the pack; made if need be.")],
    purpose: Annotated[
        str | None, typer.Option(help="Why; needed where you may ask for several purposes.")
    ] = None,
    register: RegisterOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make the KPI pack of a year: one page, its figures as CSV, signed by your organisation.

    What was released before is not asked for again; a second run over the same makes the same
    octets.
    """
    from fairlead.cli.stats.priorities import loaded, register_path

    check_out(out)
    priorities = loaded(register_path(register, profile))
    emit([awaited(_made(year, out, purpose, priorities, profile))], columns=COLUMNS, output=output)


async def _made(
    year: int, out: Path, purpose: str | None, priorities: Any, profile: Path | None
) -> dict[str, object]:
    from fairlead.cli.stats.choosing import known_at
    from fairlead.cli.stats.gathering import Telling
    from fairlead.cli.stats.keeping import FOLDER, Kept
    from fairlead.kpi.contents import Contents, check_year
    from fairlead.kpi.pack import pack_files

    check_year(year)
    client, _, folder = connect(profile)
    async with client:
        known = await known_at(client, folder / FOLDER)
        kept = Kept(folder=folder / FOLDER, directory=client.directory)
        releases: list[Published] = []
        now, telling = time.time(), Telling.to_person(brief=True)
        for found in questions(known, year, purpose, now):
            releases += await releases_of(client, found, kept, telling, now)
        contents = Contents.of(
            year,
            federation=client.directory.federation,
            registry=known.registry,
            releases=releases,
            priorities=priorities,
        )
        files = pack_files(contents)
        state = await signed(client, year, out, files)
    return _record(contents, out, state)


def questions(known: Known, year: int, purpose: str | None, now: float) -> Iterator[list[Request]]:
    """What a pack asks, the questions of a cube together; what the caller may not ask for is told.

    :raises InvalidInput: PURPOSE_MISSING.
    """
    from fairlead.cli.stats.choosing import only_purpose
    from fairlead.kpi.wanted import wanted
    from fairlead.strategic.received import Request

    of_cubes: dict[str, list[Request]] = {}
    for cube, level, period in wanted(known.registry, year, now):
        if not _permitted(known, cube, purpose):
            if cube.id not in of_cubes:
                say(f"{cube.id}: you may not ask for it; the pack says not reported")
            of_cubes.setdefault(cube.id, [])
            continue
        why = purpose or only_purpose(known, cube)
        of_cubes.setdefault(cube.id, []).append(
            Request(registry=known.registry, cube=cube, level=level, period=period, purpose=why)
        )
    yield from of_cubes.values()


def _permitted(known: Known, cube: Cube, purpose: str | None) -> bool:
    found = known.permitted(cube)
    return purpose in found if purpose is not None else bool(found)


async def releases_of(
    client: Any, of_cube: Sequence[Request], kept: Kept, telling: Telling, now: float
) -> list[Published]:
    """The releases of a cube: those that are kept, and what is not, asked for.

    Where too few partners report a cube at its finest level, its others are not asked either.
    """
    from fairlead.cli.stats.gathering import gather

    found: list[Published] = []
    for wanted in of_cube:
        here = {release.unit: release for release in kept.find(wanted, now)}
        before = len(here)
        rest = missing(wanted, here)
        if rest is not None:
            fresh = await gather(client, rest, kept=kept, telling=telling)
            here |= {release.unit: release for release in fresh}
        reported = [release for release in here.values() if release.version]
        found += reported
        own = f", {before} kept from before" if before else ""
        say(
            f"{wanted.cube.id} {wanted.level.name} {wanted.period.spelling}: "
            f"{len(reported)} of {len(wanted.units)} reported{own}"
        )
        if not reported:
            break
    return found


def missing(wanted: Request, here: Mapping[Unit, Published]) -> Request | None:
    """The question for what is not here: from the first missing unit to the last."""
    from fairlead.cubes.period import Period

    rest = [unit for unit in wanted.units if unit not in here]
    return replace(wanted, period=Period(rest[0], rest[-1])) if rest else None


async def signed(client: Any, year: int, out: Path, files: Mapping[str, bytes]) -> str:
    """Have the pack signed and write it, unless it lies there; ``made`` or ``unchanged``."""
    from fairlead.kpi.signature import Statement, signature_name, verify_pack

    path = out / signature_name(year)
    public = client.directory.partner(client.partner_id).signing_key
    try:
        lies = {name: (out / name).read_bytes() for name in files}
        if lies == dict(files):
            verify_pack(path.read_bytes(), files, public)
            return "unchanged"
    except (OSError, FairleadError):
        pass
    statement = Statement.of(files, year=year, signer=client.partner_id)
    signature = statement.signed(await client.sign_pack(statement))
    verify_pack(signature, files, public)
    write_files(out, {**files, path.name: signature})
    return "made"


def write_files(out: Path, files: Mapping[str, bytes]) -> None:
    """Write each file whole, the signature last.

    :raises Misconfigured: PACK_FOLDER.
    """
    from fairlead.cli.stats.keeping import write_whole

    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_whole(out / name, data)
    except OSError:
        raise _no_folder(out) from None


def check_out(out: Path) -> None:
    """:raises Misconfigured: PACK_FOLDER: there is a file of that name."""
    if out.exists() and not out.is_dir():
        raise _no_folder(out)


def _no_folder(out: Path) -> Misconfigured:
    return Misconfigured(
        "the pack cannot be written",
        reasons=("PACK_FOLDER",),
        remedy=f"name a folder that you may write instead of {out}: --out FOLDER",
    )


def _record(contents: Contents, out: Path, state: str) -> dict[str, object]:
    from fairlead.kpi.signature import bundle_name, page_name, signature_name

    return {
        "page": str(out / page_name(contents.year)),
        "bundle": str(out / bundle_name(contents.year)),
        "signature": str(out / signature_name(contents.year)),
        "year": contents.year,
        "releases": len(contents.shelf.releases),
        "state": state,
    }
