"""What programs print, where, and with which exit code they end."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import subprocess
import sys
from concurrent import futures

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import errors
from fairlead.cli import output
from fairlead.cli.output import Exit, Format

TERM = "MSCU6639870"
ROWS = [{"partner": "customs", "age": 3}, {"partner": "police", "age": None}]


def every_error() -> list[type[errors.FairleadError]]:
    found, waiting = [], [errors.FairleadError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting.extend(sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__)
    return found


def ended(error: BaseException) -> object:
    def main() -> int:
        raise error

    with pytest.raises(SystemExit) as caught:
        output.run(main)
    return caught.value.code


def test_data_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe after the program receives data and nothing else."""
    output.say("asking two partners")
    output.emit(ROWS, columns=["partner", "age"], output=Format.JSON)
    out, err = capsys.readouterr()
    assert json.loads(out) == ROWS
    assert err == "asking two partners\n"


def test_without_a_terminal_a_table_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A table in a pipe has no colour, no frame and no trailing blanks."""
    output.emit(ROWS, columns=["partner", "age"], output=Format.TABLE)
    assert capsys.readouterr().out == "partner  age\ncustoms  3\npolice   –\n"


def test_an_empty_table_still_has_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows is an answer, not an error."""
    output.emit([], columns=["partner"], output=Format.TABLE)
    assert capsys.readouterr().out == "partner\n"


def on_a_terminal(program: str, **environ: str) -> str:
    """Run a program whose stdout is a pseudo-terminal; return what it drew."""
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environ}
    subprocess.run(
        [sys.executable, "-c", program], stdout=follower, env=env, check=True, timeout=60
    )
    os.close(follower)
    drawn = b""
    try:
        while chunk := os.read(leader, 65_536):
            drawn += chunk
    except OSError:  # Linux says EIO at the end of a pseudo-terminal
        pass
    os.close(leader)
    return drawn.decode()


TABLE = "from fairlead.cli import output; output.emit_table(['p'], [['[red]x[/red]\\x1b[2J']])"


def test_a_terminal_gets_colour_unless_no_color() -> None:
    """rich draws on a terminal; NO_COLOR takes the colour away; markup in a cell stays text."""
    coloured = on_a_terminal(TABLE, NO_COLOR="")
    assert "[red]x[/red]" in coloured
    assert "\x1b[2J" not in coloured
    assert "[red]x[/red]" in on_a_terminal(TABLE, NO_COLOR="1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "0"}, False), ({"TERM": "dumb"}, False)],
)
def test_only_a_willing_terminal_is_coloured(environ: dict[str, str], expected: bool) -> None:
    """A pipe is never coloured; a terminal is, unless the person or its kind says no."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert output.colour(terminal, environ) is expected
    os.close(leader)
    assert output.colour(io.StringIO(), environ) is False


@given(text=st.text())
def test_printable_text_cannot_command_a_terminal(text: str) -> None:
    """No escape, line break, bidirectional override or surrogate is left in foreign text."""
    shown = output.printable(text)
    assert shown.isprintable()
    assert not set(shown) & {"\x1b", "\n", "\r", "\u202e", "\u2028", "\x9b", "\ud800"}
    assert output.printable(shown) == shown
    shown.encode()


def test_printable_text_is_cut() -> None:
    """A partner cannot flood the screen."""
    assert len(output.printable("x" * 10_000)) == output.MAX_TEXT


def test_json_from_elsewhere_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """A C1 control or an override in a value leaves as an escape sequence of JSON."""
    output.emit_json({"value": "\x9b2J\u202e\ud800"})
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize("kind", every_error())
def test_every_error_ends_with_its_code_and_next_command(
    kind: type[errors.FairleadError], capsys: pytest.CaptureFixture[str]
) -> None:
    """Diagnostics on stderr, nothing on stdout, a documented exit code."""
    assert ended(kind("fixed text", remedy="fairlead partners")) == kind.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: fixed text [{kind.default_code}]\n")
    assert err.endswith("\nnext: fairlead partners\n")
    assert kind.exit_code in set(Exit)


def test_an_unexpected_exception_is_masked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, class chain and locals of a defect stay inside; a correlation id comes out."""
    monkeypatch.delenv("FAIRLEAD_TRACEBACK", raising=False)
    assert ended(ValueError(TERM)) == Exit.INTERNAL
    err = capsys.readouterr().err
    assert err.startswith("internal error, correlation ")
    assert TERM not in err
    assert "Traceback" not in err


