"""A user's profile: where it is found and what it must hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.config import ConfigurationInvalid
from fairlead.errors import NotEnrolled
from fairlead.profile import ENVIRONMENT, Profile, load_profile, profile_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return tmp_path


def write(folder: Path, name: str = "profile.toml", **changes: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("user.pem", "user.key", "directory.bin", "pins.toml"):
        (folder / file).touch()
    values = {
        "node": "127.0.0.1:7401",
        "node_id": "spiffe://fairlead.demo/partner/customs/node/node-1",
        "certificate": "user.pem",
        "key": "user.key",
        "directory": "directory.bin",
        "trust": "pins.toml",
        **changes,
    }
    path = folder / name
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    return path


def test_the_option_comes_before_the_environment_before_the_folder(home: Path) -> None:
    """The nearest word wins, and an empty variable is none."""
    usual = write(home / "home" / ".config" / "fairlead")
    named = write(home / "named")
    option = write(home / "option")
    assert profile_path(None, {}) == usual
    assert profile_path(None, {ENVIRONMENT: ""}) == usual
    assert profile_path(None, {ENVIRONMENT: str(named)}) == named
    assert profile_path(option, {ENVIRONMENT: str(named)}) == option


def test_without_a_profile_a_person_is_not_enrolled(home: Path) -> None:
    """No file, and a named file that is missing, exit with 4 and say what to do."""
    for path in (None, home / "none.toml", home):
        with pytest.raises(NotEnrolled) as caught:
            load_profile(path)
        assert caught.value.exit_code == 4
        assert "FAIRLEAD_PROFILE" in caught.value.diagnostics()


def test_relative_paths_start_at_the_profiles_folder(home: Path) -> None:
    """A profile can be moved with its folder."""
    path = write(home / "p")
    profile, folder = load_profile(path)
    assert folder == home / "p"
    assert profile.certificate == home / "p" / "user.pem"
    assert profile.receipts == "receipts"


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"keyy": "x"}, "keyy"), ({"key": "missing.key"}, "key"), ({"receipts": ""}, "")],
)
def test_a_wrong_profile_names_its_keys(home: Path, changes: dict[str, str], key: str) -> None:
    """Unknown keys and missing files are named; the values are not repeated."""
    path = write(home / "p", **changes)
    if not key:
        assert load_profile(path)[0].receipts == ""
        return
    with pytest.raises(ConfigurationInvalid) as caught:
        load_profile(path)
    assert key in [problem.key for problem in caught.value.problems]
    assert "missing.key" not in caught.value.diagnostics()


def test_every_field_says_what_it_expects() -> None:
    """Every key of a profile has a description, which the errors show."""
    assert all(field.description for field in Profile.model_fields.values())
