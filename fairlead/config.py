"""Configuration files: TOML in, frozen models out, every error reported at once.

An unknown or mistyped key is an error, never ignored. Diagnostics name the key and what is
expected there, never the value: a value may be a secret pasted into the wrong place. Secrets
stand in a file only by reference, ``env:NAME`` or ``file:path``. Relative paths start at the
folder of the configuration file. Nothing is taken from the environment behind the file's back.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from fairlead.errors import InvalidInput, Misconfigured
from fairlead.keyfile import read_private
from fairlead.names import check_partner_id
from fairlead.officers import Officer, parse_officers

MAX_FILE = 1024 * 1024
"""Octets; no configuration file is larger."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_PLACE = re.compile(r"line (\d+), column (\d+)")
_ADDRESS = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})\Z"
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z|file:[^\x00]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong: the dotted key (empty for the whole file) and what is expected."""

    key: str
    expected: str


class ConfigurationInvalid(Misconfigured):
    """A configuration file cannot be used; ``problems`` holds every reason, in file order."""

    default_code = "CONFIG_INVALID"

    def __init__(self, code: str, problems: Sequence[Problem], *, remedy: str) -> None:
        super().__init__("the configuration file cannot be used", reasons=(code,), remedy=remedy)
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """One line per problem between the message and the next command."""
        head, *rest = super().diagnostics().split("\n")
        lines = [f"  {p.key}: {p.expected}" if p.key else f"  {p.expected}" for p in self.problems]
        return "\n".join([head, *lines, *rest])


# ── Values ───────────────────────────────────────────────────────────────────────────────────


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, str):
        value = Path(value) if value and "\0" not in value else None
    if not isinstance(value, Path):
        raise PydanticCustomError("path", "not a path")
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(Path(base) / value.expanduser()))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise PydanticCustomError("path_missing", "nothing is there")
    return path


def _address(value: str, lowest: int) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is None or not lowest <= int(found[1]) <= 65535:
        raise PydanticCustomError("address", "not an address")
    return value


def _partner(value: str) -> str:
    try:
        return check_partner_id(value)
    except InvalidInput:
        raise PydanticCustomError("partner", "not a partner id") from None


def _reference(value: str, info: ValidationInfo) -> str:
    if _REFERENCE.fullmatch(value) is None:
        raise PydanticCustomError("reference", "not a reference")
    kind, _, rest = value.partition(":")
    return f"file:{_path(rest, info)}" if kind == "file" else value


def _authority_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    plain = value.isascii() and value.isprintable() and " " not in value and len(value) <= 1024
    if not (whole and plain) or parts.fragment or "@" in parts.netloc:
        raise PydanticCustomError("url", "not the address of a timestamp authority")
    return value


def _opa_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        port, host, parts = None, "", urlsplit("")
    plain = parts.scheme == "http" and host in _LOOPBACK
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if not (host and port and bare and (plain or parts.scheme == "https")):
        raise PydanticCustomError("url", "not the address of an OPA")
    return value


_PathLike = Annotated[
    Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})
]
Creatable = _PathLike
"""A path that the process may make itself."""
Existing = Annotated[_PathLike, AfterValidator(_existing)]
"""A path that must be there before the process starts."""
Listen = Annotated[str, AfterValidator(lambda value: _address(value, 0))]
Endpoint = Annotated[str, AfterValidator(lambda value: _address(value, 1))]
AuthorityUrl = Annotated[str, AfterValidator(_authority_url)]
OpaUrl = Annotated[str, AfterValidator(_opa_url)]
PartnerId = Annotated[str, AfterValidator(_partner)]
SecretReference = NewType("SecretReference", str)
"""``env:NAME`` or ``file:path``: where a secret is, never the secret."""
Reference = Annotated[SecretReference, AfterValidator(_reference)]
LogLevel = Literal["debug", "info", "warning", "error"]


class Table(BaseModel):
    """A TOML table that allows no key but its own; every configuration model is one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Limits(Table):
    """What one process accepts before it says no."""

    max_concurrent_queries: int = Field(
        default=256, ge=1, le=65_536, description="a whole number of queries in progress at once"
    )
    max_message_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=65_536,
        le=4 * 1024 * 1024,
        description="a whole number of octets",
    )
    deadline_ms: int = Field(
        default=5_000, ge=100, le=60_000, description="a whole number of milliseconds for one query"
    )