def test_a_traceback_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAIRLEAD_TRACEBACK=1 lets a developer see the exception itself."""
    monkeypatch.setenv("FAIRLEAD_TRACEBACK", "1")

    def main() -> int:
        raise ValueError(TERM)

    with pytest.raises(ValueError, match=TERM):
        output.run(main)


def test_interruption_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is not a defect."""
    assert ended(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_inside_a_task_group_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is shown although asyncio wrapped it, however deep."""

    async def refuse() -> None:
        raise errors.Refused("no agreement")

    async def work() -> None:
        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            outer.create_task(asyncio.sleep(60))
            inner.create_task(refuse())

    with pytest.raises(SystemExit) as caught:
        output.run(lambda: asyncio.run(work()))
    assert caught.value.code == Exit.REFUSED
    assert "no agreement [REFUSED]" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (7, 7), (Exit.HIT, 10)])
def test_a_returned_code_is_the_exit_code(returned: int | None, code: int) -> None:
    """A command that ends by itself says how it went."""
    with pytest.raises(SystemExit) as caught:
        output.run(lambda: returned)
    assert caught.value.code == code


def test_a_usage_error_keeps_its_own_code() -> None:
    """What the argument parser decided is not overruled."""
    assert ended(SystemExit(2)) == 2


def call(abort: tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]) -> grpc.RpcError:
    """Make one real call over loopback to a server that aborts it so."""

    def handler(_request: bytes, context: grpc.ServicerContext) -> bytes:
        status, details, metadata = abort
        context.set_trailing_metadata(metadata)
        context.abort(status, details)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    methods = {"C": grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.T", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/t.T/C")(b"", timeout=10)
            return caught.value
    finally:
        server.stop(None).wait()


def test_a_servers_refusal_is_shown_as_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Message, every reason, remedy and the exit code cross the wire."""
    error = call(
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "no case is open",
            (("fairlead-reason", "NOT_ENROLLED"), ("fairlead-reason", "CASE"),
             ("fairlead-remedy", "fairlead cases open")),
        )
    )  # fmt: skip
    assert ended(error) == Exit.NOT_ENROLLED
    assert capsys.readouterr().err == (
        "error: no case is open [NOT_ENROLLED, CASE]\n"
        "  needed: a certificate of your organisation\n"
        "CASE: Your node does not vouch for an open case with you assigned to it.\n"
        "  needed: an open case, with you among its members\n"
        "next: fairlead cases open\n"
    )


def test_a_hostile_server_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and forged lines in a server's words are replaced."""
    error = call(
        (grpc.StatusCode.PERMISSION_DENIED, "\x1b[2Jno\nerror: forged", (("fairlead-reason", "X"),))
    )
    assert ended(error) == Exit.REFUSED
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_a_masked_server_error_keeps_its_correlation(capsys: pytest.CaptureFixture[str]) -> None:
    """The id to report is the server's, so that its operator can find it."""
    reason = (("fairlead-reason", "INTERNAL"), ("fairlead-correlation", "0123456789abcdef"))
    assert ended(call((grpc.StatusCode.INTERNAL, "internal error", reason))) == Exit.INTERNAL
    assert "correlation: 0123456789abcdef" in capsys.readouterr().err


def test_a_failure_without_a_reason_gets_fixed_words(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library or a stranger's server says is not repeated."""
    assert ended(call((grpc.StatusCode.UNAVAILABLE, f"lost {TERM}", ()))) == Exit.PARTIAL
    err = capsys.readouterr().err
    assert TERM not in err
    assert "next: " in err


def test_a_reader_that_leaves_is_not_an_error() -> None:
    """`fairlead … | head` ends quietly."""
    program = (
        "from fairlead.cli import output\n"
        "output.run(lambda: [output.emit_json('x' * 1000) for _ in range(10_000)] and 0)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == Exit.BROKEN_PIPE
    assert said == b""


def test_importing_the_conventions_is_cheap() -> None:
    """--help pays for neither gRPC, rich nor pydantic."""
    program = (
        "import sys; import fairlead.cli.output; "
        "print([m for m in ('grpc', 'rich', 'pydantic', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"
