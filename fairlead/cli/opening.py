"""``fairlead audit open``: sealed detail, opened by a committee, on the record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.opened import accuse, show
from fairlead.cli.options import OutputOption, ProfileOption, query_reference
from fairlead.cli.output import Exit, Format, printable, say
from fairlead.errors import FairleadError, InvalidInput

if TYPE_CHECKING:
    from fairlead.opening.opened import Opened
    from fairlead.opening.record import Record
    from fairlead.opening.request import Auditor, Request, Subject
    from fairlead.opening.share import Kept, Released
    from fairlead.partners import Directory
    from fairlead.v1 import opening_pb2

REQUEST, KEPT, DETAILS = "request.opening", "request.key", "request.details"
RECORD = "openings"
LogOption = Annotated[
    Path | None, typer.Option("--log", help="The log's file that holds the leaves.")
]
GroundOption = Annotated[
    str | None,
    typer.Option("--ground", help="Why, as a code: court-order, data-subject-request …"),
]
ReferenceOption = Annotated[
    str | None, typer.Option("--reference", help="The order or letter that it rests on.")
]
ShareOption = Annotated[
    list[Path] | None,
    typer.Option("--share", help="What an oversight released; repeat. None: make a request."),
]
ToOption = Annotated[Path, typer.Option("--to", help="A new folder for the request.")]
RecordOption = Annotated[
    Path | None,
    typer.Option("--record", help="The folder of your log; default: openings beside the profile."),
]
DirectoryOption = Annotated[
    Path | None, typer.Option("--directory", help="Signed directory; else the profile's.")
]
TrustOption = Annotated[
    Path | None, typer.Option("--trust", help="Trust anchors; else the profile's.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """An auditor at work: the directories known, and what stands for the person."""

    known: tuple[Directory, ...]
    auditor: Auditor
    folder: Path

    @property
    def federation(self) -> str:
        """Its name."""
        return self.known[0].federation


def opening(
    leaf: Annotated[
        str, typer.Argument(metavar="LEAF|REQUEST", help="A query's id; with --share the request.")
    ],
    log: LogOption = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help="In place of --log: a receipt of the query.")
    ] = None,
    ground: GroundOption = None,
    reference: ReferenceOption = None,
    share: ShareOption = None,
    to: ToOption = Path("opening"),
    record: RecordOption = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Open one leaf's sealed detail: ask the audit committee, then open with what it released.

    First without --share: makes a request that you sign, for the members of the committee to
    decide about. Then with what they released: recomputes every signed part of the query from the
    detail, and shows it. Both are on the record, with their ground, before anything is shown.
    """
    desk = desk_of(profile, directory, trust, record)
    if share:
        return _open(desk, Path(leaf), share, output)
    found = _found(leaf, log, receipt)
    ask(
        desk,
        found,
        to,
        ground=ground,
        reference=reference,
        again=f"fairlead audit open {to / REQUEST} --share FILE --share FILE",
    )
    return Exit.ANSWERED


# ── Asking ───────────────────────────────────────────────────────────────────────────────────


