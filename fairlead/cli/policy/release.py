"""``fairlead policy sign``, ``revert`` and ``keygen``: a release gets its signatures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.confirming import confirm
from fairlead.cli.options import ProfileOption, when
from fairlead.cli.output import say
from fairlead.cli.policy.publishing import current, fetched

if TYPE_CHECKING:
    from fairlead.policy.approving import Desk, Terms
    from fairlead.policy.manifest import Manifest, SignedManifest

DAY_S = 86_400
FolderArgument = Annotated[
    Path, typer.Argument(help="The folder of the release: kernel, data, reports.")
]
KeyOption = Annotated[Path, typer.Option("--key", help="Your key as an officer.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, help="Days until it ends.")]
AgeOption = Annotated[
    int,
    typer.Option(
        "--max-age-days",
        min=1,
        help="Days a process goes on without hearing that it is still current.",
    ),
]
NoteOption = Annotated[str, typer.Option("--note", help="One line for those who read the history.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Sign without being asked.")]
LocalOption = Annotated[
    Path | None,
    typer.Option(
        "--local",
        metavar="CONFIG",
        help="Sign your partner's own bundle, for the node of this configuration.",
    ),
]
BaseOption = Annotated[
    Path | None,
    typer.Option("--base", help="The release it follows; default: your node's current one."),
]


def sign(
    folder: FolderArgument,
    key: KeyOption,
    base: BaseOption = None,
    local: LocalOption = None,
    days: DaysOption = 365,
    max_age_days: AgeOption = 365,
    note: NoteOption = "",
    emergency: Annotated[
        bool, typer.Option("--emergency", help="One person tightens; reviewed within 72 hours.")
    ] = False,
    yes: YesOption = False,
    profile: ProfileOption = None,
) -> None:
    """Sign a release: its author first, which makes its manifest, then a second person."""
    from fairlead.policy.approving import Terms
    from fairlead.policy.manifest import Kind

    terms = Terms(
        kind=Kind.EMERGENCY if emergency else Kind.RELEASE,
        lifetime_s=days * DAY_S,
        max_age_s=max_age_days * DAY_S,
        note=note,
    )
    _sign(folder, key, _desk(base, local, profile), terms, yes=yes)


def revert(
    serial: Annotated[int, typer.Argument(min=1, help="The serial to go back to.")],
    folder: Annotated[Path, typer.Option("--out", help="A new folder for the release.")],
    key: KeyOption,
    days: DaysOption = 365,
    max_age_days: AgeOption = 365,
    note: NoteOption = "",
    yes: YesOption = False,
    profile: ProfileOption = None,
) -> None:
    """Make a new release of an older one's files, signed by you; it needs a second person too."""
    from fairlead.policy.approving import Terms
    from fairlead.policy.manifest import Kind

    desk = _desk(None, None, profile)
    fetched(profile, serial, folder)
    terms = Terms(
        kind=Kind.REVERT,
        lifetime_s=days * DAY_S,
        max_age_s=max_age_days * DAY_S,
        note=note or f"back to serial {serial}",
    )
    _sign(folder, key, desk, terms, yes=yes)


