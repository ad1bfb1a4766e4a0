"""Where a gateway's log lies: a file in its state, or a database by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.auditlog import DatabaseUrl
from fairlead.config import GatewayConfig
from fairlead.errors import Misconfigured
from gateway.app import LOG_FILE, log_place

ADDRESS = "postgresql://gateway:secret@127.0.0.1/fairlead"


def config(folder: Path, database: str | None) -> GatewayConfig:
    return GatewayConfig.model_construct(state_dir=folder, database=database)


def test_without_a_database_the_log_is_a_file(tmp_path: Path) -> None:
    """What no key names lies where it always did."""
    assert log_place(config(tmp_path, None)) == tmp_path / LOG_FILE


def test_a_database_is_named_by_reference(tmp_path: Path) -> None:
    """The address is a secret: the configuration says where it is, and nothing shows it."""
    place = log_place(config(tmp_path, "env:AUDITED"), {"AUDITED": f"{ADDRESS}\n"})
    assert place == DatabaseUrl(ADDRESS)
    file = tmp_path / "database.url"
    file.touch(mode=0o600)
    file.write_text(ADDRESS)
    assert log_place(config(tmp_path, f"file:{file}")) == place
    assert "secret" not in repr(place)


@pytest.mark.parametrize(
    ("environ", "code"), [({}, "SECRET_MISSING"), ({"AUDITED": "log.sqlite"}, "DATABASE_URL")]
)
def test_a_reference_to_nothing_is_refused(
    tmp_path: Path, environ: dict[str, str], code: str
) -> None:
    """No secret, or no address in it: the gateway does not start with an empty log elsewhere."""
    with pytest.raises(Misconfigured) as caught:
        log_place(config(tmp_path, "env:AUDITED"), environ)
    assert caught.value.code == code


def test_a_log_in_a_file_is_not_left_behind(tmp_path: Path) -> None:
    """A gateway that has a log does not begin another of the same origin in a database: that is a
    fork, and whoever knew the first would refuse everything."""
    (tmp_path / LOG_FILE).touch()
    with pytest.raises(Misconfigured) as caught:
        log_place(config(tmp_path, "env:AUDITED"), {"AUDITED": ADDRESS})
    assert caught.value.code == "LOG_ELSEWHERE"