def desk_of(
    profile: Path | None, directory: Path | None, trust: Path | None, record: Path | None
) -> Desk:
    """What a command's options and profile make an auditor's desk of.

    :raises FairleadError: a file is missing, or does not verify.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from fairlead import signing
    from fairlead.opening.files import directories
    from fairlead.opening.request import Auditor
    from fairlead.profile import load_profile

    settings, folder = load_profile(profile)
    pem = Path(settings.certificate).read_bytes()
    certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    known = directories(
        directory or Path(settings.directory), trust or Path(settings.trust), now=time.time()
    )
    auditor = Auditor(certificate=certificate, key=signing.load_user_key(Path(settings.key)))
    return Desk(known=known, auditor=auditor, folder=record or folder / RECORD)


def _found(
    leaf: str, log: Path | None, receipt: Path | None
) -> Sequence[tuple[opening_pb2.Sought, bytes]]:
    from fairlead.evidence import load_evidence
    from fairlead.opening.sought import in_log, sought

    query_id = query_reference(leaf)
    if log is not None and receipt is None:
        return in_log(log, query_id=query_id)
    if receipt is not None and log is None:
        evidence = load_evidence(receipt)
        return [(sought(evidence.intent, evidence.detail, query_id), evidence.detail)]
    raise usage(
        "say where the leaf is: in a log or in a receipt",
        "audit open QUERY --log FILE, or --receipt FILE",
    )


def ask(
    desk: Desk,
    found: Sequence[tuple[opening_pb2.Sought, bytes]],
    to: Path,
    *,
    ground: str | None,
    reference: str | None,
    again: str,
    since: int = 0,
    until: int = 0,
    subject: Subject | None = None,
    searcher: str = "",
) -> None:
    """Make a request: sign it, write it down, put it on the record, say who has to decide.

    :param subject: of a search, with its period; ``searcher`` is who is to filter it.
    """
    from fairlead import signing
    from fairlead.keyfile import private_folder, write_private
    from fairlead.opening.record import ASKED
    from fairlead.opening.request import make_request, verify_request
    from fairlead.v1 import opening_pb2

    if not ground or not reference:
        raise usage(
            "an opening has a ground and a reference",
            "audit open … --ground court-order --reference 'ROT 26/417'",
        )
    now = time.time()
    signed, kept = make_request(
        found, auditor=desk.auditor, directories=desk.known, ground=ground, reference=reference,
        now=now, since=since, until=until, subject=subject, searcher=searcher,
    )  # fmt: skip
    request = verify_request(signed, directories=desk.known, now=now)
    if to.exists() and any(to.iterdir()):
        raise usage(
            "the folder for the request is not empty",
            "audit … --to FOLDER",
        )
    with recording(desk, request) as log:
        log.put(request, ASKED)
        private_folder(to)
        write_private(to / KEPT, kept)
        write_private(to / REQUEST, signed)
        if request.search:
            details = opening_pb2.OpeningDetails(details=[detail for _, detail in found])
            write_private(to / DETAILS, signing.canonical(details))
    say(f"a request for {len(request.sought)} sealed details: {to / REQUEST}")
    say(f"keep {to / KEPT} to yourself: whoever has it and the shares reads the details")
    if request.unwitnessed:
        say("no quorum has cosigned what proves a leaf of it: members may refuse, or ask for --log")
    members = ", ".join(p for p, _ in request.challenges if p != request.searcher)
    if members:
        say(f"who may release a share: the oversight of {members}")
        say(f"next: each of them: fairlead-oversight share {REQUEST} --config oversight.toml")
    if request.search:
        say(f"who filters: the oversight of {request.searcher}; it needs {to / DETAILS} too")
        say(f"next: there: fairlead-oversight search {REQUEST} --details {DETAILS} --share FILE …")
    say(f"next: {again} …")


# ── Opening ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """A request with what was released for it."""

    request: Request
    kept: Kept
    released: Sequence[Released]
    forged: int


def _answered(desk: Desk, path: Path, shares: Sequence[Path]) -> _Answered:
    """A request with its answers; a file that does not verify is said and left out."""
    from fairlead.opening.files import read_octets, read_request
    from fairlead.opening.share import MAX_KEPT, MAX_SHARES, Kept, take

    request = read_request(path, desk.known, now=time.time(), deny_lists=None)
    kept = Kept.parse(read_octets(path.with_suffix(".key"), MAX_KEPT), request)
    released: dict[str, Released] = {}
    forged = 0
    for file in shares:
        try:
            found = take(read_octets(file, MAX_SHARES), request, kept)
        except FairleadError as error:
            forged += 1
            say(f"{printable(str(file))}: left out: {error.diagnostics()}")
            continue
        released[found.partner_id] = found
    return _Answered(request=request, kept=kept, released=list(released.values()), forged=forged)


def _opened(desk: Desk, answered: _Answered, place: int) -> Opened:
    from fairlead.opening.opened import open_leaf

    return open_leaf(
        place,
        answered.request.sought[place],
        answered.kept.details[place],
        answered.released,
        desk.known,
    )


def _open(desk: Desk, path: Path, shares: Sequence[Path], output: Format) -> int:
    from fairlead.detail import SharesWrong
    from fairlead.opening.record import LIED, OPENED

    answered = _answered(desk, path, shares)
    request = answered.request
    if request.search:
        raise usage("this is a request for a search", f"audit search {path} --found FILE")
    with recording(desk, request) as log:
        try:
            opened = _opened(desk, answered, 0)
        except SharesWrong as error:
            for member in error.liars:
                log.alarm(member, LIED, request.sought[0].bound.query_id)
            accuse(error.liars, ())
            raise
        log.put(request, OPENED)
        log.alarms(opened)
    show(opened, output)
    accuse(opened.liars, opened.spoilt, opened.refused)
    if opened.faults:
        say(
            f"INCIDENT: what {opened.item.bound.maker} sealed is not what was asked: "
            + ", ".join(f"{part.part} {part.fault}" for part in opened.faults)
        )
        say("next: docs/audit.md, “When a part differs”; the ALARM is in your log")
    wrong = opened.faults or opened.liars or opened.spoilt or opened.refused or answered.forged
    return Exit.CHECK_FAILED if wrong else Exit.ANSWERED


@contextmanager
def recording(desk: Desk, request: Request) -> Iterator[Record]:
    """The auditor's own log, while a command runs."""
    from fairlead.opening.record import record

    with record(desk.folder, desk.federation, request.auditor.partner_id or "") as log:
        yield log


def usage(fault: str, command: str) -> InvalidInput:
    """The error of a command that lacks something."""
    return InvalidInput(fault, reasons=("OPENING_INCOMPLETE",), remedy=f"fairlead {command}")