def keygen(
    file: Annotated[Path, typer.Argument(help="Where the key is to be kept; must not exist.")],
) -> None:
    """Make an officer's signing key where it is used; prints its public half."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fairlead import signing
    from fairlead.errors import Conflict

    if file.exists():
        raise Conflict(
            "a file of this name exists; a key is never overwritten",
            reasons=("FILE_EXISTS",),
            remedy="fairlead policy keygen ANOTHER-FILE",
        )
    made = Ed25519PrivateKey.generate()
    signing.save_key(file, made)
    typer.echo(signing.public_bytes(made).hex())
    say(f"the private key stays in {file}; its public half goes into policy_officers of pins.toml")
    say("next: give it to your operators, who compare it with you out of band")


def _desk(base: Path | None, local: Path | None, profile: Path | None) -> Desk:
    """Who may sign, and what the release is to follow."""
    from fairlead.config import NodeConfig, load
    from fairlead.errors import Misconfigured
    from fairlead.policy.approving import Desk, files_in, signed_in
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if local is not None:
        own = load(NodeConfig, local).local_policy
        if own is None:
            raise Misconfigured(
                "the configuration names no policy of the partner's own",
                reasons=("LOCAL_POLICY",),
                remedy="add the table [local_policy] with dir and officers, as examples/ show",
            )
        place = base or own.dir
        held = files_in(place) if base or signed_in(place) else None
        return Desk(officers=own.officers, base=held, local=True)
    settings, _ = load_profile(profile)
    held = files_in(base) if base else current(profile)
    return Desk(officers=Trust.load(settings.trust).policy_officers, base=held)


def _sign(folder: Path, key: Path, desk: Desk, terms: Terms, *, yes: bool) -> None:
    import time

    from fairlead import signing
    from fairlead.policy.approving import signed_in, write_signed

    before = signed_in(folder)
    private = signing.load_signing_key(key)
    signed = desk.sign(folder, private, terms, now=time.time())
    if before is not None and before.to_bytes() == signed.to_bytes():
        say("you have signed this release already; nothing was changed")
        return
    for line in _described(desk, signed):
        say(line)
    if not yes:
        confirm("Sign this?")
    write_signed(folder, signed)
    officer = desk.officer(private)
    say(f"signed as {officer.person} of {officer.organisation}")
    people = {o.person for o in desk.officers if o.key_id in dict(signed.signatures)}
    if len(people) > 1 or (signed.manifest.kind == "emergency" and not desk.local):
        say(f"next: {_then(folder, desk)}")
    else:
        say(f"next: a second person runs: fairlead policy sign {folder} --key FILE")


def _then(folder: Path, desk: Desk) -> str:
    if desk.local:
        return f"copy {folder} into the folder of [local_policy]; the running node takes it up"
    return f"fairlead policy publish {folder}"


def _described(desk: Desk, signed: SignedManifest) -> list[str]:
    """What is being signed, in plain words."""
    manifest = signed.manifest
    whose = "your partner's own policy" if desk.local else "the federation's policy"
    names = {officer.key_id: officer.person for officer in desk.officers}
    author = names.get(manifest.author, "a stranger")
    lines = [
        f"{whose}, serial {manifest.serial}, {manifest.kind.value} by {author}",
        f"  issued {when(manifest.issued_at)}, ends {when(manifest.not_after)}",
        f"  who does not hear for {manifest.max_age_s // DAY_S} days that it is current denies",
        f"  identity {manifest.identity}",
    ]
    if manifest.note:
        lines.append(f"  note: {manifest.note}")
    return [*lines, *_changes(desk, manifest), *_reports(manifest)]


def _changes(desk: Desk, manifest: Manifest) -> list[str]:
    from fairlead.policy.manifest import parse_manifest

    if desk.base is None:
        return ["  it follows none: the first release"]
    base = parse_manifest(desk.base["manifest.json"]).manifest
    lines = [f"  it follows serial {base.serial}"]
    for word, names in (
        ("new", manifest.files.keys() - base.files.keys()),
        ("gone", base.files.keys() - manifest.files.keys()),
        ("changed", {n for n, d in manifest.files.items() if base.files.get(n, d) != d}),
    ):
        lines += [f"  {word}: {name}" for name in sorted(names)]
    return lines if len(lines) > 1 else [*lines, "  no file differs from it"]


def _reports(manifest: Manifest) -> list[str]:
    tests = f"  tests: {manifest.tests}" if manifest.tests else "  no test report"
    if not manifest.replays:
        return [tests, "  NOT REPLAYED: nobody has seen what this changes of past decisions"]
    replays = ", ".join(manifest.replays)
    return [tests, f"  replay reports: {replays}; every widening in them is justified"]
