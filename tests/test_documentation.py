"""What is documented is executed (HOUSE §5, rule 11): commands, keys, steps, sizes, links."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from demo.scenario import shown as printed_path
from fairlead import identifiers, sealing
from fairlead.cli import results, showing
from fairlead.cli.authority import app as authority_app
from fairlead.cli.main import app as fairlead_app
from fairlead.cli.output import Exit, RowFormat
from fairlead.cli.oversight import app as oversight_app
from fairlead.config import (
    Budgets,
    GatewayConfig,
    Guard,
    Limits,
    NodeConfig,
    Opa,
    Policy,
    RetentionDays,
    Reviews,
    Timestamps,
    load,
)
from fairlead.envelope.answer import SEAL_OVERHEAD
from fairlead.oversight.config import OversightConfig
from fairlead.profile import Profile
from fairlead.user_authority.config import AuthorityConfig
from fairlead.v1 import asking_pb2, handling_pb2, query_pb2
from gateway.cli.main import app as gateway_app
from node.cli.main import app as node_app
from node.figures.mapped_form import DateColumn, DimensionColumn, MappedFile, MeasureColumn
from node.sources.database import DatabaseTable
from node.sources.mapping import (
    HandlingColumns,
    IdentifierColumn,
    MappingFile,
    PersonalTable,
    TimeColumn,
    load_mapping,
)

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "certs").rglob("*.md")),
]
PROGRAMS = {
    "fairlead": fairlead_app,
    "fairlead-gateway": gateway_app,
    "fairlead-node": node_app,
    "fairlead-authority": authority_app,
    "fairlead-oversight": oversight_app,
}
OURS = (
    "README.md",
    "docs/ask.md",
    "docs/join.md",
    "docs/sources.md",
    "docs/deploy.md",
    "docs/audit.md",
    "docs/operate.md",
    "docs/protocol.md",
    "docs/users.md",
    "docs/oversight.md",
    "docs/reasons.md",
    "docs/evidence.md",
    "docs/policy-replay.md",
    "docs/policy-tools.md",
    "docs/statistics.md",
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def table_after(text: str, marker: str) -> list[list[str]]:
    """Rows of the table behind ``<!-- marker -->``, without its heading; cells as written."""
    (_, _, rest) = text.partition(f"<!-- {marker} -->\n")
    lines = re.match(r"(?:\|.*\n)+", rest)
    assert lines is not None, marker
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[0].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


# ── Commands ─────────────────────────────────────────────────────────────────────────────────


def typed(text: str) -> Iterator[list[str]]:
    """Every command behind a ``$`` in the console blocks, as words, without variables."""
    for block in blocks(text, "console"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.startswith("$ "):
                words = shlex.split(line[2:], comments=True)
                words = words[: words.index(">")] if ">" in words else words
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                yield words


def command_of(program: str, words: list[str]) -> tuple[Any, list[str]]:
    """Walk to the command that ``words`` name; return it and the words it is given."""
    command: Any = typer.main.get_command(PROGRAMS[program])
    while hasattr(command, "commands"):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break  # it does something by itself, and more with a command behind it
        assert words, f"{program} needs a command"
        assert words[0] in command.commands, f"{program} has no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name[0] == "-"}


def shown(text: str) -> Iterator[list[str]]:
    """Every command in the blocks of what is shown and not typed, as words."""
    for block in blocks(text, "text"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.partition(" ")[0] in PROGRAMS:
                yield shlex.split(line, comments=True)


COMMANDS = sorted(
    {
        (name, tuple(words))
        for name in OURS
        for found in (typed, shown)
        for words in found(text_of(name))
    }
)


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page} {' '.join(w)}"[:70] for page, w in COMMANDS]
)
def test_every_typed_command_parses(page: str, words: tuple[str, ...]) -> None:
    """A command shown in a document exists, and accepts every option and argument shown."""
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", text_of("Makefile"), re.MULTILINE), page
        return
    command, rest = command_of(words[0], list(words[1:]))
    command.make_context(words[0], rest)


def test_the_judge_of_commands_can_say_no() -> None:
    """An unknown command and an unknown option are both found."""
    with pytest.raises(AssertionError, match="no command"):
        command_of("fairlead", ["aks", "MSCU6639870"])
    command, rest = command_of("fairlead", ["partners", "--nothing"])
    with pytest.raises(Exception, match="nothing"):
        command.make_context("fairlead", rest)


@pytest.mark.parametrize("name", OURS)
def test_every_named_option_exists(name: str) -> None:
    """An option written in a sentence is an option of one of the programs."""
    known = {"--help"}
    waiting = [typer.main.get_command(app) for app in PROGRAMS.values()]
    while waiting:
        command: Any = waiting.pop()
        known |= options_of(command)
        waiting += getattr(command, "commands", {}).values()
    named = set(re.findall(r"`(--[a-z-]+)[ `]", text_of(name)))
    assert named - known == set()


def test_the_page_on_asking_explains_every_option() -> None:
    """Nothing that `fairlead ask` accepts is left unexplained, and its help shows it."""
    command, _ = command_of("fairlead", ["ask"])
    section = text_of("docs/ask.md").partition("| option |")[2].partition("\n\n")[0]
    explained = set(re.findall(r"`(--[a-z-]+)`", section))
    assert options_of(command) - explained - {"--help"} == set()
    shown = command.get_help(command.context_class(command, info_name="ask"))
    assert [option for option in explained if option not in shown] == []


SPELT = [
    row
    for row in re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", text_of("docs/ask.md"), re.MULTILINE)
    if row[0] in identifiers.SCHEMES
]


@pytest.mark.parametrize("row", SPELT, ids=lambda row: row[0])
def test_every_way_to_write_an_identifier_is_read(row: tuple[str, str]) -> None:
    """Each spelling in the table of schemes is recognised as that scheme."""
    spellings = re.findall(r"`([^`]+)`", row[1])
    assert spellings
    for spelling in spellings:
        assert identifiers.recognise(spelling)[0].scheme == row[0]
        identifiers.parse(row[0], spelling)


# ── What commands print ──────────────────────────────────────────────────────────────────────


def shape(value: object) -> object:
    """The keys of a JSON document, of lists the first entry."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key != "fields"}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else None


