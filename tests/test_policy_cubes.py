"""The registry of cubes in a policy release: signed with it, changed only by two, never lost."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from fairlead.cubes.registry import InvalidCubes, Registry
from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.policy.approving import Desk, Terms
from fairlead.policy.bundle import load_bundle
from fairlead.policy.checking import check_draft
from fairlead.policy.cubes import CUBES, check_cubes, cubes_in
from fairlead.policy.draft import Draft
from fairlead.policy.drafting import start_draft
from fairlead.policy.issuing import tree
from fairlead.policy.manifest import Kind
from tests.cubes import DEFAULTS, SMALL, written
from tests.releases import NOW, OFFICERS, ONE, POLICIES, made, release, verified

TITLE = ("title: Reports received", "title: Reports that came in")


def copy(folder: Path, *changes: tuple[str, str]) -> Path:
    """The committed policies with texts of the registry replaced."""
    shutil.copytree(POLICIES, folder)
    text = (folder / CUBES).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / CUBES).write_text(text)
    return folder


def test_a_release_names_the_registry_and_its_digest() -> None:
    """Version and digest of the registry are under both signatures, and every node reads them."""
    bundle = verified(release())
    assert bundle.manifest.files[CUBES] == hashlib.sha256(DEFAULTS).hexdigest()
    assert CUBES not in bundle.manifest.data
    found = cubes_in(bundle.files)
    assert (found.version, found.digest) == (1, Registry.parse(DEFAULTS).digest)


def test_rules_know_the_names_of_cubes_and_no_more_of_the_registry() -> None:
    """Who may ask for a cube's figures is decided by its name."""
    document = verified(release()).document()
    names = [cube.id for cube in Registry.parse(DEFAULTS).cubes]
    assert document["federation"]["cubes"] == dict.fromkeys(names, True)
    assert set(document) == {"federation"}


def test_a_registry_that_was_touched_is_refused(tmp_path: Path) -> None:
    """One octet of it in the folder, after two people signed."""
    made(tmp_path)
    (tmp_path / CUBES).write_bytes(DEFAULTS + b"#")
    with pytest.raises(PolicyUnavailable) as caught:
        load_bundle(tmp_path, OFFICERS, 1, NOW)
    assert caught.value.code == "POLICY_TAMPERED"


def test_one_person_does_not_change_the_registry_in_an_emergency(tmp_path: Path) -> None:
    """Even with higher versions, which two people could sign."""
    made(tmp_path / "before")
    before = load_bundle(tmp_path / "before", OFFICERS, 1, NOW)
    source = copy(tmp_path / "tree", TITLE, ("version: 1", "version: 2"))
    fields = {"kind": Kind.EMERGENCY, "serial": 8, "previous": before.identity, "signers": [ONE]}
    made(tmp_path / "after", source=source, **fields)
    with pytest.raises(PolicyUnavailable) as caught:
        load_bundle(tmp_path / "after", OFFICERS, 1, NOW, before=before)
    assert caught.value.code == "POLICY_EMERGENCY"
    made(tmp_path / "same", **fields)
    assert not load_bundle(tmp_path / "same", OFFICERS, 1, NOW, before=before).reviewed


def test_nobody_signs_a_registry_that_changed_under_its_old_version(tmp_path: Path) -> None:
    """The author learns it before a second person is asked; with new versions it is signed."""
    desk = Desk(officers=OFFICERS, base=release())
    with pytest.raises(InvalidCubes) as caught:
        desk.sign(copy(tmp_path / "one", TITLE), ONE, Terms(), now=NOW)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "version", "cubes[0].version",
    ]  # fmt: skip
    versions = (("version: 1", "version: 2"), ("    version: 1", "    version: 2"))
    folder = copy(tmp_path / "two", TITLE, *versions)
    assert desk.sign(folder, ONE, Terms(), now=NOW).manifest.serial == 8


def test_a_release_that_goes_back_goes_back_whole(tmp_path: Path) -> None:
    """The files of an older release have its registry, with the versions of then."""
    versions = (("version: 1", "version: 2"), ("    version: 1", "    version: 2"))
    newer = copy(tmp_path / "newer", TITLE, *versions)
    base = {**release(), CUBES: (newer / CUBES).read_bytes()}
    desk = Desk(officers=OFFICERS, base=base)
    assert desk.sign(copy(tmp_path / "old"), ONE, Terms(kind=Kind.REVERT), now=NOW)
    with pytest.raises(InvalidCubes):
        desk.sign(copy(tmp_path / "again"), ONE, Terms(), now=NOW)


def test_a_registry_is_not_lost_on_the_way() -> None:
    """A release without one may not follow one that had it; one that never had it is a release."""
    with pytest.raises(InvalidCubes) as caught:
        check_cubes({}, {CUBES: DEFAULTS})
    assert caught.value.problems == (f"{CUBES}: is missing, and the release in force has one",)
    check_cubes({}, {})
    check_cubes({CUBES: DEFAULTS}, {})
    with pytest.raises(Misconfigured) as missing:
        cubes_in({})
    assert missing.value.code == "CUBES_MISSING"


def test_a_wrong_registry_is_told_when_a_draft_is_checked(tmp_path: Path) -> None:
    """With file, line and path, beside what else is wrong; without OPA too."""
    source = copy(tmp_path / "draft", ("kind: count", "kind: cuont"))
    (found,) = [c for c in check_draft(Draft.read(source), None) if c.name == "cubes"]
    assert found.state == "failed"
    (problem,) = found.problems
    assert problem.startswith(f"{CUBES}:")
    assert problem.endswith("cubes[0].measures[0].kind: one of the documented words is expected")
    with pytest.raises(InvalidCubes):
        check_cubes({CUBES: (source / CUBES).read_bytes()}, None)


def test_a_draft_takes_the_registry_along(tmp_path: Path) -> None:
    """Whoever drafts the next release has the one in force, and a partner's own has none."""
    names = start_draft(POLICIES, tmp_path / "draft")
    assert CUBES in names
    assert CUBES in tree(POLICIES)
    assert CUBES not in tree(POLICIES, local=True)


def test_a_linked_registry_is_not_followed(tmp_path: Path) -> None:
    """A link in a draft would have a tool read a file of whoever runs it."""
    source = copy(tmp_path / "draft")
    (source / CUBES).unlink()
    (source / CUBES).symlink_to("/etc/hostname")
    with pytest.raises(Misconfigured) as caught:
        Draft.read(source)
    assert caught.value.code == "DRAFT_UNREADABLE"
    with pytest.raises(Misconfigured) as caught:
        tree(source)
    assert caught.value.code == "POLICY_SOURCES"


def test_any_registry_may_follow_none() -> None:
    """The first one has nothing to follow."""
    check_cubes({CUBES: written(SMALL)}, None)
