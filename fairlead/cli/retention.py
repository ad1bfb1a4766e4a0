"""``audit retention``, ``propose``, ``approve``, ``erase`` and ``hold``: for how long an audit log
holds what, and how it goes. The same commands for gateway and node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, iso, moment, when
from fairlead.cli.output import Format, emit, emit_json, say
from fairlead.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from fairlead.auditing.file import LogFile
    from fairlead.auditing.reading import Read
    from fairlead.auditlog import Place
    from fairlead.config import GatewayConfig, NodeConfig
    from fairlead.partners import Directory
    from fairlead.retention import Hold, LeafClass, Retention

COLUMNS = ("class", "month", "leaves", "over", "due", "held")
HOLDS = ("hold", "class", "keeps", "reference", "since")
ConfigOption = Annotated[Path, typer.Option("--config", help="Configuration file (TOML).")]
ClassOption = Annotated[str, typer.Option("--class", help="national, eu-agency or private.")]
OrderArgument = Annotated[Path, typer.Argument(help="The order that audit propose wrote.")]
ByOption = Annotated[str, typer.Option("--by", help="Who says so: your pseudonym.")]


@dataclass(frozen=True, slots=True)
class Kept:
    """A log, its process's configuration, and whose it is (nobody's: a gateway's)."""

    place: Place
    settings: GatewayConfig | NodeConfig
    partner_id: str

    def directory(self, now: float) -> Directory:
        """Who is a partner, by the directory that lies there: one that has expired says it, too."""
        from fairlead.signing import parse_canonical
        from fairlead.trust import Trust, read_trusted
        from fairlead.v1 import directory_pb2 as pb

        data = read_trusted(self.settings.directory)
        signed = parse_canonical(pb.SignedDirectory, data)
        content = parse_canonical(pb.Directory, signed.directory)
        now = min(now, max(content.issued_at, content.expires_at - 1))
        return Trust.load(self.settings.pins).verify(data, now=now)

    def retention(self, now: float) -> Retention:
        """How long leaves are kept."""
        from fairlead.retention import Retention

        return Retention.of(self.settings.retention, self.directory(now), self.partner_id)

    @property
    def period_keys(self) -> Path:
        """Where the keys of periods are."""
        from fairlead.retention.periods import FILE

        return self.settings.keys_dir / FILE


def add_retention(audit: typer.Typer, kind: str, keeper: Callable[[Path], Kept]) -> None:
    """Give a program's ``audit`` its commands about retention.

    :param kind: ``gateway`` or ``node``; :param keeper: called late.
    """
    default = Path(f"{kind}.toml")
    program = f"fairlead-{kind}"

    @audit.command("retention")
    def retention(config: ConfigOption = default, output: OutputOption = Format.TABLE) -> None:
        """Show what the log holds by class and month, when each is over, and what was erased."""
        _show(keeper(config), output)

    @audit.command("propose")
    def propose(
        leaf_class: ClassOption,
        before: Annotated[
            str, typer.Option(help="Leaves from before this: 2026-01-01, or a span like 400d.")
        ],
        to: Annotated[Path, typer.Option("--to", help="The new file for the order.")],
        config: ConfigOption = default,
    ) -> None:
        """Propose to erase what is over of a class. Nothing is erased before two people approve."""
        _propose(keeper(config), leaf_class, before, to)
        if kind == "node":
            say(f"next: an auditor: fairlead audit approve {to}")
        else:
            say(f"next: {program} audit approve {to} --operator KEY")

    if kind == "gateway":

        @audit.command("approve")
        def approve(
            order: OrderArgument,
            operator: Annotated[Path, typer.Option("--operator", help="Your operator's key file.")],
            config: ConfigOption = default,
        ) -> None:
            """Approve an order as one of two operators: it lists just what is due in the log."""
            _approve(keeper(config), order, operator)

    @audit.command("erase")
    def erase(order: OrderArgument, config: ConfigOption = default) -> None:
        """Have the leaves of an order erased, which two people approved, for ever."""
        _erase(keeper(config), order, program)

    audit.add_typer(_holds(default, program, keeper), name="hold")


