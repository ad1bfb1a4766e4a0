"""A draft of somebody else's: no link in it is followed, and nothing it runs reaches the world."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.errors import InvalidInput, Misconfigured
from fairlead.policy import folder, report
from fairlead.policy.building import build, is_signed
from fairlead.policy.compiler import VERSION, InvalidRules, Opa
from fairlead.policy.draft import Draft
from fairlead.policy.issuing import tree
from fairlead.policy.unsigned import UnsignedPolicy
from tests.commands import fairlead

ROOT = Path(__file__).resolve().parents[1]
SECRET = b"of the officer"
Spoil = Callable[[Path], None]


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """A copy of the committed policies, beside a file that is not the draft's."""
    (tmp_path / "secret").write_bytes(SECRET)
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "draft"))


def opa() -> Opa:
    """The pinned OPA; skipped visibly without it."""
    found = Opa.find()
    if found is None:
        missing = f"OPA {VERSION} is missing: make tools"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def link(path: Path) -> None:
    """A link to a file elsewhere that would do."""
    elsewhere = path.parents[1 if path.parent.name == "draft" else 2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def fifo(path: Path) -> None:
    """What nobody ever writes to."""
    path.unlink()
    os.mkfifo(path)


def large(path: Path) -> None:
    """More than anybody reads."""
    os.truncate(path, folder.MAX_FILE + 1)


def linked_folder(path: Path) -> None:
    """The folder of the file is a link to one elsewhere."""
    elsewhere = path.parents[2] / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


FILES = ("data/agreements.yaml", "release/release.rego", "release/release_test.rego", "policy.wasm")
WAYS: list[tuple[str, Spoil]] = [
    (name, spoil)
    for name in FILES
    for spoil in (link, fifo, large, linked_folder)
    if "/" in name or spoil is not linked_folder
]


@pytest.mark.parametrize(("name", "spoil"), WAYS)
def test_a_file_that_is_no_file_of_the_draft_is_refused(
    draft: Path, name: str, spoil: Spoil
) -> None:
    """A link, a FIFO, a file too large or a linked folder: no reader takes it, none waits."""
    spoil(draft / name)
    with pytest.raises(Misconfigured) as caught:
        Draft.read(draft)
    assert caught.value.code == "DRAFT_UNREADABLE"
    with pytest.raises(Misconfigured) as caught:
        tree(draft)
    assert caught.value.code == "POLICY_SOURCES"
    if not name.endswith(".rego"):
        with pytest.raises(Misconfigured) as caught:
            UnsignedPolicy.load(draft)
        assert caught.value.code == "DRAFT_UNREADABLE"


def test_whether_a_folder_is_signed_is_not_guessed(draft: Path) -> None:
    """A list of files that cannot be read is neither a bundle's nor a draft's."""
    fifo(draft / "manifest.json")
    with pytest.raises(Misconfigured) as caught:
        is_signed(draft)
    assert caught.value.code == "DRAFT_UNREADABLE"
    assert not is_signed(draft / "data")


# ── Writing ──────────────────────────────────────────────────────────────────────────────────


def test_a_link_is_replaced_and_not_written_through(draft: Path) -> None:
    """What it pointed at stays; no unfinished file is left."""
    (draft / "reports").mkdir(exist_ok=True)
    path = report.report_path(draft, "partner/customs")
    for name in (path.name, path.name + ".new"):
        (path.parent / name).symlink_to(draft.parent / "secret")
    with pytest.raises(InvalidInput):
        report.read_report(path)
    report.write_report(path, {"schema": 1, "widenings": []})
    assert not path.is_symlink()
    assert report.read_report(path) == {"schema": 1, "widenings": []}
    assert (draft.parent / "secret").read_bytes() == SECRET
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".")]


def test_nothing_is_written_into_a_linked_folder(draft: Path) -> None:
    """Reports beside somebody else's files: refused."""
    (draft.parent / "elsewhere").mkdir()
    shutil.rmtree(draft / "reports", ignore_errors=True)
    (draft / "reports").symlink_to(draft.parent / "elsewhere")
    with pytest.raises(Misconfigured) as caught:
        report.write_report(report.report_path(draft, "partner/customs"), {})
    assert caught.value.code == "DRAFT_UNWRITABLE"
    assert list((draft.parent / "elsewhere").iterdir()) == []


def test_what_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder in the place of the file is an error, and the unfinished file is gone."""
    (tmp_path / "there" / "full").mkdir(parents=True)
    with pytest.raises(Misconfigured) as caught:
        folder.write(tmp_path, "there", b"")
    assert caught.value.code == "DRAFT_UNWRITABLE"
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_module_is_not_built_through_a_link(draft: Path) -> None:
    """The list of what was built replaces a link that has its name."""
    found = opa()
    (draft / "manifest.json").unlink()
    (draft / "policy.wasm").unlink()
    build(draft, found)
    before = (draft / "manifest.json").read_bytes()
    (draft.parent / "secret").write_bytes(before)
    (draft / "manifest.json").unlink()
    (draft / "manifest.json").symlink_to(draft.parent / "secret")
    with pytest.raises(Misconfigured) as caught:
        build(draft, found)
    assert caught.value.code == "DRAFT_UNREADABLE"
    assert (draft.parent / "secret").read_bytes() == before


async def test_a_test_report_is_not_written_through_a_link(draft: Path) -> None:
    """``policy test`` leaves what a link of the report's name points at."""
    (draft / "reports").mkdir(exist_ok=True)
    (draft / "reports" / "tests.json").unlink(missing_ok=True)
    (draft / "reports" / "tests.json").symlink_to(draft.parent / "secret")
    ended = await fairlead("policy", "test", "draft", home=draft.parent, PATH="/nonexistent")
    assert ended.code == 0, ended.err
    assert (draft.parent / "secret").read_bytes() == SECRET
    assert not (draft / "reports" / "tests.json").is_symlink()


# ── The world ────────────────────────────────────────────────────────────────────────────────


async def test_the_rules_of_a_draft_reach_nobody(draft: Path) -> None:
    """Tests, rules and their building are refused where they would call, and nobody is called."""
    found = opa()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        call = f'http.send({{"method": "get", "url": "{url}"}})'
        text = f"\ntest_calls if {{ {call}.status_code == 200 }}\n"
        rules = draft / "release" / "release_test.rego"
        rules.write_text(rules.read_text() + text)
        ended = await fairlead("policy", "test", "draft", home=draft.parent)
        assert ended.code not in (0, 8)
        assert "http.send" in ended.err
        read = Draft.read(draft)
        calling = b"package fairlead.admission\ndecision := " + call.encode() + b"\n"
        sources = {**read.sources, "admission/admission.rego": calling}
        with pytest.raises(InvalidRules):
            found.build(sources, "")
        assert found.decide(sources, read.compiled, [("admission", {})]) == [None]
        with pytest.raises(BlockingIOError):
            listening.accept()
