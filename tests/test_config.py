"""Configuration: every error at once, nothing of what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fairlead import config, signing
from fairlead.errors import Misconfigured

NODE = """
listen = "127.0.0.1:7443"
state_dir = "state"
keys_dir = "keys"
directory = "directory.bin"
pins = "pins.toml"
deny_lists = "deny"
policy_dir = "policy"
partner = "customs"
gateway = "localhost:7000"
sources = ["gates.toml"]
index_key = "file:index.key"

[limits]
deadline_ms = 2500
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("keys", "deny", "policy"):
        (tmp_path / folder).mkdir()
    for name in ("directory.bin", "pins.toml", "agreements.yaml", "gates.toml"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def written(home: Path, text: str | bytes) -> Path:
    path = home / "process.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(
    home: Path, text: str | bytes, model: type[BaseModel] = config.NodeConfig
) -> config.ConfigurationInvalid:
    with pytest.raises(config.ConfigurationInvalid) as caught:
        config.load(model, written(home, text))
    return caught.value


def by_key(error: config.ConfigurationInvalid) -> dict[str, str]:
    return {problem.key: problem.expected for problem in error.problems}


def test_a_complete_node_file_loads(home: Path) -> None:
    """A right file becomes a frozen model with defaults filled in."""
    node = config.load(config.NodeConfig, written(home, NODE))
    assert node.partner == "customs"
    assert node.limits == config.Limits(deadline_ms=2500)
    assert node.limits.max_concurrent_queries == 256
    assert node.log_level == "info"
    with pytest.raises(ValueError, match="frozen"):
        node.partner = "police"  # type: ignore[misc]


def test_a_complete_gateway_file_loads(home: Path) -> None:
    """The gateway's file differs from a node's by its own keys only."""
    shared = NODE[: NODE.index("partner")]
    gateway = config.load(config.GatewayConfig, written(home, f'name = "exchange-1"\n{shared}'))
    assert gateway.name == "exchange-1"