def _holds(default: Path, program: str, keeper: Callable[[Path], Kept]) -> typer.Typer:
    hold = typer.Typer(help="Legal holds: leaves that are not erased.", no_args_is_help=True)

    @hold.command("add")
    def add(
        reference: Annotated[
            str, typer.Option("--reference", help="The order or letter that it rests on.")
        ],
        by: ByOption,
        query: Annotated[str | None, typer.Option(help="Id of a query.")] = None,
        user: Annotated[list[str] | None, typer.Option(help="Pseudonym; repeat.")] = None,
        partner: Annotated[list[str] | None, typer.Option(help="Partner; repeat.")] = None,
        purpose: Annotated[list[str] | None, typer.Option(help="Purpose; repeat.")] = None,
        leaf_class: Annotated[
            str, typer.Option("--class", help="national, eu-agency or private; all by default.")
        ] = "",
        since: Annotated[str | None, typer.Option(help="Leaves from then on.")] = None,
        until: Annotated[str | None, typer.Option(help="Leaves from before then.")] = None,
        config: ConfigOption = default,
    ) -> None:
        """Keep leaves, though their time is over, until the hold is ended; on the record."""
        from fairlead.cli.audit.selecting import selection_of
        from fairlead.v1 import erasure_pb2 as pb

        selection = selection_of(
            since=since, until=until, partners=partner, purposes=purpose, users=user, query=query
        )
        request = pb.HoldRequest(
            selection=selection.to_wire(), leaf_class=leaf_class, reference=reference, by=by
        )
        _hold(keeper(config), request, program)

    @hold.command("list")
    def show(config: ConfigOption = default, output: OutputOption = Format.TABLE) -> None:
        """Show the holds in force."""
        _list(keeper(config), output)

    @hold.command("end")
    def end(
        hold_id: Annotated[str, typer.Argument(metavar="HOLD", help="As hold list shows it.")],
        by: ByOption,
        config: ConfigOption = default,
    ) -> None:
        """End a hold; on the record. What it kept is due like everything else."""
        from fairlead.v1 import erasure_pb2 as pb

        kept = keeper(config)
        _hold(kept, pb.HoldRequest(ended=_named(kept, hold_id), by=by), program)

    return hold


def read_file(path: Path) -> bytes:
    """An order's file. :raises InvalidInput: ERASURE_FILE."""
    from fairlead.auditlog.erased import malformed
    from fairlead.retention.order import MAX_FILE

    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError:
        raise malformed() from None


def show_order(data: bytes) -> None:
    """Say what an order is about."""
    from collections import Counter

    from fairlead.retention import read_order
    from fairlead.v1 import audit_pb2

    order = read_order(data)
    kinds = Counter(kind for part in order.signed.parts for kind in part.types)
    names = {int(number): name for name, number in audit_pb2.LeafType.items()}
    types = ", ".join(
        f"{names.get(kind, str(kind)).removeprefix('LEAF_TYPE_')} {count}"
        for kind, count in sorted(kinds.items())
    )
    say(
        f"erases for ever: {order.count} leaves of class {order.leaf_class} of {order.origin}, "
        f"all from before {when(order.until_ms // 1000)}; {order.held} more are held and stay\n"
        f"by type, as the file says: {types}\n"
        f"approved by {len(order.signed.operators) + len(order.signed.users)} of 2"
    )


@contextmanager
def _opened(kept: Kept) -> Iterator[tuple[LogFile, Read]]:
    """A log, and what reads it, also where it is older than its tables about retention."""
    from fairlead.auditing.file import open_file

    with open_file(kept.place) as log:
        absent = {"erasure", "legal_hold"} - log.database.tables()

        def read(sql: str, parameters: Any = ()) -> Any:
            return [] if any(table in sql for table in absent) else log.read(sql, parameters)

        yield log, read


