"""Bundles: only what two people of two organisations signed, not older, expired or touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from policy_cases import EXAMPLE

from fairlead import signing
from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.officers import Officer, key_id
from fairlead.policy.bundle import load_bundle
from fairlead.policy.cubes import CUBES
from fairlead.policy.manifest import (
    DOMAIN,
    REQUIRED_CHECKS,
    WASM,
    Kind,
    SignedManifest,
    canonical,
    parse_manifest,
)
from fairlead.policy.points import PolicyPoints
from fairlead.policy.report import justification
from fairlead.policy.reports import is_about, subject
from fairlead.policy.validity import close_engines
from tests.releases import (
    AGAIN,
    DATA,
    END,
    NOW,
    OFFICERS,
    ONE,
    POLICIES,
    STRANGER,
    THREE,
    TWO,
    made,
    officer,
    release,
    tree,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle: serial 7, until second 2000."""
    made(tmp_path)
    return tmp_path


def refusal(
    folder: Path,
    *,
    minimum: int = 1,
    now: float = NOW,
    officers: Sequence[Officer] = OFFICERS,
    **more: Any,
) -> str:
    """The code a load is refused with."""
    with pytest.raises(PolicyUnavailable) as caught:
        load_bundle(folder, officers, minimum, now, **more)
    assert caught.value.remedy
    return caught.value.code


def resigned(folder: Path, **changed: object) -> None:
    """Change the manifest, and let both officers sign the change."""
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    document["manifest"].update(changed)
    content = json.dumps(document["manifest"], sort_keys=True, separators=(",", ":")).encode()
    document["signatures"] = [
        {
            "key": key_id(signing.public_bytes(k)),
            "signature": signing.sign(k, DOMAIN, content).hex(),
        }
        for k in (ONE, TWO)
    ]
    path.write_text(json.dumps(document))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest file without signing it again."""
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_a_good_bundle_loads_and_decides(folder: Path) -> None:
    """Two approvals, a serial not below the last, before its end: its layers start."""
    bundle = load_bundle(folder, OFFICERS, 7, NOW)
    assert (bundle.serial, bundle.reviewed) == (7, True)
    assert bundle.manifest.data == DATA
    assert bundle.identity == bundle.manifest.identity
    program = bundle.program()
    assert program is not None
    assert "admission/admission.rego" in program.sources
    assert any(name.endswith("_test.rego") for name in bundle.files)
    assert not any(name.endswith("_test.rego") for name in program.sources)
    layers = bundle.layers()
    assert PolicyPoints(layers, bundle.serial).serial == 7
    assert bundle.document()["federation"]["policy"] == bundle.identity
    close_engines(layer.engine for layer in layers)


def test_a_missing_bundle_or_file_is_no_policy(folder: Path, tmp_path: Path) -> None:
    """No manifest, or a file it names is gone: unavailable, not empty."""
    assert refusal(tmp_path / "nowhere") == "POLICY_MISSING"
    (folder / "data/demo.yaml").unlink()
    assert refusal(folder) == "POLICY_MISSING"


def test_an_older_bundle_is_refused_although_it_was_signed(folder: Path) -> None:
    """Rolling back to last month's agreements would widen without anybody's signature."""
    assert refusal(folder, minimum=8) == "POLICY_OLDER"


def test_an_expired_or_future_bundle_is_refused(folder: Path) -> None:
    """At its end a bundle ends, to the second, and it does not begin before it was issued."""
    load_bundle(folder, OFFICERS, 1, END - 1)
    assert refusal(folder, now=END) == "POLICY_EXPIRED"
    assert refusal(folder, now=700) == "POLICY_NOT_YET"


@pytest.mark.parametrize("name", ["policy.wasm", "admission/admission.rego", *DATA])
def test_a_touched_file_is_refused(folder: Path, name: str) -> None:
    """One octet more in any file of the bundle."""
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert refusal(folder) == "POLICY_TAMPERED"


def test_sources_of_another_revision_are_refused(folder: Path) -> None:
    """What an OPA server would compile is what the manifest says the module was compiled from."""
    resigned(folder, revision="0" * 64)
    assert refusal(folder) == "POLICY_TAMPERED"


@pytest.mark.parametrize(
    ("signers", "code"),
    [
        ([ONE], "POLICY_UNDERSIGNED"),
        ([ONE, ONE], "POLICY_UNDERSIGNED"),
        ([ONE, STRANGER], "POLICY_UNDERSIGNED"),
        ([STRANGER, ONE], "POLICY_UNDERSIGNED"),
        ([STRANGER, STRANGER], "POLICY_UNDERSIGNED"),
        ([ONE, AGAIN], "POLICY_SAME_PERSON"),
        ([ONE, THREE], "POLICY_SAME_ORGANISATION"),
    ],
)
def test_two_different_people_of_two_organisations_must_sign(
    tmp_path: Path, signers: list[Ed25519PrivateKey], code: str
) -> None:
    """One person twice, with one key or two, is one person; a colleague is nobody from outside,
    and a stranger nobody at all."""
    made(tmp_path, signers=signers)
    assert refusal(tmp_path) == code


def test_an_author_who_has_not_signed_is_no_author(folder: Path) -> None:
    """Two people who approve what a third is said to have written: the third said nothing."""
    document = parse_manifest((folder / "manifest.json").read_bytes())
    others = SignedManifest(manifest=document.manifest).signed_by(TWO).signed_by(THREE)
    (folder / "manifest.json").write_bytes(others.to_bytes())
    assert refusal(folder) == "POLICY_UNDERSIGNED"


def test_an_unsigned_bundle_is_refused(folder: Path) -> None:
    """Nobody's policy is no policy."""
    rewrite(folder, lambda document: document.update(signatures=[]))
    assert refusal(folder) == "POLICY_UNDERSIGNED"


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 8},
        {"not_after": 3_000},
        {"revision": "0" * 64},
        {"previous": "0" * 64},
        {"kind": "revert"},
        {"max_age_s": 1},
        {"issued_at": 901},
        {"note": "another"},
        {"data": ["data/agreements.yaml"]},
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, change: dict[str, object]) -> None:
    """Whatever the manifest says is under the signatures."""
    rewrite(folder, lambda document: document["manifest"].update(change))
    assert refusal(folder) == "POLICY_TAMPERED"