def test_relative_paths_start_at_the_file(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder a program is started in does not change what its file means."""
    path = written(home, NODE.replace('"state"', '"../elsewhere/./state"'))
    monkeypatch.chdir(tmp_path_factory.mktemp("started-here"))
    node = config.load(config.NodeConfig, path)
    assert node.keys_dir == home / "keys"
    assert node.sources == (home / "gates.toml",)
    assert node.state_dir == home.parent / "elsewhere" / "state"
    assert node.index_key == f"file:{home / 'index.key'}"


def test_every_error_is_reported_at_once(home: Path) -> None:
    """One start shows all that is wrong, each with its key path."""
    error = refused(
        home,
        """
        listen = "nowhere"
        keys_dir = "keys"
        directory = 3
        partner = "Customs!"
        sources = ["gates.toml", "absent.toml"]
        log_level = "loud"
        [limits]
        deadline_ms = 5
        max_message_bytes = "many"
        """,
    )
    assert set(by_key(error)) == {
        "listen", "state_dir", "directory", "pins", "deny_lists", "policy_dir", "partner",
        "gateway", "sources.1", "log_level", "limits.deadline_ms", "limits.max_message_bytes",
    }  # fmt: skip
    assert by_key(error)["pins"].startswith("missing; expected ")
    assert by_key(error)["limits.deadline_ms"].endswith("at least 100")
    text = error.diagnostics()
    assert all(f"  {key}: " in text for key in by_key(error))
    assert "next: " in text


@pytest.mark.parametrize(
    ("wrong", "key", "meant"),
    [
        ('lisen = "x"', "lisen", "listen"),
        ("log-level = 1", "log-level", "log_level"),
        ("[limits]\ndeadline_sm = 5", "limits.deadline_sm", "deadline_ms"),
    ],
)
def test_a_mistyped_key_is_an_error_with_a_suggestion(
    home: Path, wrong: str, key: str, meant: str
) -> None:
    """An unknown key is never ignored; the nearest real one is named."""
    assert by_key(refused(home, wrong))[key] == f"unknown; did you mean {meant}?"


def test_an_unlike_key_gets_no_suggestion(home: Path) -> None:
    """A key like no other is called unknown and nothing is guessed."""
    assert by_key(refused(home, "zzz = 1"))["zzz"] == "unknown; this key does not exist here"


def test_no_value_appears_in_an_error(home: Path) -> None:
    """A secret pasted into any wrong place stays out of message, reasons, text and chain."""
    secret = "hunter2-MSCU6639870"
    error = refused(
        home,
        f"""
        listen = "{secret}"
        state_dir = ["{secret}"]
        keys_dir = "{secret}"
        partner = "{secret}"
        gateway = "{secret}"
        sources = "{secret}"
        index_key = "{secret}"
        local_policy = 7
        log_level = "{secret}"
        limits = "{secret}"
        "a\\u001b[2J{secret} b" = 1
        """,
    )
    said = [error.diagnostics(), repr(error), str(error), repr(error.problems)]
    assert not any("hunter2" in text or "\x1b" in text for text in said)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_syntax_error_names_line_and_column_only(home: Path) -> None:
    """Broken TOML is located without being quoted."""
    error = refused(home, 'listen = "x"\npartner = hunter2\n')
    assert error.code == "CONFIG_SYNTAX"
    assert "line 2, column 11" in error.diagnostics()
    assert "hunter2" not in error.diagnostics()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'listen = "\xff"', "UTF-8"),
        (b"x = " + b"[" * 100_000, ""),
        (b"x = " + b"9" * 5_000, "TOML"),
        (b"#" * (config.MAX_FILE + 1), "1 MiB"),
    ],
)
def test_hostile_content_is_a_syntax_error(home: Path, content: bytes, said: str) -> None:
    """Wrong encodings, deep nesting, endless numbers and huge files end in one clear error."""
    error = refused(home, content)
    assert error.code == "CONFIG_SYNTAX"
    assert said in error.diagnostics()


def test_an_unreadable_file_is_named_as_such(tmp_path: Path) -> None:
    """A missing file and a folder in its place give the same clear error."""
    for path in (tmp_path / "absent.toml", tmp_path, Path("nul\0.toml")):
        with pytest.raises(config.ConfigurationInvalid) as caught:
            config.load(config.NodeConfig, path)
        assert caught.value.code == "CONFIG_UNREADABLE"


@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes_give_a_configuration_error(home: Path, content: bytes) -> None:
    """Whatever stands in the file, only the one error comes out."""
    refused(home, content)


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("127.0.0.1:0", True), ("[::1]:7443", True), ("node-1.port.example:443", True),
        ("127.0.0.1", False), (":7443", False), ("host:65536", False), ("a b:1", False),
        ("host:1\n", False), ("::1:7443", False), ("host:-1", False),
    ],
)  # fmt: skip
def test_listen_addresses(home: Path, address: str, right: bool) -> None:
    """An address is host and port, IPv6 in brackets, nothing more."""
    error = refused(home, f"listen = {address!r}".replace("'", '"'))
    assert ("listen" not in by_key(error)) is right


def test_an_endpoint_needs_a_real_port(home: Path) -> None:
    """Port 0 means "any" to a listener and nothing to a caller."""
    assert "gateway" in by_key(refused(home, 'gateway = "localhost:0"'))


def test_types_are_not_guessed(home: Path) -> None:
    """A number in quotes, or a truth value, is not a number."""
    error = refused(home, '[limits]\ndeadline_ms = "5000"\nmax_concurrent_queries = true')
    assert {"limits.deadline_ms", "limits.max_concurrent_queries"} <= set(by_key(error))


def test_a_secret_is_fetched_through_its_reference(tmp_path: Path) -> None:
    """Environment and file references yield the secret without a file's last newline."""
    path = tmp_path / "index.key"
    path.write_bytes(b"\x00\x01\n")
    path.chmod(0o600)
    assert config.reveal(config.SecretReference(f"file:{path}"), {}) == b"\x00\x01"
    assert config.reveal(config.SecretReference("env:KEY"), {"KEY": "abc"}) == b"abc"


@pytest.mark.parametrize("reference", ["env:ABSENT", "env:EMPTY", "file:/nonexistent/x"])
def test_a_missing_secret_is_an_error(reference: str) -> None:
    """Unset, empty and unreadable secrets stop the program; an empty key is never used."""
    with pytest.raises(Misconfigured) as caught:
        config.reveal(config.SecretReference(reference), {"EMPTY": ""})
    assert caught.value.code == "SECRET_MISSING"
    assert "ABSENT" not in caught.value.diagnostics()


@pytest.mark.parametrize("model", [config.GatewayConfig, config.NodeConfig])
def test_every_key_says_what_it_expects(model: type[BaseModel]) -> None:
    """The exported schema is closed, and each key is described, as the diagnostics need."""
    schema = config.json_schema(model)
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables)
    assert all(key.get("description") for table in tables for key in table["properties"].values())