class Budgets(Table):
    """How many terms may be asked: by the own users, and of this node (PROTOCOL §3)."""

    user_day: int = Field(
        default=5_000,
        ge=1,
        le=10**9,
        description="a whole number of terms of one scheme that one own user may ask in a UTC day",
    )
    case_week: int = Field(
        default=20_000,
        ge=1,
        le=10**9,
        description="a whole number of terms that may be asked under one case in a week",
    )
    partner_day: int = Field(
        default=50_000,
        ge=1,
        le=10**9,
        description="a whole number of terms that all own users together may ask in a UTC day",
    )
    asked_user_day: int = Field(
        default=5_000,
        ge=1,
        le=10**9,
        description="a whole number of terms of one scheme that one user of another partner may "
        "ask this node in a UTC day",
    )
    asked_partner_day: int = Field(
        default=50_000,
        ge=1,
        le=10**9,
        description="a whole number of terms that another partner may ask this node in a UTC day",
    )
    asked_urgent_day: int = Field(
        default=1_000,
        ge=0,
        le=10**9,
        description="a whole number of terms that another partner may ask this node in a UTC day "
        "beside those, where its approver signed that the query is urgent",
    )


class Guard(Table):
    """What the guard against enumeration lets one own user ask within 24 hours."""

    longest_run: int = Field(
        default=128,
        ge=8,
        le=10**6,
        description="a whole number of consecutive serials of one series",
    )
    densest_thousand: int = Field(
        default=200,
        ge=8,
        le=1_000,
        description="a whole number of serials of one series within any thousand numbers",
    )
    one_owner: int = Field(
        default=500,
        ge=8,
        le=10**6,
        description="a whole number of containers of one owner prefix",
    )
    one_pattern: int = Field(
        default=48,
        ge=8,
        le=10**6,
        description="a whole number of plates that differ in two characters only, of dates of "
        "birth of one name, or of names of one date of birth",
    )


class Reviews(Table):
    """What a supervisor is shown afterwards."""

    sample_percent: int = Field(
        default=2,
        ge=0,
        le=100,
        description="a whole number: of a hundred queries sent, so many are drawn for a "
        "supervisor to confirm",
    )