def test_the_json_of_an_answer_is_the_documented_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads `--output json` finds the keys that the page promises, no others."""
    record = query_pb2.Record(
        record_type="movement", handling=handling_pb2.Handling(), withheld=["driver_name"]
    )
    answer = asking_pb2.OpenedAnswer(
        partner_id="terminal-north", status=query_pb2.STATUS_ANSWERED,
        answers=[query_pb2.TermAnswer(hit=True, records=[record])],
    )  # fmt: skip

    term = asking_pb2.Term(value="MSCU6639870")
    line = results.line_of(answer, [term])
    result = results.Result(query_id="00", terms=[term], partners=[line], done={0})
    showing.show(result, RowFormat.JSON, ())
    printed = json.loads(capsys.readouterr().out)
    page = text_of("docs/ask.md").partition("<!-- json: ask -->\n")[2]
    assert shape(json.loads(blocks(page, "json")[0])) == shape(printed)


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes has each code of the programs, once."""
    rows = table_after(text_of("docs/ask.md"), "exit codes")
    assert [int(row[0]) for row in rows] == sorted(Exit)


def test_every_status_is_documented() -> None:
    """The table of statuses has each word that a partner's line can hold, in wire order, and the
    one that is said at home alone."""
    section = text_of("docs/ask.md").partition("| status |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z ]+)`", section, re.MULTILINE) == [
        *results.STATUS_WORDS.values(), results.PENDING,
    ]  # fmt: skip


def test_the_shown_last_line_is_the_demos() -> None:
    """README's last line of the demo has the keys that the demo prints, in their order."""
    tree = ast.parse(text_of("demo/run.py"))
    dictionaries = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    keys = [[key.value for key in d.keys if isinstance(key, ast.Constant)] for d in dictionaries]
    printed = next(names for names in keys if "demo" in names)
    shown = json.loads(blocks(text_of("README.md"), "console")[0].splitlines()[-1])
    assert list(shown) == printed
    assert (shown["demo"], shown["terms_found_in_gateway_files"]) == ("ok", 0)
    assert shown["records"] >= 200_000
    page = ROOT / ".demo" / "kpi" / Path(shown["kpi_pack"]).name
    assert shown["kpi_pack"] == printed_path(page)


# ── Configuration ────────────────────────────────────────────────────────────────────────────

_BOTH = GatewayConfig.model_fields.keys() & NodeConfig.model_fields.keys()


def fields_of(model: type[BaseModel], *, shared: bool | None = None) -> Mapping[str, Any]:
    """The fields of a model; only those (not) shared by both programs when asked so."""
    fields = model.model_fields.items()
    return {name: field for name, field in fields if shared in {None, name in _BOTH}}