def test_a_kernel_that_demands_other_checks_is_refused(folder: Path) -> None:
    """A check less, although two people signed that: this program demands it all the same."""
    fewer = {kind: list(checks) for kind, checks in REQUIRED_CHECKS.items()}
    fewer["release"].remove("person_permits")
    resigned(folder, required_checks=fewer)
    assert refusal(folder) == "POLICY_CHECKS"


def reported(folder: Path, widenings: object, **more: object) -> str:
    """What becomes of a release that names a replay report with these widenings."""
    source = tree(folder / "tree")
    (source / "reports").mkdir()
    report = {"schema": 1, "partner": "customs", "widenings": widenings, "draft": about(source)}
    (source / "reports" / "replay-customs.json").write_text(json.dumps({**report, **more}))
    made(folder / "made", source=source, replays=("reports/replay-customs.json",))
    return refusal(folder / "made")


def test_tests_without_the_registry_of_cubes_are_of_another_policy(tmp_path: Path) -> None:
    """Who may ask for which figures is decided by the names in it."""
    source = tree(tmp_path / "tree")
    files = {
        name: hashlib.sha256((source / name).read_bytes()).hexdigest()
        for name in (WASM, CUBES, *DATA)
    }
    octets = [
        json.dumps({"ok": True, "inputs": {n: d for n, d in files.items() if n != left}})
        for left in ("", CUBES)
    ]
    assert [is_about(content.encode(), files, DATA) for content in octets] == [True, False]


def about(source: Path) -> str:
    """What a replay of this tree says that it is about."""
    names = (WASM, CUBES, *DATA)
    return subject({n: hashlib.sha256((source / n).read_bytes()).hexdigest() for n in names})


