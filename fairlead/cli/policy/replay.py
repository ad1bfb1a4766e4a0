"""``fairlead policy replay``: yesterday's decisions under a draft, widenings first."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, moment
from fairlead.cli.output import Exit, Format, awaited, emit_json, emit_table, say

if TYPE_CHECKING:
    from fairlead.decisions.stream import Stream
    from fairlead.policy.replay import Replay
    from fairlead.policy.unsigned import UnsignedPolicy
    from fairlead.v1 import decisions_pb2

KINDS = ("newly_allowed", "changed", "newly_refused", "same", "decisions")
COLUMNS = ("widening", "decisions", "newly_allowed", "agreements", "asks", "owns", "purpose",
           "schemes", "mode", "gains", "justified")  # fmt: skip
SAY_EVERY_S = 2.0


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the draft.")],
    *,
    key: Annotated[Path, typer.Option(help="Your replay key, which opens the records.")],
    current: Annotated[
        Path | None,
        typer.Option(help="Folder of the policy in force; else records are compared with."),
    ] = None,
    local: Annotated[
        Path | None, typer.Option(help="The partner's own agreements, over both policies.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option("--from", help="An exported file; else the own node is asked.")
    ] = None,
    since: Annotated[str, typer.Option(help="A span like 30d, or an ISO 8601 time.")] = "30d",
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Decide past questions again, as this draft would, and write down what would be wider.

    The report, reports/replay-<who>.json in the folder, has counts and no question.
    """
    from fairlead.cli.policy import recalling
    from fairlead.decisions.stream import Stream
    from fairlead.policy.report import report_path, write_report
    from fairlead.policy.unsigned import UnsignedPolicy
    from fairlead.sealing import SealingKey

    now = time.time()
    draft = UnsignedPolicy.load(folder, local=local)
    before = None if current is None else UnsignedPolicy.load(current, local=local)
    under_way = _begun(draft, before, int(now))
    begin = moment(since, now=now)
    stream = Stream(private=SealingKey.load(key), check=recalling.check(profile, now))
    awaited(_run(stream, under_way, recalling.items(records, profile, since=begin), begin))
    made = _made(stream, under_way, draft, before, folder, begin, int(now))
    if stream.log:
        path = report_path(folder, stream.log)
        write_report(path, made)
        say(f"report: {path}")
    _show(made, output)
    _next(made, folder)
    return Exit.CHECK_FAILED if made["unlike"] else Exit.ANSWERED


def _begun(draft: UnsignedPolicy, before: UnsignedPolicy | None, now: int) -> Replay:
    from fairlead.policy.replay import Replay

    return Replay(
        draft=draft.points(0),
        current=None if before is None else before.points(before.serial),
        at=sorted({*draft.moments(now), *(before.moments(now) if before else ())}),
        fields=tuple(draft.registry().fields),
    )


def _made(
    stream: Stream,
    under_way: Replay,
    draft: UnsignedPolicy,
    before: UnsignedPolicy | None,
    folder: Path,
    since: int,
    now: int,
) -> dict[str, Any]:
    from fairlead.errors import NotFound
    from fairlead.policy import report

    made = report.document(
        under_way.report,
        log=stream.log,
        draft=draft.digest,
        current="" if before is None else before.digest,
        since=since,
        made_at=now,
    )
    try:
        return report.keep(made, report.read_report(report.report_path(folder, stream.log)))
    except NotFound:
        return made


async def _run(
    stream: Stream,
    under_way: Replay,
    items: AsyncIterator[decisions_pb2.ReadDecisionsResponse],
    since: int,
) -> None:
    started = said = time.monotonic()
    async for item in items:
        for recorded in stream.take(item):
            if recorded.time_ms >= since * 1000:
                under_way.take(recorded)
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            say(_progress(stream, under_way, said - started))
    stream.finish()
    say(_progress(stream, under_way, time.monotonic() - started))


def _progress(stream: Stream, under_way: Replay, took: float) -> str:
    """So many decisions, how fast, and how long it will take."""
    done = under_way.report.decisions
    left = took / stream.seen * (stream.batches - stream.seen) if stream.seen else 0.0
    rate = done / took if took else 0.0
    return f"{done:,} decisions of {under_way.report.records:,} records, {rate:,.0f}/s" + (
        f", {left:.0f} s left" if stream.seen < stream.batches else ""
    )


# ── Showing ──────────────────────────────────────────────────────────────────────────────────


def _show(made: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        emit_json(made)
        return
    if made["widenings"]:
        emit_table(COLUMNS, [_row(widening) for widening in made["widenings"]])
    emit_table(KINDS, [[made[kind] for kind in KINDS]])


def _row(widening: dict[str, Any]) -> list[object]:
    said = widening["justification"]
    return [
        widening["id"], widening["decisions"], widening["newly_allowed"],
        ", ".join(widening["agreements"]) or "–", widening["asker_kind"],
        widening["owner_kind"] or "–", widening["purpose"], ", ".join(widening["schemes"]),
        widening["mode"], ", ".join(widening["gained"]), said["by"][:16] if said else "no",
    ]  # fmt: skip


def _next(made: dict[str, Any], folder: Path) -> None:
    from fairlead.policy.report import unjustified

    if made["records"]:
        say(
            f"records of {made['first_day']} to {made['last_day']}: is that all that was asked for?"
        )
    if made["without_input"]:
        say(f"{made['without_input']} records have no input: no replay_key was configured then")
    if made["unlike"]:
        say(
            f"warning: {made['unlike']} decisions are not what the policy in force makes of their "
            "input: either it is not the one in force, or somebody changed a process"
        )
    if left := unjustified(made):
        say(f"{len(left)} classes of decisions would be wider, and nobody has said why")
        say(f'next: fairlead policy justify {folder} {left[0]} --officer KEY --text "…"')
    else:
        say(f"next: fairlead policy sign {folder} --key FILE")


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────


def keygen(
    out: Annotated[Path, typer.Argument(help="The key file to write; FILE.pub stands beside it.")],
) -> None:
    """Make a replay key: the private half is the officer's, the public one each process's."""
    import hashlib

    from fairlead.errors import Conflict
    from fairlead.sealing import SealingKey

    public = out.with_name(out.name.removesuffix(".key") + ".pub")
    if out.exists() or public.exists():
        raise Conflict(
            "a key file of this name exists already",
            reasons=("KEY_EXISTS",),
            remedy="name another file: an older key may be all that opens older records",
        )
    key = SealingKey.generate()
    key.save(out)
    public.write_bytes(key.public_bytes())
    sys.stdout.write(f"{hashlib.sha256(key.public_bytes()).hexdigest()}\n")
    say(f"{out}: keep it where only you are; without it no record opens")
    say(f"next: give {public} to whoever runs the node, for replay_key in its configuration")