class Opa(Table):
    """The OPA that decides when it is the engine: one to start here, or one that runs already."""

    command: Existing | None = Field(
        default=None, description="a path to the OPA to start and supervise"
    )
    url: OpaUrl | None = Field(
        default=None,
        description='the "https://host:port" of an OPA that runs already, or "http://" on loopback',
    )
    ca: Existing | None = Field(
        default=None,
        description="a path to the only authority that its certificate may come from, with an "
        '"https://" url',
    )
    token: Reference | None = Field(
        default=None,
        description='a reference to its bearer token, "env:NAME" or "file:path", with a url',
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Opa:
        encrypted = (self.url or "").startswith("https:")
        if (self.command and self.url) or (self.ca is not None) != encrypted:
            raise PydanticCustomError("opa", "command, or url with its ca")
        if self.token and not self.url:
            raise PydanticCustomError("opa", "a token is for a url")
        return self


class Policy(Table):
    """What computes decisions."""

    engine: Literal["wasm", "opa"] = Field(default="wasm", description='one of "wasm", "opa"')
    opa: Opa = Field(
        default=Opa(),
        description="a table with command (the OPA to start), or with url (of one that runs "
        'already; "https://" with ca, "http://" on loopback) and perhaps token',
    )

    @model_validator(mode="after")
    def _opa_is_named(self) -> Policy:
        if self.engine == "opa" and not (self.opa.command or self.opa.url):
            raise PydanticCustomError("opa", "which one")
        return self


def _officers(rows: object) -> tuple[Officer, ...]:
    if isinstance(rows, tuple) and all(isinstance(row, Officer) for row in rows):
        return rows
    try:
        return parse_officers(rows)
    except InvalidInput:
        raise PydanticCustomError("officers", "not a list of officers") from None


class LocalPolicy(Table):
    """A partner's own policy bundle, and who signs it."""

    dir: Existing = Field(description="a path to the existing folder of the partner's own bundle")
    officers: Annotated[
        tuple[Officer, ...],
        BeforeValidator(_officers),
        PlainSerializer(lambda officers: [officer.plain() for officer in officers]),
        WithJsonSchema({"type": "array", "items": {"type": "object"}}),
    ] = Field(
        description="a list of { key, person, organisation } tables: two of them, two different "
        "people, sign it"
    )


class Timestamps(Table):
    """Who signs once an hour that the log's head was there (RFC 3161)."""

    url: AuthorityUrl = Field(
        description='the "http://" or "https://" address of a timestamp authority (RFC 3161)'
    )
    ca: Existing = Field(
        description="a path to the certificates (PEM) that issued the authority's own"
    )


class RetentionDays(Table):
    """For how many days the audit log's leaves are kept, by the class of who asked."""

    national: int = Field(
        default=1_826,
        ge=35,
        le=36_500,
        description="a whole number of days that leaves of national public authorities' questions "
        "are kept for",
    )
    eu_agency: int = Field(
        default=1_096,
        ge=35,
        le=36_500,
        description="a whole number of days that leaves of agencies of the Union are kept for",
    )
    private: int = Field(
        default=366,
        ge=35,
        le=36_500,
        description="a whole number of days that leaves of private partners' questions are kept "
        "for",
    )


class _Process(Table):
    listen: Listen = Field(description='a "host:port" to listen on, as in "127.0.0.1:7443"')
    state_dir: Creatable = Field(description="a path to the folder for the audit log and state")
    keys_dir: Existing = Field(description="a path to the existing folder of keys")
    directory: Existing = Field(description="a path to the existing signed directory")
    pins: Existing = Field(description="a path to the existing file of pinned root fingerprints")
    deny_lists: Existing = Field(description="a path to the existing signed deny lists")
    policy_dir: Existing = Field(description="a path to the existing folder of the policy bundle")
    policy: Policy = Field(
        default=Policy(),
        description='a table of the policy engine; with engine = "opa" it has a table opa that '
        "says which one",
    )
    log_level: LogLevel = Field(
        default="info", description='one of "debug", "info", "warning", "error"'
    )
    metrics: Listen | None = Field(
        default=None, description='a "host:port" for Prometheus over plain HTTP, best on loopback'
    )
    replay_key: Existing | None = Field(
        default=None,
        description="a path to the existing public replay key that policy inputs are sealed to",
    )
    decision_days: int = Field(
        default=400,
        ge=1,
        le=3_650,
        description="a whole number of days that decision records are kept for",
    )
    limits: Limits = Field(default=Limits(), description="a table of limits")
    timestamps: Timestamps | None = Field(
        default=None, description="a table of the timestamp authority: url and ca"
    )
    retention: RetentionDays = Field(
        default=RetentionDays(),
        description="a table of the days that the audit log's leaves are kept for",
    )


class GatewayConfig(_Process):
    """``fairlead-gateway``'s file."""

    name: PartnerId = Field(description="the gateway's id, as the directory spells it")
    database: Reference | None = Field(
        default=None,
        description='a reference to the postgresql:// address of the audit log, "env:NAME" or '
        '"file:path"; without it the log is a file in state_dir',
    )


class NodeConfig(_Process):
    """``fairlead-node``'s file."""

    partner: PartnerId = Field(description="the partner's id, as the directory spells it")
    gateway: Endpoint = Field(description='the gateway\'s "host:port"')
    sources: tuple[Existing, ...] = Field(
        default=(), strict=False, description="a list of paths to existing source mappings"
    )
    statistics: tuple[Existing, ...] = Field(
        default=(),
        strict=False,
        description="a list of paths to existing mappings from sources to cubes",
    )
    refresh_s: int = Field(
        default=30,
        ge=1,
        le=86_400,
        description="a whole number of seconds between two looks at the sources",
    )
    local_policy: LocalPolicy | None = Field(
        default=None, description="a table of the partner's own policy, which can only tighten"
    )
    user_deny_list: Creatable | None = Field(
        default=None,
        description="a path to the deny list that the own user authority signs, to be published",
    )
    index_key: Reference | None = Field(
        default=None, description='a reference to the secret, "env:NAME" or "file:path"'
    )
    blind_epoch_s: int = Field(
        default=604_800,
        ge=3_600,
        le=31 * 86_400,
        description="a whole number of seconds that one key for blind queries is published for",
    )
    blind_overlap_s: int = Field(
        default=86_400,
        ge=0,
        le=31 * 86_400,
        description="a whole number of seconds, not more than blind_epoch_s, for which that key "
        "still answers when the next has come",
    )
    budgets: Budgets = Field(default=Budgets(), description="a table of budgets")
    guard: Guard = Field(default=Guard(), description="a table of the guard against enumeration")
    reviews: Reviews = Field(default=Reviews(), description="a table of what is reviewed")


Model = TypeVar("Model", bound=BaseModel)


# ── Loading ──────────────────────────────────────────────────────────────────────────────────


def load(model: type[Model], path: Path) -> Model:
    """Read ``path`` as ``model`` (:class:`GatewayConfig`, :class:`NodeConfig`, or another).

    :raises ConfigurationInvalid: unreadable (``CONFIG_UNREADABLE``), not UTF-8 TOML
        (``CONFIG_SYNTAX``), or wrong keys and values (``CONFIG_INVALID``), all at once.
    """
    document = _parse(_read(path))
    try:
        return model.model_validate(document, context={"base": path.absolute().parent})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems = [_problem(model, detail) for detail in details]
    raise ConfigurationInvalid(
        "CONFIG_INVALID", problems, remedy=f"correct these keys in {path.name}, then run it again"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """One key of a configuration: its dotted name, the value in force as TOML would spell it,
    and where that comes from: ``line N`` of the file, or ``default``."""

    key: str
    value: str
    origin: str
    meaning: str

    def as_record(self) -> dict[str, str]:
        """For printing."""
        return {name: getattr(self, name) for name in self.__slots__}


def effective(model: type[BaseModel], path: Path) -> list[Effective]:
    """Every key of a valid configuration file, in the order of the model.

    :raises ConfigurationInvalid: as :func:`load`.
    """
    return list(_rows(load(model, path), _read(path).decode().splitlines(), prefix=""))


def _rows(table: BaseModel, lines: Sequence[str], *, prefix: str) -> Iterator[Effective]:
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, lines, prefix=f"{prefix}{name}.")
            continue
        stated = name in table.model_fields_set
        place = _line_of(lines, prefix.removesuffix("."), name) if stated else None
        yield Effective(
            key=prefix + name,
            value=_spelt(value),
            origin="default" if not stated else f"line {place}" if place else "file",
            meaning=field.description or "",
        )


def _line_of(lines: Sequence[str], table: str, name: str) -> int | None:
    """The line on which a key stands; None where it is spelt inline or quoted."""
    here = ""
    for number, line in enumerate(lines, 1):
        if heading := re.match(r"\s*\[([^\[\]]+)\]", line):
            here = heading[1].strip()
        elif here == table and re.match(rf"\s*{re.escape(name)}\s*=", line):
            return number
    return None


def _spelt(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return f"[{', '.join(_spelt(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def reveal(reference: SecretReference, environ: Mapping[str, str]) -> bytes:
    """Fetch the secret that a validated reference points to; a file's last newline is not part.

    :raises Misconfigured: ``SECRET_MISSING``: unset, empty or unreadable; ``KEY_PERMISSIONS``.
    """
    kind, _, place = reference.partition(":")
    try:
        secret = environ.get(place, "").encode() if kind == "env" else read_private(Path(place))
    except (OSError, UnicodeError):
        secret = b""
    secret = secret.removesuffix(b"\n")
    if not secret:
        raise Misconfigured(
            "a referenced secret is missing or empty",
            reasons=("SECRET_MISSING",),
            remedy="set the variable, or make the file readable, that the configuration refers to",
        )
    return secret


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file, for editors."""
    schema = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": schema, **model.model_json_schema()}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError):
        raise ConfigurationInvalid(
            "CONFIG_UNREADABLE",
            [Problem(key="", expected="a file that exists and that this user may read")],
            remedy="check the path and its permissions (ls -l)",
        ) from None
    if len(content) > MAX_FILE:
        raise _syntax("at most 1 MiB")
    return content


def _parse(content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        problem = _syntax("UTF-8 text")
    except RecursionError:
        problem = _syntax("less deeply nested values")
    except ValueError as error:  # TOMLDecodeError, and int() on absurdly long numbers
        place = _PLACE.search(str(error))
        where = f", but line {place[1]}, column {place[2]} is not" if place else ""
        problem = _syntax(f"TOML{where}")
    raise problem


def _syntax(expected: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        "CONFIG_SYNTAX",
        [Problem(key="", expected=f"expected {expected}")],
        remedy="correct the file's syntax (https://toml.io) and start again",
    )


# ── Saying what is wrong without saying what was written ─────────────────────────────────────


def _problem(model: type[BaseModel], detail: ErrorDetails) -> Problem:
    keys = [part for part in detail["loc"] if part not in {"function-after", "nullable"}]
    parent, description = _describe(model, keys)
    key = ".".join(
        str(part) if isinstance(part, int) or _KEY.fullmatch(part) else "(unprintable key)"
        for part in keys
    )
    kind, limits = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(
            str(keys[-1]).lower().replace("-", "_"), list(parent.model_fields), n=1
        )
        hint = f"did you mean {near[0]}?" if near else "this key does not exist here"
        return Problem(key=key, expected=f"unknown; {hint}")
    bounds = [f"at least {limits['ge']}"] if "ge" in limits else []
    bounds += [f"at most {limits['le']}"] if "le" in limits else []
    missing = "missing; " if kind == "missing" else ""
    return Problem(key=key, expected=f"{missing}expected {', '.join([description, *bounds])}")


def _describe(model: type[BaseModel], keys: Sequence[int | str]) -> tuple[type[BaseModel], str]:
    """Walk to the table that holds the last key; return it and what that key expects."""
    description = "another value"
    for key in keys:
        field = model.model_fields.get(key) if isinstance(key, str) else None
        if field is None:
            continue
        description = field.description or description
        kinds = (field.annotation, *get_args(field.annotation))  # a table, or a table or none
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = tables[0] if tables else model
    return model, description