def test_a_replay_of_another_draft_is_refused(tmp_path: Path) -> None:
    """Yesterday's report, under which nothing was wider, says nothing of today's agreements."""
    assert reported(tmp_path, [], draft="0" * 64) == "POLICY_REPORT"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ok": False}, "POLICY_REPORT"),
        ({"inputs": {}}, "POLICY_REPORT"),
        ({"inputs": {"data/agreements.yaml": "0" * 64}}, "POLICY_REPORT"),
        ({"inputs": {CUBES: "0" * 64}}, "POLICY_REPORT"),
        ({}, ""),
    ],
)
def test_tests_that_failed_or_tested_something_else_are_refused(
    tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    """A release that names a report of tests is the one that passed them."""
    source = tree(tmp_path / "tree")
    (source / "reports").mkdir()
    names = [WASM, CUBES, *DATA]
    inputs = {name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in names}
    report = {"schema": 1, "ok": True, "inputs": inputs, **changes}
    (source / "reports" / "tests.json").write_text(json.dumps(report))
    made(tmp_path / "made", source=source, tests="reports/tests.json")
    if code:
        assert refusal(tmp_path / "made") == code
    else:
        assert load_bundle(tmp_path / "made", OFFICERS, 1, NOW).manifest.tests


def said(widening: str, by: Ed25519PrivateKey = ONE) -> dict[str, Any]:
    """A widening of the committed policies that somebody has justified."""
    draft, now = about(POLICIES), int(NOW)
    why = justification(widening, "agreed in May", by, draft=draft, person="u-so1", now=now)
    return {"id": widening, "justification": why}


@pytest.mark.parametrize("second", [{"id": "w2", "justification": None}, said("w2", STRANGER)])
def test_an_unjustified_widening_is_refused(tmp_path: Path, second: dict[str, object]) -> None:
    """A report on which no officer has said why more is permitted, though two people signed."""
    assert reported(tmp_path, [said("w1"), second]) == "POLICY_UNJUSTIFIED"


@pytest.mark.parametrize(
    "changed", [{"text": "agreed in June"}, {"by": "u-so2"}, {"key": "0" * 64}]
)
def test_a_forged_justification_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    """Other words, or another's name, under a signature; or one without any."""
    forged = said("w1")
    forged["justification"] |= changed
    assert reported(tmp_path, [forged]) == "POLICY_REPORT"
    other = {"id": "w2", "justification": said("w1")["justification"]}
    assert reported(tmp_path / "other", [other]) == "POLICY_REPORT"


@pytest.mark.parametrize(
    "widenings", [None, [7], [{"id": "w1"}], [{"id": "w", "justification": "x"}], {}]
)
def test_a_report_that_cannot_be_read_is_refused(tmp_path: Path, widenings: object) -> None:
    """What does not say what it compared says nothing."""
    assert reported(tmp_path, widenings) == "POLICY_REPORT"


def test_a_justified_widening_is_let_through(tmp_path: Path) -> None:
    """Somebody said why: the second signature stands."""
    source = tree(tmp_path / "tree")
    (source / "reports").mkdir()
    report = {"schema": 1, "partner": "customs", "widenings": [said("w1")], "draft": about(source)}
    (source / "reports" / "replay-customs.json").write_text(json.dumps(report))
    made(tmp_path / "made", source=source, replays=("reports/replay-customs.json",))
    assert load_bundle(tmp_path / "made", OFFICERS, 1, NOW).manifest.replays


# ── Emergencies ──────────────────────────────────────────────────────────────────────────────


def emergency(folder: Path, old: str, new: str, **more: Any) -> None:
    """One officer's release of kind emergency after serial 7."""
    previous = load_bundle(folder / "before", OFFICERS, 1, NOW).identity
    made(
        folder / "after", source=tree(folder / "tree", change=(old, new)), signers=[ONE],
        **{"kind": Kind.EMERGENCY, "serial": 8, "previous": previous, **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [("max_records: 20", "max_records: 1"), ("    cubes: all", "    cubes: [seizures]")],
)
def test_one_person_may_tighten_in_an_emergency(tmp_path: Path, old: str, new: str) -> None:
    """Fewer records or figures than before, signed once: in force, and waiting for its review."""
    made(tmp_path / "before")
    emergency(tmp_path, old, new)
    before = load_bundle(tmp_path / "before", OFFICERS, 1, NOW)
    bundle = load_bundle(tmp_path / "after", OFFICERS, 1, NOW, before=before)
    assert not bundle.reviewed
    assert refusal(tmp_path / "after") == "POLICY_EMERGENCY"
    signed = bundle.signed.signed_by(TWO)
    (tmp_path / "after" / "manifest.json").write_bytes(signed.to_bytes())
    assert load_bundle(tmp_path / "after", OFFICERS, 1, NOW).reviewed


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        ("max_records: 20", "max_records: 99", {}),
        ("[strategic-analysis]", "[strategic-analysis, customs-risk]", {}),
        ("max_records: 20", "max_records: 1", {"previous": "0" * 64}),
        ("max_records: 20", "max_records: 1", {"kind": Kind.RELEASE}),
    ],
)
def test_an_emergency_that_widens_or_follows_nothing_is_refused(
    tmp_path: Path, old: str, new: str, more: dict[str, Any]
) -> None:
    """One person may not permit more, nor tighten something else, nor call it a release."""
    made(tmp_path / "before")
    emergency(tmp_path, old, new, **more)
    before = load_bundle(tmp_path / "before", OFFICERS, 1, NOW)
    wanted = "POLICY_UNDERSIGNED" if "kind" in more else "POLICY_EMERGENCY"
    assert refusal(tmp_path / "after", before=before) == wanted