def test_the_message_limit_is_the_protocols(home: Path) -> None:
    """No configuration can admit a message larger than any signed message may be."""
    too_large = f"[limits]\nmax_message_bytes = {signing.MAX_MESSAGE + 1}"
    assert "limits.max_message_bytes" in by_key(refused(home, too_large))
    assert config.Limits().max_message_bytes == signing.MAX_MESSAGE


# ── The engine ───────────────────────────────────────────────────────────────────────────────

OPA = '[policy]\nengine = "opa"\n[policy.opa]\n'


@pytest.mark.parametrize(
    "right",
    [
        "",
        '[policy]\nengine = "wasm"\n',
        '[policy.opa]\ncommand = "pins.toml"\n',  # named, and not used
        f'{OPA}command = "pins.toml"\n',
        f'{OPA}url = "http://127.0.0.1:8181"\n',
        f'{OPA}url = "http://[::1]:8181"\ntoken = "env:OPA_TOKEN"\n',
        f'{OPA}url = "https://opa.example:8181/"\nca = "pins.toml"\ntoken = "file:t"\n',
    ],
)
def test_an_engine_can_be_named(home: Path, right: str) -> None:
    """The table names one engine, and with it what that needs."""
    config.load(config.NodeConfig, written(home, NODE + right))


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ('[policy]\nengine = "rego"\n', "policy.engine"),
        ('[policy]\nengine = "opa"\n', "policy"),
        (f"{OPA}", "policy"),
        (f'{OPA}command = "absent"\n', "policy.opa.command"),
        (f'{OPA}command = "pins.toml"\nurl = "http://127.0.0.1:1"\n', "policy.opa"),
        (f'{OPA}command = "pins.toml"\ntoken = "env:T"\n', "policy.opa"),
        (f'{OPA}command = "pins.toml"\nca = "pins.toml"\n', "policy.opa"),
        (f'{OPA}url = "https://opa.example:8181"\n', "policy.opa"),
        (f'{OPA}url = "http://127.0.0.1:8181"\nca = "pins.toml"\n', "policy.opa"),
        (f'{OPA}url = "http://opa.example:8181"\n', "policy.opa.url"),
        (f'{OPA}url = "http://127.0.0.1"\n', "policy.opa.url"),
        (f'{OPA}url = "http://127.0.0.1:99999"\n', "policy.opa.url"),
        (f'{OPA}url = "http://user:word@127.0.0.1:8181"\n', "policy.opa.url"),
        (f'{OPA}url = "http://127.0.0.1:8181/v1"\n', "policy.opa.url"),
        (f'{OPA}url = "unix:///run/opa"\n', "policy.opa.url"),
        (f'{OPA}url = "http://[::1"\n', "policy.opa.url"),
        (f'{OPA}url = "http://127.0.0.1:8181"\ntoken = "hunter2"\n', "policy.opa.token"),
    ],
)
def test_half_an_engine_is_an_error(home: Path, wrong: str, key: str) -> None:
    """What would decide by nobody, in clear, or by whoever answers, is refused with its key."""
    error = refused(home, NODE + wrong)
    assert by_key(error).keys() == {key}
    assert "hunter2" not in error.diagnostics()


def test_the_commented_lines_of_the_examples_are_right(home: Path) -> None:
    """Who takes the comment signs away from the example's table gets a configuration."""
    text = (Path(__file__).resolve().parent.parent / "examples/gateway_full.toml").read_text()
    table = text[text.index("[policy]") : text.index("# What the process accepts")]
    lines = [line.removeprefix("# ") for line in table.splitlines() if " = " in line]
    engine, command, *server = [line for line in lines if not line.startswith(("Which", "or "))]
    assert engine == 'engine = "wasm"'
    (home / "opa-ca.pem").touch()
    for chosen in (command.replace("/usr/local/bin/opa", "pins.toml"), "\n".join(server)):
        node = config.load(config.NodeConfig, written(home, f"{NODE}{OPA}{chosen}\n"))
        assert node.policy.opa != config.Opa()
