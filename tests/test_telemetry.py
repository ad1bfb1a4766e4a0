"""The operator's log: what is not classified does not come out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import telemetry
from fairlead.errors import Forged
from fairlead.telemetry import FIELDS, SECRET, Class, Event, Shape, get_logger

TERM = "MSCU6639870"


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_settings", telemetry._Settings(clock=lambda: 0.0))


def written(**fields: Any) -> dict[str, Any]:
    stream = io.BytesIO()
    telemetry._settings.stream = stream
    get_logger().info(Event.QUERY_ADMITTED, **fields)
    line = json.loads(stream.getvalue())
    assert isinstance(line, dict)
    return line


def test_a_line_is_one_json_object() -> None:
    """Time, level, event and registered fields make one line of JSON."""
    line = written(partner="customs", count=3, duration_ms=1.5)
    assert line == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "event": "query-admitted",
        "partner": "customs",
        "count": 3,
        "duration_ms": 1.5,
    }


def test_fields_about_a_person_stand_apart() -> None:
    """Pseudonymous fields come under one key that a log shipper can drop."""
    line = written(partner="customs", user="u-c01", query_id=b"\0" * 16)
    assert line["subject"] == {"user": "u-c01", "query_id": "00" * 16}
    assert "user" not in line


@given(
    key=st.text(min_size=1).filter(lambda name: name not in {*FIELDS, "event", "error", "self"}),
    value=st.one_of(st.text(min_size=1), st.integers(), st.binary(), st.lists(st.text())),
)
def test_an_unregistered_field_never_gets_out(key: str, value: object) -> None:
    """Neither the name nor the value of a field outside the registry is written."""
    line = written(**{key: value})
    del line["time"], line["level"], line["event"]
    assert line == {SECRET: SECRET}


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"error"}))
@pytest.mark.parametrize(
    "value",
    [
        TERM, TERM.lower(), "9074729 ", "Jan de Vries", "NL:AB-123-C", "line\nforged", "\x1b[2J",
        f"no record {TERM}", TERM.encode(), TERM.encode().hex(), [TERM], {"a": TERM},
        ValueError(TERM), 2**70, float("nan"), "a" * 200,
    ],
)  # fmt: skip
def test_a_term_in_a_registered_field_never_gets_out(name: str, value: object) -> None:
    """A container, a name, a plate or a sentence does not fit the shape of any field."""
    line = written(**{name: value})
    assert {**line, **line.get("subject", {})}[name] == SECRET


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", "CHECK_DIGIT"), ("partner", "terminal-north"), ("status", "PERMISSION_DENIED"),
        ("revision", "ab" * 32), ("correlation", "0123456789abcdef"),
        ("method", "/fairlead.v1.Gateway/Query"), ("listen", "127.0.0.1:7443"),
        ("endpoint", "node.port.example:443"), ("tls_group", "X25519MLKEM768"),
        ("tls_version", "TLSv1.3"), ("logger", "grpc._cython.cygrpc"),
        ("spiffe_id", "spiffe://fairlead.demo/partner/customs/user/u-c01"),
        ("serial", 7), ("duration_ms", 0.25), ("code", None),
    ],
)  # fmt: skip
def test_right_values_pass(name: str, value: object) -> None:
    """What operators need is written as it is."""
    line = written(**{name: value})
    assert {**line, **line.get("subject", {})}[name] == value


def test_free_text_is_not_an_event() -> None:
    """A message built at the call is replaced by one fixed name."""
    stream = io.BytesIO()
    telemetry._settings.stream = stream
    get_logger().error(f"asked for {TERM}")  # type: ignore[arg-type]
    assert json.loads(stream.getvalue())["event"] == "unregistered"
    assert TERM.encode() not in stream.getvalue()


def test_an_exceptions_text_never_gets_out() -> None:
    """Only the class is written, and the code of our own errors; not text, chain or locals."""
    stream = io.BytesIO()
    telemetry._settings.stream = stream
    try:
        local = TERM
        try:
            raise KeyError(local)
        except KeyError as inner:
            raise ValueError(f"no {local}") from inner
    except ValueError as error:
        get_logger().error(Event.RPC_FAILED, error=error, exc_info=True, stack_info=True)
    get_logger().error(Event.RPC_REFUSED, error=Forged(TERM, reasons=("SIGNATURE",)))
    get_logger().error(Event.RPC_REFUSED, error=Forged("fixed", reasons=(TERM,)))
    assert TERM.encode() not in stream.getvalue()
    assert b"Traceback" not in stream.getvalue()
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first["error"] == "ValueError"
    assert (second["error"], second["code"]) == ("Forged", "SIGNATURE")
    assert third["code"] == SECRET


def test_bound_fields_are_classified_too() -> None:
    """Binding a field to a logger is no way around the registry."""
    stream = io.BytesIO()
    telemetry._settings.stream = stream
    get_logger(partner=TERM, note=TERM).bind(term=TERM).info(Event.QUERY_CLOSED)
    assert TERM.encode() not in stream.getvalue()


def test_below_the_threshold_nothing_is_written() -> None:
    """Debug lines cost and say nothing unless asked for."""
    stream = io.BytesIO()
    telemetry._settings.stream = stream
    get_logger().debug(Event.QUERY_CLOSED)
    assert stream.getvalue() == b""


def test_a_broken_log_does_not_break_the_caller() -> None:
    """A closed stderr loses log lines, not queries."""
    stream = io.BytesIO()
    stream.close()
    telemetry._settings.stream = stream
    get_logger().error(Event.LOG_FAILED)


def test_every_field_has_a_class_and_a_shape() -> None:
    """The registry is complete: no field without both."""
    assert all(
        isinstance(field.kind, Class) and isinstance(field.shape, Shape)
        for field in FIELDS.values()
    )
    assert FIELDS["user"].kind is Class.PSEUDONYMOUS


FOREIGN = """
import asyncio, gc, logging, sys, threading, warnings
from fairlead import telemetry
telemetry.configure("info")
logging.getLogger("grpc").error("failed for %s", "MSCU6639870")
logging.getLogger("MSCU6639870").critical("x", exc_info=ValueError("MSCU6639870"))
warnings.warn("MSCU6639870")
def fail(): raise ValueError("MSCU6639870")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Closing:
    def __del__(self): raise ValueError("MSCU6639870")
closing = Closing(); del closing
async def dropped():
    asyncio.get_running_loop().create_task(failing()); await asyncio.sleep(0.01)
async def failing(): raise ValueError("MSCU6639870")
asyncio.run(dropped()); gc.collect()
raise RuntimeError("MSCU6639870")
"""


def test_no_other_channel_writes_an_exceptions_text() -> None:
    """Loggers of libraries, warnings, threads, finalizers, lost tasks and the last traceback."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert TERM.encode() not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines].count("foreign-log") == 4
    assert [line["event"] for line in lines].count("unhandled") == 3
    assert {line.get("error") for line in lines} == {None, "ValueError", "RuntimeError"}