# ── A partner's own ──────────────────────────────────────────────────────────────────────────

OWN = (officer(ONE, "own-1", "quayguard"), officer(TWO, "own-2", "quayguard"))


def own(folder: Path, agreements: bytes = EXAMPLE, **changed: Any) -> Path:
    """A partner's own bundle."""
    (folder / "source" / "data").mkdir(parents=True)
    (folder / "source" / "data" / "local.yaml").write_bytes(agreements)
    made(folder / "own", source=folder / "source", data=(), local=True, **changed)
    return folder / "own"


def test_a_partners_own_bundle_is_a_second_layer(folder: Path, tmp_path: Path) -> None:
    """Its officers may be colleagues; it needs no kernel of its own."""
    local = load_bundle(own(tmp_path / "own"), OWN, 1, NOW, local=True)
    assert local.program() is None
    layers = load_bundle(folder, OFFICERS, 1, NOW).layers(local)
    assert len(layers) == 2
    close_engines(layer.engine for layer in layers)


def test_a_partners_own_bundle_needs_two_people_too(tmp_path: Path) -> None:
    """A single officer names an approver elsewhere, or adopts the baseline."""
    place = own(tmp_path / "own", signers=[ONE])
    assert refusal(place, officers=OWN, local=True) == "POLICY_UNDERSIGNED"
    same = (OWN[0], officer(TWO, "own-1", "police"))
    place = own(tmp_path / "again", signers=[ONE, TWO])
    assert refusal(place, officers=same, local=True) == "POLICY_SAME_PERSON"


def test_a_partners_own_bundle_is_not_the_federations(tmp_path: Path) -> None:
    """Without a kernel it is no policy of the federation, whoever signed it."""
    assert refusal(own(tmp_path / "own")) == "POLICY_MALFORMED"


