"""``fairlead-authority``: a partner's user authority, and its register."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.backup import OutputOption
from fairlead.cli.output import Exit, Format, emit, emit_json, run, say
from fairlead.cli.version import add_version

if TYPE_CHECKING:
    from fairlead.user_authority.people import People

app = typer.Typer(
    name="fairlead-authority",
    help="Says who a partner's people are. Its key belongs on no node.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
users = typer.Typer(help="The partner's people, by pseudonym.", no_args_is_help=True)
app.add_typer(users, name="user")
add_version(app)

ConfigOption = Annotated[Path, typer.Option("--config", help="The authority's configuration.")]
Pseudonym = Annotated[str, typer.Argument(help="As in u-c01; never a name.")]
CONFIG = Path("authority.toml")
COLUMNS = ("user", "roles", "state", "certified_until", "responsible", "schemes")


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the authority.")],
    partner: Annotated[str, typer.Option("--partner", help="The partner's id.")],
    federation: Annotated[str, typer.Option("--federation", help="The federation's name.")],
    listen: Annotated[
        str, typer.Option("--listen", help="host:port to listen on.")
    ] = "127.0.0.1:7444",
    node_folder: Annotated[
        Path | None,
        typer.Option("--node-folder", help="The node's folder, when it is on this machine."),
    ] = None,
) -> None:
    """Make the authority's key, its register and its first deny list."""
    import time

    from cryptography.hazmat.primitives.hashes import SHA256

    from fairlead.user_authority.founding import found

    made = found(
        folder,
        partner=partner,
        federation=federation,
        listen=listen,
        node_folder=node_folder,
        now=time.time(),
    )
    say(f"your certificate, for fairlead-node init … --authority: {folder / 'authority.pem'}")
    say(f"its fingerprint, for people who log in: {made.certificate.fingerprint(SHA256()).hex()}")
    if node_folder is None:
        say(f"put the node's directory.bin and pins.toml into {folder / 'federation'}")
    say(f"next: fairlead-authority serve --config {folder / 'authority.toml'}")


@app.command("serve")
def serve(config: ConfigOption = CONFIG) -> int:
    """Serve until told to stop; keep the deny list fresh."""
    import asyncio

    from fairlead import telemetry
    from fairlead.config import load
    from fairlead.user_authority.app import run as run_authority
    from fairlead.user_authority.config import AuthorityConfig

    settings = load(AuthorityConfig, config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_authority(settings)) else Exit.INTERNAL


@app.command("verify")
def verify(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Verify the authority's own audit log: every certificate it ever issued is a leaf."""
    from fairlead.auditlog import verify_unerased
    from fairlead.config import load
    from fairlead.signing import load_signing_key, public_bytes
    from fairlead.user_authority.config import AuthorityConfig
    from fairlead.user_authority.journal import LOG_FILE, origin

    settings = load(AuthorityConfig, config)
    key = public_bytes(load_signing_key(settings.keys_dir / "log.key"))
    log = settings.state_dir / LOG_FILE
    report = verify_unerased(log, origin=origin(settings), public_key=key)
    record = {
        "log": origin(settings),
        "leaves": report.size,
        "by_type": ", ".join(f"{kind} {count}" for kind, count in sorted(report.leaves.items())),
        "root": report.root.hex(),
    }
    emit([record], columns=tuple(record), output=output)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from fairlead.config import json_schema
    from fairlead.user_authority.config import AuthorityConfig

    emit_json(json_schema(AuthorityConfig))


# ── People ───────────────────────────────────────────────────────────────────────────────────


@users.command("add")
def add(
    pseudonym: Pseudonym,
    role: Annotated[list[str], typer.Option("--role", help="analyst, approver, … (repeat).")],
    service: Annotated[bool, typer.Option("--service", help="A program, not a person.")] = False,
    responsible: Annotated[
        str, typer.Option("--responsible", help="Who answers for the program: a pseudonym.")
    ] = "",
    scheme: Annotated[
        list[str] | None,
        typer.Option("--scheme", help="A scheme the program may ask about (repeat)."),
    ] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Enter a pseudonym and print its one-time code."""
    from fairlead.errors import InvalidInput
    from fairlead.user_authority.people import admit_roles
    from fairlead.user_authority.register import Person

    if service != bool(responsible) or service != bool(scheme):
        raise InvalidInput(
            "a service user, and only one, has a responsible person and schemes",
            reasons=("SERVICE",),
            remedy="--service --responsible PSEUDONYM --scheme container",
        )
    with opened(config) as people:
        person = Person(
            pseudonym=pseudonym,
            roles=admit_roles(role),
            responsible=responsible,
            schemes=tuple(scheme or ()),
            added_at=int(people.clock()),
        )
        _hand_over(people, pseudonym, people.add(person))


@users.command("renew")
def renew(pseudonym: Pseudonym, config: ConfigOption = CONFIG) -> None:
    """Print a new one-time code, for a lost key or an expired certificate."""
    with opened(config) as people:
        _hand_over(people, pseudonym, people.renew(pseudonym))


@users.command("suspend")
def suspend(pseudonym: Pseudonym, config: ConfigOption = CONFIG) -> None:
    """Deny somebody from now on, and every service user they answer for."""
    with opened(config) as people:
        changed = people.suspend(pseudonym)
        say(f"{pseudonym} " + ("is suspended" if changed else "was suspended before"))
        say(f"deny list signed anew: {people.config.deny_list}; the node carries it on")


@users.command("list")
def listed(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """List everybody in the register."""
    from fairlead.cli.options import when

    with opened(config) as people:
        records = [
            {
                "user": person.pseudonym,
                "roles": ", ".join(person.roles),
                "state": person.state.value,
                "certified_until": when(person.certified_until),
                "responsible": person.responsible or None,
                "schemes": ", ".join(person.schemes) or None,
            }
            for person in people.register.people()
        ]
    emit(records, columns=COLUMNS, output=output)


@contextmanager
def opened(config: Path) -> Iterator[People]:
    """The register of a configured authority; what was done is in its log afterwards, or will be
    as soon as the serving authority takes it over."""
    import asyncio

    from fairlead.config import load
    from fairlead.user_authority.app import open_people
    from fairlead.user_authority.config import AuthorityConfig
    from fairlead.user_authority.journal import drain_if_free

    settings = load(AuthorityConfig, config)
    people = open_people(settings)
    try:
        yield people
        asyncio.run(drain_if_free(settings, people.register, people.clock))
    finally:
        people.register.close()


def _hand_over(people: People, pseudonym: str, code: str) -> None:
    from cryptography.hazmat.primitives.hashes import SHA256

    fingerprint = people.issuer.certificate.fingerprint(SHA256()).hex()
    typer.echo(code)
    say(f"one-time code of {pseudonym}, for 24 hours; hand it over in person")
    say(
        f"next, at that person's machine: fairlead login --authority {people.config.listen} "
        f"--fingerprint {fingerprint} --code {code}"
    )


def main() -> None:
    """Entry point of the ``fairlead-authority`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
