"""``fairlead-gateway directory``: renew what two operators signed, whom it appoints, a further
gateway of the log, and a log that has to begin anew."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import say
from gateway.cli.partner import (
    CONFIG,
    ConfigOption,
    OperatorOption,
    open_books,
    read,
    signing_over,
    told,
)

app = typer.Typer(help="The signed directory.", no_args_is_help=True)


@app.callback()
def directory() -> None:
    """The signed directory."""


@app.command("renew")
def renew(operator: OperatorOption, config: ConfigOption = CONFIG) -> None:
    """Sign the directory and the operators' deny list for another 30 days."""
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome = changes.renew(books, load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory renew")


@app.command("appoint")
def appoint(
    operator: OperatorOption,
    committee: Annotated[
        list[str] | None, typer.Option(help="Partner in the audit committee; repeat, 2 to 5.")
    ] = None,
    threshold: Annotated[
        int, typer.Option(help="So many of the committee together open a sealed detail.")
    ] = 0,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="Partner that cosigns the gateway's log; repeat. Default: every partner."
        ),
    ] = None,
    tolerate: Annotated[
        int, typer.Option(help="So many witnesses may lie without harm to a quorum.")
    ] = 1,
    config: ConfigOption = CONFIG,
) -> None:
    """Name the audit committee and the witnesses, in place of those named before."""
    from fairlead.appointed import Appointed
    from fairlead.signing import load_signing_key
    from gateway import changes

    wanted = Appointed(
        committee=tuple(sorted({*(committee or ())})),
        threshold=threshold,
        witnesses=tuple(sorted({*(witness or ())})),
        tolerated=tolerate,
    )
    with signing_over(config, operator) as books:
        outcome = changes.appoint(books, wanted, load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory appoint")


@app.command("make-gateway")
def make_gateway(
    folder: Annotated[Path, typer.Argument(help="A new folder for the further gateway.")],
    name: Annotated[str, typer.Option("--name", help="Its id, as in gw-2.")],
    listen: Annotated[str, typer.Option("--listen", help="host:port to listen on.")],
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="host:port under which nodes dial it.")
    ],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further DNS name or IP address (repeat)."),
    ] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Make the folder of a further gateway, which writes this gateway's log in the same database:
    keys of its own, and copies of the log's and the CA's. Two operators list it next."""
    from fairlead.enrolment.invitation import endpoint_host
    from fairlead.phrases import check_phrase
    from fairlead.signing import canonical, digest
    from gateway.beside import ENTRY_FILE, make_beside
    from gateway.founding import Seat

    seat = Seat(
        name=name,
        listen=listen,
        endpoint=endpoint,
        hosts=tuple(sorted({endpoint_host(endpoint), *(host or ())})),
    )
    entry = make_beside(open_books(config), folder, seat, now=time.time())
    say(f"gateway {entry.spiffe_id} at {entry.endpoint}: {folder}")
    say(f"its check phrase, to read to both operators: {check_phrase(digest(canonical(entry)))}")
    say(f"next, by two operators: fairlead-gateway directory add-gateway {folder / ENTRY_FILE} …")


@app.command("add-gateway")
def add_gateway(
    entry: Annotated[Path, typer.Argument(help="The file gateway.entry of its folder.")],
    operator: OperatorOption,
    phrase: Annotated[
        str, typer.Option("--phrase", help="The check phrase as it was read to you.")
    ],
    config: ConfigOption = CONFIG,
) -> None:
    """List a further gateway of the log: the first operator drafts, the second completes."""
    from fairlead.enrolment.invitation import compare
    from fairlead.keyfile import write_private
    from fairlead.signing import digest, load_signing_key
    from gateway.beside import list_beside

    data = read(entry)
    compare(phrase, digest(data), code="PHRASE_DIFFERS")
    with signing_over(config, operator) as books:
        outcome = list_beside(books, data, load_signing_key(operator), now=time.time())
        published = books.config.directory.read_bytes()
    told(outcome, "directory", f"fairlead-gateway directory add-gateway {entry} --phrase …")
    copy = entry.with_name("public") / "directory.bin"
    if outcome.published and copy.exists():
        write_private(copy, published)
        say(f"{entry.parent} has it: write the database's address where its gateway.toml says,")
        say("move the folder to its machine, and leave no copy here")


@app.command("new-origin")
def new_origin(
    last: Annotated[
        Path, typer.Argument(help="The last cosigned checkpoint of the log as it was: a text file.")
    ],
    operator: OperatorOption,
    config: ConfigOption = CONFIG,
) -> None:
    """Let a log that lost its tail begin anew under another origin, which names the last cosigned
    checkpoint of the old one. Move the old log's file away before the gateway starts again."""
    from fairlead.signing import load_signing_key
    from gateway.restarting import new_origin as begin_anew

    with signing_over(config, operator) as books:
        note = read(last).decode(errors="replace")
        outcome = begin_anew(books, note, load_signing_key(operator), now=time.time())
        state = books.config.state_dir
    told(outcome, "directory", f"fairlead-gateway directory new-origin {last}")
    if outcome.published:
        say(f"move {state / 'audit.sqlite'} to where evidence is kept, then start the gateway")