# ── Form ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["manifest"].pop("not_after"),
        lambda d: d["manifest"].update(extra=1),
        lambda d: d["manifest"].update(serial="7"),
        lambda d: d["manifest"].update(serial=True),
        lambda d: d["manifest"].update(serial=0),
        lambda d: d["manifest"].update(schema=1),
        lambda d: d["manifest"].update(kind="revolution"),
        lambda d: d["manifest"].update(previous="none"),
        lambda d: d["manifest"].update(note="two\nlines"),
        lambda d: d["manifest"].update(tests="reports/none.json"),
        lambda d: d["manifest"].update(replays=["reports/none.json"]),
        lambda d: d["manifest"].update(required_checks={"asking": ["b", "a"]}),
        lambda d: d["manifest"].update(data=[]),
        lambda d: d["manifest"].update(data=["data/else.yaml"]),
        lambda d: d["manifest"]["files"].update({"../policy.wasm": "0" * 64}),
        lambda d: d["manifest"]["files"].update({"/etc/passwd": "0" * 64}),
        lambda d: d["manifest"]["files"].update({"manifest.json": "0" * 64}),
        lambda d: d["manifest"]["files"].pop("policy.wasm"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("signatures"),
        lambda d: d.update(signatures=[{"key": "x", "signature": "y"}]),
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, change: Any) -> None:
    """Missing, unknown or mistyped keys, and names that leave the folder."""
    rewrite(folder, change)
    assert refusal(folder) == "POLICY_MALFORMED"


def test_octets_that_are_no_manifest_are_refused(folder: Path) -> None:
    """Empty, no JSON, a repeated key, a number for an object, nested without end."""
    for content in (b"", b"\xff", b'{"a":1,"a":1}', b"7", b"[" * 100_000, b'{"manifest":7}'):
        (folder / "manifest.json").write_bytes(content)
        assert refusal(folder) == "POLICY_MALFORMED"


@given(content=st.binary(max_size=200))
def test_any_octets_are_a_manifest_or_malformed(content: bytes) -> None:
    """The parser has one exception and no other."""
    with pytest.raises(PolicyUnavailable):
        parse_manifest(content)


def test_what_is_read_is_what_is_written() -> None:
    """A manifest's octets read back to the same octets, and to the same identity."""
    octets = release()["manifest.json"]
    signed = parse_manifest(octets)
    assert signed.to_bytes() == octets
    assert parse_manifest(signed.to_bytes()).manifest.identity == signed.manifest.identity


def test_the_committed_list_is_not_a_bundle() -> None:
    """policies/manifest.json is what was built; nobody approved it."""
    assert refusal(POLICIES) == "POLICY_MALFORMED"


def test_signatures_do_not_come_from_another_domain(folder: Path) -> None:
    """A signature the same key made over the same octets for another use is not an approval."""
    bundle = load_bundle(folder, OFFICERS, 1, NOW)
    other = signing.sign(TWO, "directory", canonical(bundle.manifest)).hex()
    name = key_id(signing.public_bytes(TWO))
    rewrite(
        folder,
        lambda d: [s.update(signature=other) for s in d["signatures"] if s["key"] == name],
    )
    assert refusal(folder) == "POLICY_TAMPERED"


def test_a_second_person_may_sign_later(tmp_path: Path) -> None:
    """Signatures are over the manifest alone, so they can be put together afterwards."""
    made(tmp_path, signers=[ONE])
    assert refusal(tmp_path) == "POLICY_UNDERSIGNED"
    path = tmp_path / "manifest.json"
    path.write_bytes(parse_manifest(path.read_bytes()).signed_by(TWO).to_bytes())
    assert load_bundle(tmp_path, OFFICERS, 1, NOW).serial == 7


def test_making_a_release_needs_what_was_built(tmp_path: Path) -> None:
    """Sources that are incomplete, or a module that is not the built one, are not signed."""
    with pytest.raises(Misconfigured):
        made(tmp_path / "made", source=tmp_path)
    with pytest.raises(Misconfigured):
        made(tmp_path / "made", data=("data/none.yaml",))
    changed = tree(tmp_path / "tree")
    (changed / "admission" / "admission.rego").write_text("package fairlead.admission\n")
    with pytest.raises(Misconfigured):
        made(tmp_path / "made", source=changed)
