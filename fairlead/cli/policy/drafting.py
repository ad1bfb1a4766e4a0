"""``fairlead policy new-agreement``: an agreement as a file of a draft, asked for or by options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Format, emit, say
from fairlead.cli.policy.options import FolderArgument

if TYPE_CHECKING:
    from fairlead.policy.documents import Registry

Words = list[str] | None


def new_agreement(
    folder: FolderArgument,
    name: Annotated[str | None, typer.Option("--id", help="What decisions and logs cite.")] = None,
    extends: Annotated[
        str | None, typer.Option("--extends", help="An agreement whose other fields hold too.")
    ] = None,
    asked_by: Annotated[
        Words, typer.Option("--from", help="sector:public, kind:police, partner:NAME (repeat).")
    ] = None,
    to: Annotated[Words, typer.Option("--to", help="Who owns, in the same words (repeat).")] = None,
    purposes: Annotated[Words, typer.Option("--purpose", help="Repeat for several.")] = None,
    legal_bases: Annotated[Words, typer.Option("--legal-basis", help="Repeat.")] = None,
    schemes: Annotated[Words, typer.Option("--scheme", help="Kind of identifier (repeat).")] = None,
    modes: Annotated[Words, typer.Option("--mode", help="sealed, blind or both (repeat).")] = None,
    facets: Annotated[
        Words,
        typer.Option(
            "--facet", help="existence, count_band, contact_desk, field:NAME, full_record."
        ),
    ] = None,
    redact: Annotated[Words, typer.Option("--redact", help="A field withheld (repeat).")] = None,
    roles: Annotated[Words, typer.Option("--role", help="Who may ask (repeat).")] = None,
    asker_countries: Annotated[
        Words, typer.Option("--asker-country", help="ISO code, or EU (repeat).")
    ] = None,
    owner_countries: Annotated[Words, typer.Option("--owner-country", help="The same.")] = None,
    record_countries: Annotated[Words, typer.Option("--record-country", help="The same.")] = None,
    transfer_ground: Annotated[
        str | None, typer.Option("--transfer-ground", help="Needed outside the EU.")
    ] = None,
    instrument: Annotated[
        Words, typer.Option("--instrument", metavar="KIND:AUTHORITY", help="Demanded of a case.")
    ] = None,
    second_approver: Annotated[
        int | None, typer.Option("--second-approver", help="Others at the asker who must agree.")
    ] = None,
    approvals: Annotated[
        int | None, typer.Option("--approvals", help="People at the owner who must approve.")
    ] = None,
    onward: Annotated[
        str | None, typer.Option("--onward", help="none, with-consent or same-sector.")
    ] = None,
    max_records: Annotated[int | None, typer.Option("--max-records", help="For one term.")] = None,
    retention_days: Annotated[
        int | None, typer.Option("--retention-days", help="Kept by the asker at most.")
    ] = None,
    notice_delay_s: Annotated[
        int | None, typer.Option("--notice-delay", metavar="S", help="In seconds.")
    ] = None,
    max_terms: Annotated[int | None, typer.Option("--max-terms", help="In one query.")] = None,
    max_window_days: Annotated[
        str | None, typer.Option("--max-window-days", metavar="DAYS", help="A number, or any.")
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--valid-from", metavar="DATE", help="Default: today.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option("--valid-until", metavar="DATE", help="Default: in a year.")
    ] = None,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing; what is missing is an error.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a new agreement into data/ID.yaml of a draft; what is not said is narrow."""
    said: dict[str, Any] = {
        "id": name, "extends": extends, "from": asked_by, "to": to,
        "asker_countries": asker_countries, "owner_countries": owner_countries,
        "record_countries": record_countries, "transfer_ground": transfer_ground,
        "purposes": purposes, "legal_bases": legal_bases, "instrument": _instrument(instrument),
        "modes": modes, "schemes": schemes, "roles": roles, "facets": facets, "redact": redact,
        "max_records": max_records, "approvals": approvals, "second_approver": second_approver,
        "onward": onward, "notice_delay_s": notice_delay_s, "retention_days": retention_days,
        "max_terms": max_terms, "max_window_days": _days(max_window_days),
        "valid_from": _date(valid_from), "valid_until": _date(valid_until),
    }  # fmt: skip
    given = {key: value for key, value in said.items() if value is not None}
    if max_window_days == ANY:
        given["max_window_days"] = None
    _add(folder, given, no_input=no_input, output=output)


ANY = "any"


def _add(folder: FolderArgument, given: dict[str, Any], *, no_input: bool, output: Format) -> None:
    import datetime as dt

    from fairlead.policy.draft import Draft
    from fairlead.policy.drafting import NEEDED, add_agreement, narrow

    draft = Draft.read(folder)
    registry = draft.registry
    needed = ["id"] if "extends" in given else ["id", *NEEDED]
    missing = [key for key in needed if key not in given]
    if missing and no_input:
        raise _missing(missing)
    for key in missing:
        given[key] = _asked(key, registry)
    today = dt.datetime.now(dt.UTC).date()
    values = given if "extends" in given else {**narrow(registry, today), **given}
    path = add_agreement(draft, values)
    emit([{"file": str(path)}], columns=("file",), output=output)
    say("next: fairlead policy check DIR, then fairlead policy test DIR")


def _asked(key: str, registry: Registry) -> Any:
    """Ask a person for what is missing, naming the words there are."""
    known: dict[str, Iterable[str]] = {
        "purposes": registry.purposes, "legal_bases": registry.legal_bases,
        "schemes": registry.schemes,
        "from": ("sector:public", "sector:private", "kind:…", "partner:…"),
        "to": ("sector:public", "sector:private", "kind:…", "partner:…"),
    }  # fmt: skip
    if key in known:
        say(f"{key}: {', '.join(known[key])}")
    answer: str = typer.prompt(key, err=True)
    return answer.replace(",", " ").split() if key in known else answer.strip()


def _missing(keys: list[str]) -> Exception:
    from fairlead.errors import InvalidInput

    return InvalidInput(
        "an agreement needs more than was said",
        reasons=("AGREEMENT_INCOMPLETE",),
        remedy=f"say {', '.join(keys)}; see: fairlead policy new-agreement --help",
    )


def _instrument(words: Words) -> dict[str, list[str]] | None:
    if not words:
        return None
    pairs = [word.partition(":") for word in words]
    return {
        "kinds": list(dict.fromkeys(kind for kind, _, _ in pairs)),
        "authorities": list(dict.fromkeys(authority for _, _, authority in pairs)),
    }


def _days(word: str | None) -> int | None:
    from fairlead.errors import InvalidInput

    if word is None or word == ANY:
        return None
    if not word.isascii() or not word.isdigit():
        raise InvalidInput(
            "the longest period is a number of days, or any",
            reasons=("DAYS",),
            remedy="--max-window-days 90",
        )
    return int(word)


def _date(word: str | None) -> Any:
    import datetime as dt

    from fairlead.errors import InvalidInput

    try:
        return None if word is None else dt.date.fromisoformat(word)
    except ValueError:
        raise InvalidInput(
            "a day is written as 2026-12-01", reasons=("DATE",), remedy="--valid-from 2026-12-01"
        ) from None
