"""``fairlead audit verify``: re-derive a whole log, or verify what was taken from one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.audit.copying import LOG_HELP, place_of
from fairlead.cli.audit.selecting import DirectoryOption, TrustOption, anchors_of, keys_of
from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Exit, Format, emit, say
from fairlead.errors import Forged, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead.auditlog import LogReport, Place
    from fairlead.cli.audit.selecting import Keys
    from fairlead.partners import Directory
    from fairlead.receipts import Head
    from fairlead.timestamping.checking import Stamp

COLUMNS = (
    "log", "leaves", "checkpoints", "root", "by_type", "open_queries", "decision_batches",
    "timestamps", "erased",
)  # fmt: skip
LEAF_COLUMNS = ("log", "leaf", "type", "log_size", "root")
SQLITE = b"SQLite format 3\x00"
MAX_RECEIPT = 1024 * 1024
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--timestamp-ca", help="Certificates (PEM) that issued the timestamp authority's."
    ),
]


def verify(
    log: Annotated[str, typer.Argument(help=f"{LOG_HELP} Or an export, or a leaf's receipt.")],
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    receipt: Annotated[
        list[Path] | None, typer.Option(help="Receipt the gateway's log must extend; repeat.")
    ] = None,
    timestamp_ca: AuthorityOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Recompute every hash, root, signature and ordering rule of a log.

    Whose log it is stands in it; the key to verify it with comes from the directory. Only
    receipts kept elsewhere and timestamps show that its operator rewrote the log and signed it
    again. Of an export and of a leaf's receipt, everything that they hold is verified."""
    keys = keys_of(directory, trust, profile)
    known = _known(receipt or (), directory, trust, profile)
    place = place_of(log)
    data = _beginning(place) if isinstance(place, Path) else b""
    if not isinstance(place, Path) or data.startswith(SQLITE) or not data:
        report = _log(log, place, keys, known, timestamp_ca, output)
        if not _approved(report, directory, trust, profile):
            return Exit.PARTIAL
    elif timestamp_ca:
        raise InvalidInput(
            "timestamps are verified with a whole log",
            reasons=("FILE_FORMAT",),
            remedy="fairlead audit verify FILE --timestamp-ca PEM",
        )
    elif data.startswith(b'{"fairlead_audit_export"'):
        _export(place, keys, known, output)
    else:
        _leaf(place, keys, output)
    return Exit.ANSWERED


def _log(
    log: str,
    place: Place,
    keys: Keys,
    known: Sequence[Head],
    timestamp_ca: Path | None,
    output: Format,
) -> LogReport:
    from fairlead.auditing.file import open_file
    from fairlead.auditlog import claimed_origin, verify_log
    from fairlead.timestamping.checking import heads, opener, stamps_of

    origin = claimed_origin(place)
    own = keys(origin)
    with open_file(place) as file:
        stamps = stamps_of(file.read, file.size)
        stamped = heads(stamps, opener(origin, own))
        report = verify_log(
            place, origin=origin, public_key=own[0], former=own[1:], known=[*known, *stamped]
        )
        if timestamp_ca:
            _stamps(file.read, stamps, stamped, timestamp_ca)
    record = {
        "log": origin,
        "leaves": report.size,
        "checkpoints": report.checkpoints,
        "root": report.root.hex(),
        "by_type": ", ".join(f"{name} {count}" for name, count in sorted(report.leaves.items())),
        "open_queries": len(report.open_queries),
        "decision_batches": report.batches,
        "timestamps": f"{len(stamps)} verified" if timestamp_ca else f"{len(stamps)}",
        "erased": report.erased,
    }
    emit([record], columns=COLUMNS, output=output)
    if stamps and not timestamp_ca:
        say(
            "the timestamps are of this log; whether the authority signed them was not looked at\n"
            f"next: fairlead audit verify {log} --timestamp-ca FILE"
        )
    return report