KEYS = [
    ("docs/deploy.md", "both", fields_of(NodeConfig, shared=True)),
    ("docs/deploy.md", "gateway", fields_of(GatewayConfig, shared=False)),
    ("docs/deploy.md", "node", fields_of(NodeConfig, shared=False)),
    ("docs/deploy.md", "limits", fields_of(Limits)),
    ("docs/deploy.md", "policy", fields_of(Policy)),
    ("docs/deploy.md", "policy.opa", fields_of(Opa)),
    ("docs/deploy.md", "timestamps", fields_of(Timestamps)),
    ("docs/deploy.md", "retention", fields_of(RetentionDays)),
    ("docs/deploy.md", "budgets", fields_of(Budgets)),
    ("docs/deploy.md", "guard", fields_of(Guard)),
    ("docs/deploy.md", "reviews", fields_of(Reviews)),
    ("docs/sources.md", "mapping", fields_of(MappingFile)),
    ("docs/sources.md", "identifiers", fields_of(IdentifierColumn)),
    ("docs/sources.md", "time", fields_of(TimeColumn)),
    ("docs/sources.md", "handling", fields_of(HandlingColumns)),
    ("docs/sources.md", "database", fields_of(DatabaseTable)),
    ("docs/sources.md", "personal", fields_of(PersonalTable)),
    ("docs/statistics.md", "figures", fields_of(MappedFile)),
    ("docs/statistics.md", "dates", fields_of(DateColumn)),
    ("docs/statistics.md", "dimension", fields_of(DimensionColumn)),
    ("docs/statistics.md", "measure", fields_of(MeasureColumn)),
    ("docs/ask.md", "profile", fields_of(Profile)),
    ("docs/users.md", "authority", fields_of(AuthorityConfig)),
    ("docs/oversight.md", "oversight", fields_of(OversightConfig)),
]  # fmt: skip


def as_toml(name: str, default: object) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return f"`[{name}]`"
    if default is None:
        return "none"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


@pytest.mark.parametrize(("page", "table", "fields"), KEYS, ids=[f"{k[0]} {k[1]}" for k in KEYS])
def test_every_key_is_documented_with_its_default(
    page: str, table: str, fields: Mapping[str, Any]
) -> None:
    """A configuration table lists the model's keys in their order, each with its default."""
    rows = table_after(text_of(page), f"keys: {table}")
    documented = {row[0].strip("`"): row[1] for row in rows}
    assert documented == {n: as_toml(n, field.default) for n, field in fields.items()}
    assert all(len(row) == 3 and row[2] for row in rows)


def place_example(name: str, folder: Path) -> Path:
    """A copy of an example with every file it names put beside it."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    (folder / "keys").mkdir()
    (folder / "public").mkdir()
    (folder / "policy").mkdir()
    for file in ("directory.bin", "deny-lists.bin", "pins.toml", "timestamp-ca.pem"):
        (folder / "public" / file).touch()
    (folder / "own-policy").mkdir()
    (folder / "replay.pub").touch()
    (folder / "mapping.toml").write_bytes((EXAMPLES / "mapping.toml").read_bytes())
    (folder / "figures.toml").write_bytes((EXAMPLES / "figures.toml").read_bytes())
    copy = folder / name
    copy.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("name", "model"), [("gateway_full.toml", GatewayConfig), ("node_full.toml", NodeConfig)]
)
def test_the_example_configuration_loads(
    name: str, model: type[GatewayConfig | NodeConfig], tmp_path: Path
) -> None:
    """A reader's copy of an example loads, shows every key, and states the real defaults."""
    settings = load(model, place_example(name, tmp_path))
    assert settings.model_fields_set == model.model_fields.keys()
    for name in model.model_fields:
        table = getattr(settings, name)
        if isinstance(table, BaseModel):
            assert table.model_fields_set == type(table).model_fields.keys()
            if not any(field.is_required() for field in type(table).model_fields.values()):
                assert table == type(table)()
    assert settings.log_level == "info"


def test_the_example_mappings_load() -> None:
    """The example mappings load and together show every key of a mapping."""
    files = [load_mapping(path).file for path in sorted(EXAMPLES.glob("mapping*.toml"))]
    assert set().union(*(f.model_fields_set for f in files)) == MappingFile.model_fields.keys()
    (database,) = (f.database for f in files if f.database)
    assert database.model_fields_set | {"query"} == DatabaseTable.model_fields.keys()
    file = load_mapping(EXAMPLES / "mapping.toml").file
    assert file.personal is not None
    assert file.time.model_fields_set == TimeColumn.model_fields.keys()
    shown = set().union(*(entry.model_fields_set for entry in file.identifiers))
    assert shown == IdentifierColumn.model_fields.keys()


def test_the_example_authority_loads(tmp_path: Path) -> None:
    """The example of an authority shows every key, and states the real defaults."""
    (tmp_path / "keys").mkdir()
    copy = tmp_path / "authority.toml"
    copy.write_bytes((EXAMPLES / "authority_full.toml").read_bytes())
    settings = load(AuthorityConfig, copy)
    assert settings.model_fields_set == AuthorityConfig.model_fields.keys()
    assert (settings.deny_list_hours, settings.log_level) == (24, "info")


