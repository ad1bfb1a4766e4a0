"""``fairlead-gateway init`` and ``operator new``: the first keys of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import say

app = typer.Typer(help="Operators' keys.", no_args_is_help=True)
POLICIES = Path(__file__).resolve().parents[2] / "policies"


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the gateway.")],
    federation: Annotated[
        str, typer.Option("--federation", help="The federation's name, as in port.example.")
    ],
    listen: Annotated[str, typer.Option("--listen", help="host:port to listen on.")],
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="host:port under which nodes dial the gateway.")
    ],
    name: Annotated[str, typer.Option("--name", help="The gateway's id.")] = "gw-1",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further DNS name or IP address (repeat)."),
    ] = None,
    operator_public: Annotated[
        list[str] | None,
        typer.Option(
            "--operator-public",
            help="An operator's public key, from `operator new` (repeat; default: make two).",
        ),
    ] = None,
    policies: Annotated[
        Path, typer.Option("--policies", help="The folder of the built policies.")
    ] = POLICIES,
    officer: Annotated[
        list[str] | None,
        typer.Option(
            "--officer",
            help="Whose the policy keys are, as PERSON@PARTNER (twice; pseudonyms, and the ids "
            "that two partners will have).",
        ),
    ] = None,
    agreement: Annotated[
        list[str] | None,
        typer.Option("--agreement", help="data/FILE.yaml beside the baseline (repeat)."),
    ] = None,
) -> None:
    """Found a federation: gateway keys, CA, operators, policy, first directory, invitation."""
    import time

    from fairlead.enrolment.invitation import endpoint_host
    from gateway.founding import Charter, found

    charter = Charter(
        federation=federation,
        name=name,
        listen=listen,
        endpoint=endpoint,
        hosts=tuple(sorted({endpoint_host(endpoint), *(host or ())})),
        operators=_keys(operator_public or []),
        policies=policies,
        agreements=tuple(agreement or ()),
        **({"officers": tuple(_officer(text) for text in officer)} if officer else {}),
    )
    invitation, signed = found(folder, charter, now=time.time())
    say(f"federation {invitation.federation}, gateway {invitation.gateway_id}")
    say(f"the keys in {folder / 'hand-over'} belong to their holders: hand each folder over, and")
    say("leave no copy here; two operators together can list a partner, two officers a policy")
    say(f"invitation for partners: {folder / 'invitation.toml'}")
    say(f"its check phrase, to read to each partner: {invitation.phrase}")
    config = folder / "gateway.toml"
    if signed:
        say(f"next: fairlead-gateway serve --config {config}")
    else:
        say("the first directory waits for both operators' signatures")
        say(f"next: fairlead-gateway directory renew --operator operator.key --config {config}")


@app.command("new")
def new(
    folder: Annotated[Path, typer.Argument(help="The operator's own folder.")],
) -> None:
    """Make an operator's key where it is used; prints its public half."""
    from gateway.founding import new_operator

    typer.echo(new_operator(folder).hex())
    say(f"the private key stays in {folder / 'operator.key'}")
    say("next: fairlead-gateway init FOLDER … --operator-public KEY --operator-public KEY")


def _officer(text: str) -> tuple[str, str]:
    person, _, partner = text.partition("@")
    return person, partner


def _keys(values: list[str]) -> tuple[bytes, ...]:
    from fairlead.errors import InvalidInput

    try:
        keys = tuple(bytes.fromhex(value) for value in values)
    except ValueError:
        keys = (b"",)
    if any(len(key) != 32 for key in keys) or len(set(keys)) != len(keys):
        raise InvalidInput(
            "an operator's public key is 64 hexadecimal digits, and each is another's",
            reasons=("OPERATORS",),
            remedy="fairlead-gateway operator new FOLDER",
        )
    return keys