def _show(kept: Kept, output: Format) -> None:
    from fairlead.retention import holds, months, survey
    from fairlead.retention.survey import erased

    now = time.time()
    retention = kept.retention(now)
    with _opened(kept) as (log, read):
        found = months(survey(read, log.size, retention, holds(read, log.size)), retention, now)
        gone = erased(read, log.size)
    _pending(kept)
    if output is Format.JSON:
        days = {one.value: number for one, number in retention.days.items()}
        told = [{**row, "time": iso(row.pop("time_ms") // 1000)} for row in gone]
        emit_json({"days": days, "months": found, "erased": told})
        return
    emit(found, columns=COLUMNS, output=output)
    for row in gone:
        say(
            f"erased on {when(row['time_ms'] // 1000)}: {row['leaves']} leaves of class "
            f"{row['class']} from before {row['before']}"
        )


def _propose(kept: Kept, leaf_class: str, before: str, to: Path) -> None:
    from fairlead.retention import LeafClass, read_order

    now = time.time()
    order = _made(kept, LeafClass.parse(leaf_class), moment(before, now=now) * 1000, now)
    try:
        with to.open("xb") as file:
            file.write(order)
    except FileExistsError:
        raise Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        ) from None
    show_order(order)
    if read_order(order).full:
        say("one order lists no more: when it is carried out, propose what is left")


def _made(kept: Kept, leaf_class: LeafClass, until_ms: int, now: float) -> bytes:
    """An order over what is due in this log."""
    from fairlead.retention import holds, propose

    with _opened(kept) as (log, read):
        return propose(
            log.read,
            log.size,
            origin=log.origin,
            retention=kept.retention(now),
            holds=holds(read, log.size),
            leaf_class=leaf_class,
            until_ms=until_ms,
            now=now,
        )


def _approve(kept: Kept, order: Path, operator: Path) -> None:
    from fairlead.keyfile import write_private
    from fairlead.retention import approve_as_operator, read_order
    from fairlead.retention.order import require_derived
    from fairlead.signing import load_signing_key
    from fairlead.trust import Trust

    operators = Trust.load(kept.settings.pins).operators
    data = read_file(order)
    found = read_order(data)
    anew = _made(kept, found.leaf_class, found.until_ms, time.time())
    require_derived(found, anew)
    signed, count = approve_as_operator(data, load_signing_key(operator), operators)
    write_private(order, signed)
    show_order(signed)
    again = f"fairlead-gateway audit approve {order} --operator KEY   (the second operator)"
    say(f"next: {again if count < 2 else f'fairlead-gateway audit erase {order}'}")


def _erase(kept: Kept, order: Path, program: str) -> None:
    from fairlead.retention import read_order
    from fairlead.retention.spool import leave, wait
    from fairlead.v1 import erasure_pb2 as pb

    found = read_order(read_file(order))
    done = wait(leave(kept.settings.state_dir, pb.RetentionJob(erasure=found.signed)))
    say(f"erased: {found.count} leaves" if done else _LATER)
    say(f"next: {program} audit retention")


def _hold(kept: Kept, request: Any, program: str) -> None:
    from fairlead.retention.spool import leave, wait
    from fairlead.v1 import erasure_pb2 as pb

    done = wait(leave(kept.settings.state_dir, pb.RetentionJob(hold=request)))
    say("on the record" if done else _LATER)
    say(f"next: {program} audit hold list")


_LATER = "left for the process that writes the log: it does it when it runs"


def _list(kept: Kept, output: Format) -> None:
    from fairlead.auditing.fields import values
    from fairlead.retention import holds

    with _opened(kept) as (log, read):
        found = holds(read, log.size)
    records = [
        {
            "hold": hold.hold_id.hex()[:16],
            "class": hold.leaf_class.value if hold.leaf_class else "",
            "keeps": _told(values(hold.selection.to_wire())),
            "reference": hold.reference,
            "since": when(hold.time_ms // 1000),
        }
        for hold in found
    ]
    emit(records, columns=HOLDS, output=output)
    _pending(kept)


def _pending(kept: Kept) -> None:
    """Say what commands left and the process did not take up yet, and what it refused."""
    from fairlead.retention.spool import HOLD, pending

    waits, refused = pending(kept.settings.state_dir)
    for path in waits:
        what = "a hold, or the end of one," if path.suffix == HOLD else "an erasure"
        say(f"{what} waits for the process: {path.name}")
    for path, error in refused:
        say(f"refused: {error.message} [{error.code}]\nnext: {error.remedy}; then rm {path}")


def _told(selection: dict[str, Any]) -> str:
    words = []
    for name, value in selection.items():
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        if name.endswith("_ms"):
            shown = when(int(value) // 1000)
        words.append(f"{name.removesuffix('_ms')} {shown}")
    return ", ".join(words)


def _named(kept: Kept, text: str) -> bytes:
    """The hold that the text begins the id of."""
    from fairlead.retention import holds
    from fairlead.retention.holds import unknown

    with _opened(kept) as (log, read):
        known: list[Hold] = holds(read, log.size)
    found = [hold for hold in known if hold.hold_id.hex().startswith(text)]
    if len(text) < 8:
        raise InvalidInput(
            "a hold is named by at least eight digits of its id",
            reasons=("HOLD_ID",),
            remedy="audit hold list, of the program that keeps this log",
        )
    if len(found) != 1:
        raise unknown()
    return found[0].hold_id