def _approved(
    report: LogReport, directory: Path | None, trust: Path | None, profile: Path | None
) -> bool:
    """Whether two people signed each erasure, as far as the trust anchors and directories that are
    here know them."""
    from fairlead.errors import FairleadError
    from fairlead.retention import require_approved

    if not report.orders:
        return True
    anchors, listed = anchors_of(directory, trust, profile)
    failed = []
    for index, order, names in report.orders:
        try:
            require_approved(order, names, operators=anchors.operators, directories=listed)
        except FairleadError as error:
            failed.append(index)
            say(f"leaf {index}: the approvals of this erasure do not verify [{error.code}]")
    if failed:
        say(
            "either the trust anchors or directories here are not those of its time, or it was "
            "not approved\nnext: fairlead audit list --type ERASURE"
        )
    return not failed


def _stamps(
    read: object, stamps: Sequence[Stamp], stamped: Sequence[Head], timestamp_ca: Path
) -> None:
    from fairlead.timestamping.checking import verify_stamp
    from fairlead.timestamping.token import load_authorities

    authorities = load_authorities(timestamp_ca)
    for stamp, head in zip(stamps, stamped, strict=True):
        verify_stamp(stamp, head, read, authorities)  # type: ignore[arg-type]


def _export(path: Path, keys: Keys, known: Sequence[Head], output: Format) -> None:
    from fairlead.auditing.export import Checker, open_export, read_lines
    from fairlead.cli.audit.exporting import COLUMNS as EXPORTED
    from fairlead.cli.audit.exporting import record

    checker = Checker(known=known)
    with open_export(path) as file:
        for _ in read_lines(file, checker):
            pass
    found = checker.finish(keys(checker.origin))
    emit([record(found)], columns=EXPORTED, output=output)
    if not found.complete:
        say(
            "places without a leaf were not selected, or were erased: "
            "the export does not say what they hold\n"
            "next: fairlead audit show INDEX"
        )


def _leaf(path: Path, keys: Keys, output: Format) -> None:
    from fairlead import receipts
    from fairlead.auditing.fields import type_word
    from fairlead.auditing.reading import leaf_of
    from fairlead.cli.audit.showing import load_receipt

    origin, found = load_receipt(path.read_bytes()[: MAX_RECEIPT + 1])
    head = _opened(found, origin, keys(origin))
    index = receipts.parse_proof(found.tlog_proof).index
    record = {
        "log": origin,
        "leaf": index,
        "type": type_word(leaf_of(found.leaf).type),
        "log_size": head.size,
        "root": head.root.hex(),
    }
    emit([record], columns=LEAF_COLUMNS, output=output)


def _opened(receipt: object, origin: str, keys: Sequence[bytes]) -> Head:
    """Verify under whichever of the log's keys signed the head."""
    from fairlead.receipts import verify_receipt

    for former in keys[1:]:
        try:
            return verify_receipt(receipt, origin=origin, public_key=former, head=None)  # type: ignore[arg-type]
        except Forged:
            continue
    return verify_receipt(receipt, origin=origin, public_key=keys[0], head=None)  # type: ignore[arg-type]


def _known(
    files: Sequence[Path], directory: Path | None, trust: Path | None, profile: Path | None
) -> list[Head]:
    """The heads that receipts kept elsewhere prove."""
    from fairlead.evidence import heads, load_evidence
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if not files:
        return []
    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    members = Trust.load(trust).directory(directory, now=time.time())
    return [head for file in files for head in heads(load_evidence(file), members)]


def _beginning(path: Path) -> bytes:
    """The first octets; none of a file that cannot be read, which a log's reader explains."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def keys_listed(origin: str, listed: Sequence[Directory]) -> list[bytes]:
    """The keys that signed a log, as these directories have them: an origin may have ended, and a
    key been turned.

    :raises Forged: LOG_ORIGIN: it is of nobody in any of them.
    """
    found = []
    for one in listed:
        try:
            found.append(key_of(origin, one))
        except Forged:  # it was nobody's then
            continue
    return found or [key_of(origin, listed[0])]


def key_of(origin: str, directory: Directory) -> bytes:
    """The key that signs the log of this origin.

    :raises Forged: the log is of nobody in the directory.
    """
    from fairlead.opening.sought import key_of as found

    return found(origin, directory)[0]