def test_the_example_oversight_loads(tmp_path: Path) -> None:
    """The example of an oversight shows every key, and states the real defaults."""
    (tmp_path / "keys").mkdir()
    copy = tmp_path / "oversight.toml"
    copy.write_bytes((EXAMPLES / "oversight_full.toml").read_bytes())
    settings = load(OversightConfig, copy)
    assert settings.model_fields_set == OversightConfig.model_fields.keys()
    assert settings.log_level == "info"


# ── Protocol ─────────────────────────────────────────────────────────────────────────────────


def numbers_in(text: str, pattern: str) -> int:
    """How far the numbers found by ``pattern`` count up from 1."""
    count = 0
    for found in re.findall(pattern, text):
        count += int(found) == count + 1
    return count


def steps_of(dotted: str) -> int:
    """Numbered steps of a procedure: of its docstring, else of the comments in its body."""
    parts = dotted.split(".")
    classes = [place for place, part in enumerate(parts) if part[0].isupper()]
    place = classes[0] if classes else len(parts) - 1
    thing: Any = import_module(".".join(parts[:place]))
    for part in parts[place:]:
        thing = getattr(thing, part)
    stated = numbers_in(inspect.getdoc(thing) or "", r"(?<![\w.])(\d{1,2})\. ")
    return stated or numbers_in(inspect.getsource(thing), r"(?:# |and )(\d{1,2})\. ")


PROCEDURES = re.findall(
    r"^### `([\w.]+)`\n(.*?)(?=^##)", text_of("docs/protocol.md") + "\n##", re.MULTILINE | re.DOTALL
)
REQUIRED = {
    "verify_query", "open_part", "verify_grant", "verify_receipt", "verify_answer", "admit",
    "read_request", "read_admission", "enrol",
    "check_draft", "verify_evidence", "identity_from_certificate", "check", "from_signed",
}  # fmt: skip


@pytest.mark.parametrize(("dotted", "section"), PROCEDURES, ids=[p[0] for p in PROCEDURES])
def test_a_procedure_has_the_steps_of_the_code(dotted: str, section: str) -> None:
    """A numbered procedure in the protocol has as many steps as the function it names."""
    documented = numbers_in(section, r"(?m)^(\d{1,2})\. ")
    assert documented > 1
    assert documented == steps_of(dotted)


def test_every_security_procedure_is_documented() -> None:
    """No numbered procedure that guards a signature, an identity or a proof is left out."""
    assert REQUIRED - {dotted.rpartition(".")[2] for dotted, _ in PROCEDURES} == set()


def test_the_documented_sizes_are_the_real_ones() -> None:
    """The table of sizes agrees with what sealing really produces."""
    key = sealing.SealingKey.generate().public_bytes()
    rows = [[int(cell.replace(",", "")) for cell in row]
            for row in table_after(text_of("docs/protocol.md"), "sizes")]  # fmt: skip
    assert [row[0] for row in rows] == [1, 2, sealing.MAX_TERMS]
    for terms, question, part, answer, body in rows:
        wrapped, sealed = sealing.wrap(bytes(question), key, info=b"")
        wire = query_pb2.SealedPart(wrapped_key=wrapped, ciphertext=sealed).SerializeToString()
        assert (question, len(wire)) == (sealing.question_size(terms), part)
        assert (answer, answer + SEAL_OVERHEAD) == (sealing.answer_size(terms), body)
        assert len(sealing.seal(bytes(answer), key, info=b"")) == body


# ── Links ────────────────────────────────────────────────────────────────────────────────────


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository, and a heading that this file has."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        known = file.is_file() and ROOT in file.parents
        if not known or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


def test_every_heading_that_a_program_names_exists() -> None:
    """Whoever is sent to a page, and to a heading on it, finds the heading."""
    named = re.compile(r"docs/([\w-]+\.md), (?:under )?“?([A-Z][\w ’-]*\w)")
    found = {
        place
        for folder in ("fairlead", "gateway", "node", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".toml", ".yaml"} and path.is_file()
        for place in named.findall(path.read_text(encoding="utf-8"))
    }
    assert ("operate.md", "An incident of reconciliation") in found
    for page, heading in found:
        assert re.search(rf"^#+ {heading}$", text_of(f"docs/{page}"), re.MULTILINE), heading


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """Whoever is told which test shows something finds it, by its path or by its name."""
    for name in re.findall(r"`((?:[\w/]+/)?test_\w+\.py)`", page.read_text(encoding="utf-8")):
        found = ROOT / name if "/" in name else next((ROOT / "tests").rglob(name), None)
        assert found is not None, name
        assert found.is_file(), name


def test_the_index_lists_every_document() -> None:
    """Nobody has to know a page's name to find it."""
    index = text_of("docs/README.md")
    pages = [path for path in PAGES if (ROOT / "docs") in path.parents and path.name != "README.md"]
    assert [
        p.name for p in pages if f"({p.relative_to(ROOT / 'docs').as_posix()})" not in index
    ] == []
