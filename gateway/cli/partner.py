"""``fairlead-gateway partner``: admit, update, suspend, resume, list. Two operators sign."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.backup import OutputOption
from fairlead.cli.output import Format, emit, say

if TYPE_CHECKING:
    from gateway.books import Books
    from gateway.changes import Outcome

app = typer.Typer(help="Partners of the federation.", no_args_is_help=True)
COLUMNS = ("partner", "name", "kind", "country", "state", "sequence", "check_phrase")

ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's configuration file.")]
OperatorOption = Annotated[
    Path, typer.Option("--operator", help="Your own key file: operator.key.")
]
CONFIG = Path("gateway.toml")


@app.command("invite")
def invite(
    out: Annotated[Path, typer.Argument(help="The invitation file to write.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Write the invitation a further partner starts from, and say its check phrase."""
    from fairlead.keyfile import write_private

    invitation = open_books(config).invitation()
    write_private(out, invitation.render())
    out.chmod(0o644)  # nothing in it is secret
    say(f"invitation: {out}")
    say(f"its check phrase, to read to the partner: {invitation.phrase}")
    say(f"next, at the partner: fairlead-node init FOLDER --invitation {out.name} …")


@app.command("admit")
def admit(
    request: Annotated[Path, typer.Argument(help="The partner's request file.")],
    operator: OperatorOption,
    phrase: Annotated[
        str, typer.Option("--phrase", help="The check phrase as the partner read it to you.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The admission file; default: beside the request.")
    ] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Admit a partner: the first operator drafts, the second completes."""
    from fairlead.keyfile import write_private
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome, asked = changes.admit(
            books,
            read(request),
            load_signing_key(operator),
            spoken=phrase,
            now=time.time(),
        )
        partner = asked.partner
        say(f"partner {partner.partner_id}: {partner.display_name}, {partner.kind.value}, "
            f"{partner.country}")  # fmt: skip
        say(f"  node {asked.node} at {partner.nodes[0].endpoint}")
        say(f"  schemes {', '.join(partner.schemes)}")
        told(outcome, "directory", f"fairlead-gateway partner admit {request}")
        target = out or request.with_name(f"{partner.partner_id}.admission")
        if outcome.published:
            write_private(target, books.admission_file(partner.partner_id).read_bytes())
    if not outcome.published:
        return
    say(f"admission for the partner: {target}")
    say(f"next, at the partner: fairlead-node enrol {target.name}")


@app.command("update")
def update(
    entry: Annotated[Path, typer.Argument(help="The partner's next signed entry.")],
    operator: OperatorOption,
    config: ConfigOption = CONFIG,
) -> None:
    """List a partner's next entry: another key, another endpoint, under the same root."""
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome = changes.update(books, read(entry), load_signing_key(operator), now=time.time())
    told(outcome, "directory", f"fairlead-gateway partner update {entry}")


@app.command("suspend")
def suspend(
    partner: Annotated[str, typer.Argument(help="The partner's id.")],
    operator: OperatorOption,
    reason: Annotated[
        str, typer.Option("--reason", help="A code both operators state, as in KEY_STOLEN.")
    ] = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Refuse every node of a partner; nothing of its entry changes."""
    _deny(partner, operator, config, resume=False, reason=reason)


@app.command("resume")
def resume(
    partner: Annotated[str, typer.Argument(help="The partner's id.")],
    operator: OperatorOption,
    config: ConfigOption = CONFIG,
) -> None:
    """Take a partner's nodes off the deny list."""
    _deny(partner, operator, config, resume=True, reason="")


@app.command("list")
def partners(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """List the partners of the directory, with the check phrases of their roots."""
    from fairlead.cli.options import when
    from fairlead.phrases import check_phrase
    from fairlead.signing import digest

    books = open_books(config)
    denied = set(books.denied.spiffe_ids)
    records = []
    for partner_id in sorted(books.entries()):
        partner = books.partner(partner_id)
        suspended = all(node.spiffe_id in denied for node in partner.nodes)
        records.append(
            {
                "partner": partner_id,
                "name": partner.display_name,
                "kind": partner.kind.value,
                "country": partner.country,
                "state": "suspended" if suspended else "listed",
                "sequence": partner.sequence,
                "check_phrase": check_phrase(digest(partner.root_key)),
            }
        )
    emit(records, columns=COLUMNS, output=output)
    say(f"directory {books.directory.serial}, in force until {when(books.directory.expires_at)}")


def open_books(config: Path) -> Books:
    """The federation's books of a configured gateway.

    :raises FairleadError: the configuration or a signed list is wrong.
    """
    from fairlead.config import GatewayConfig, load
    from gateway.books import Books

    return Books.load(load(GatewayConfig, config))


@contextmanager
def signing_over(config: Path, operator: Path) -> Iterator[Books]:
    """The books, for one operator's signature: nobody else's meanwhile, none older than seen.

    :raises Forged: BOOKS_OLDER, BOOKS_FORK: somebody has put others back.
    """
    from gateway.seen import Seen

    seen = Seen(operator)
    with open_books(config).desk().alone():
        books = open_books(config)
        seen.check(books)
        seen.keep(books)
        yield books
        seen.keep(open_books(config))


def read(path: Path) -> bytes:
    """A file that somebody sent.

    :raises InvalidInput: FILE: missing, unreadable or absurdly large.
    """
    from fairlead.errors import InvalidInput

    try:
        with path.open("rb") as file:
            data = file.read(64 * 1024 * 1024 + 1)
    except OSError:
        data = b""
    if not 0 < len(data) <= 64 * 1024 * 1024:
        raise InvalidInput(
            "the file is missing, empty or unreadable",
            reasons=("FILE",),
            remedy="check the path, and ask the sender for the file again",
        )
    return data


def told(outcome: Outcome, what: str, command: str) -> None:
    """Say what one operator's signature did, and what comes next."""
    if outcome.published:
        state = "was published before; nothing changed" if outcome.again else "is published"
        say(f"{what} {outcome.serial} {state}")
        return
    if outcome.again:
        say("you signed this already; the second operator has not")
    else:
        say(f"drafted and signed; {what} {outcome.serial} waits for the second operator")
    say(f"next, by another operator: {command} --operator FILE …")


def _deny(partner: str, operator: Path, config: Path, *, resume: bool, reason: str) -> None:
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome = changes.suspend(
            books,
            partner,
            load_signing_key(operator),
            resume=resume,
            reason=reason,
            now=time.time(),
        )
    word = "resume" if resume else "suspend"
    told(outcome, "deny list", f"fairlead-gateway partner {word} {partner}")
