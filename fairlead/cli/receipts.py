"""``fairlead receipts``: prove afterwards what was asked and answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Format, emit, printable, say
from fairlead.errors import FairleadError, Forged, PeerError

if TYPE_CHECKING:
    from fairlead.cli.results import Result
    from fairlead.v1 import asking_pb2

app = typer.Typer(help="Verify receipts offline.", no_args_is_help=True)
COLUMNS = ("query", "asked_at", "by", "purpose", "partners", "answers", "log_size")


class Receipts:
    """Writes each chunk's evidence as JSON as it comes; a folder gets one file per chunk, and so
    does a file name when there are several."""

    def __init__(self, target: Path, result: Result) -> None:
        self._target = target
        self._result = result
        self.paths: list[Path] = []
        self.failed = False

    def take(self, evidence: asking_pb2.Evidence) -> None:
        """Keep one chunk's evidence. A failure is remembered: the query is on record, and its
        answer is shown all the same."""
        try:
            self.paths.append(self._write(evidence))
        except OSError:
            self.failed = True

    def _write(self, evidence: asking_pb2.Evidence) -> Path:
        from google.protobuf.json_format import MessageToDict

        from fairlead.v1 import query_pb2

        header = query_pb2.QueryHeader.FromString(evidence.query.header)
        path = self._target
        if path.is_dir() or not path.suffix:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path /= f"{header.query_id.hex()}.json"
        elif self._result.chunks > 1:
            path = path.with_stem(f"{path.stem}-{header.chunk + 1}")
        document = {"fairlead_receipt": 1, **MessageToDict(evidence)}
        path.write_text(json.dumps(document, indent=1) + "\n")
        return path


@app.command("verify")
def verify(
    files: Annotated[list[Path], typer.Argument(help="Receipt files kept by fairlead ask.")],
    directory: Annotated[
        Path | None, typer.Option(help="Signed directory; else the profile's.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Verify every signature, proof and binding of receipts, without any running service.

    Needs the directory that was in force when the query was asked; those that a process keeps
    beside the current one (directory-SERIAL.bin) are found by themselves.
    """
    from fairlead.evidence import asked_at, directory_of, load_evidence, verify_evidence
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    anchors = Trust.load(trust)
    records = []
    for file in files:
        evidence = load_evidence(file)
        try:
            # The directory that was in force when the query was asked, not today's.
            moment = asked_at(evidence)
            listed = directory_of(evidence, anchors, directory, now=moment)
            result = verify_evidence(evidence, listed)
        except FairleadError as error:
            say(f"{printable(str(file))}: does not verify")
            if isinstance(error, PeerError):
                raise
            raise Forged(
                "this receipt does not verify",
                reasons=error.reasons,
                remedy="give the directory the query was asked under: --directory FILE",
            ) from None
        query = result.query
        records.append(
            {
                "query": query.query_id.hex(),
                "asked_at": _asked_at(query.query_id),
                "by": query.user.spiffe_id.partition("/partner/")[2],
                "purpose": query.purpose,
                "partners": len(result.partners),
                "answers": result.answers,
                "log_size": result.log_size,
            }
        )
    emit(records, columns=COLUMNS, output=output)
    say(f"verified: {len(records)} of {len(files)}")


def _asked_at(query_id: bytes) -> str:
    from fairlead.cli.options import when

    return when(int.from_bytes(query_id[:6], "big") // 1000)
