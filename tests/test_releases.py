"""Releases of a running process: one takes another's place, or changes nothing and is on record."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import process
from fairlead.auditlog import Also, AuditLog
from fairlead.errors import FairleadError, Misconfigured, PolicyUnavailable
from fairlead.leaves import LeafWriter
from fairlead.policy.bundle import load_bundle, write_bundle
from fairlead.policy.engine import PolicyEngine, Program
from fairlead.policy.manifest import MANIFEST, Kind, parse_manifest
from fairlead.policy.place import Place
from fairlead.policy.store import Shelf, prepare
from fairlead.releases import REVIEW_S, Releases, open_releases
from fairlead.v1 import audit_pb2
from tests.releases import (
    END,
    NOW,
    OFFICERS,
    ONE,
    THREE,
    TWO,
    files_of,
    made,
    officer,
    release,
    tree,
    verified,
)


class Still:
    """An engine that decides nothing, and says whether it was closed."""

    name = "wasm"

    def __init__(self) -> None:
        self.closed = False

    def evaluate(self, _point: str, _document: object) -> bytes:
        return b"{}"

    def close(self) -> None:
        self.closed = True


class Bench:
    """One process's policy, its log, and the clock it goes by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = float(NOW)
        self.engines: list[Still] = []
        self.broken = False
        self.log = AuditLog.open(
            folder / "log.sqlite",
            origin="fairlead.demo/gateway/gw-1",
            key=Ed25519PrivateKey.generate(),
            clock=lambda: self.now,
            migrations=process.MIGRATIONS,
        )
        self.leaves = LeafWriter(log="gateway/gw-1", clock=lambda: self.now)
        self.place = Place(
            folder=folder / "policy",
            kept=folder / "policies",
            officers=lambda: OFFICERS,
            make=self._make,
        )

    def _make(self, _program: Program, _data: object) -> PolicyEngine:
        if self.broken:
            raise PolicyUnavailable("no engine", reasons=("ENGINE_START",))
        self.engines.append(Still())
        return self.engines[-1]

    async def open(self, **place: Any) -> Releases:
        """The process starts (again)."""
        seen = dict(self.log.read("SELECT subject, serial FROM active"))
        found = Place(
            folder=self.place.folder, kept=self.place.kept, officers=self.place.officers,
            make=self._make, **place,
        )  # fmt: skip
        return await open_releases(
            found, seen=seen, log=self.log, leaves=self.leaves, clock=lambda: self.now,
            record=self._record,
        )  # fmt: skip

    def _record(self, serials: dict[str, int]) -> Also:
        def put(connection: sqlite3.Connection) -> None:
            rows = serials.items()
            connection.executemany("INSERT OR REPLACE INTO active VALUES (?, ?)", rows)

        return put

    def said(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Type, subject and reasons of each leaf."""
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        name = audit_pb2.LeafType.Name
        return [
            (name(leaf.type).removeprefix("LEAF_TYPE_"), leaf.subject, tuple(leaf.reasons))
            for leaf in leaves
        ]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "policy").mkdir()
    write_bundle(release(), tmp_path / "policy")
    found = Bench(tmp_path)
    yield found
    found.log.close()


def engines(releases: Releases) -> list[PolicyEngine]:
    """What decides now, the federation's engine first."""
    return [getattr(layer, "engine", layer) for layer in releases.live.current._layers]


def next_of(releases: Releases, serial: int = 8, **more: Any) -> dict[str, bytes]:
    """The release that follows."""
    return release(serial, **{"previous": releases.bundle.identity, **more})


async def test_the_next_release_takes_the_place_of_the_one_in_force(bench: Bench) -> None:
    """On the record, on the disk, in the shelf, and between two queries; a restart finds it."""
    releases = await bench.open()
    told: list[int] = []
    releases.on_change.append(lambda: told.append(releases.bundle.serial))
    before = releases.live.current
    assert await releases.take(next_of(releases))
    assert (before.serial, releases.live.current.serial, told) == (7, 8, [8])
    assert bench.said() == [("ACTIVATION", "policy", ()), ("ACTIVATION", "policy", ())]
    assert load_bundle(bench.place.folder, OFFICERS, 8, NOW).serial == 8
    assert not (bench.place.folder / ".incoming").exists()
    assert releases.files(7) == release()
    again = await bench.open()
    assert again.bundle.serial == 8


async def test_old_engines_are_closed_after_their_last_query(bench: Bench) -> None:
    """Whoever still decides under the old serial goes on; then nothing of it is left."""
    releases = await bench.open()
    query = releases.live.current
    await releases.take(next_of(releases))
    gc.collect()
    assert not bench.engines[0].closed
    gone = ref(query)
    del query
    gc.collect()
    assert gone() is None
    assert [engine.closed for engine in bench.engines] == [True, False]


@pytest.mark.parametrize(
    ("other", "code", "kind"),
    [
        (lambda r: release(7, note="another"), "POLICY_FORK", "ALARM"),
        (lambda r: release(6), "POLICY_OLDER", "ALARM"),
        (lambda r: release(8, previous="0" * 64), "POLICY_CHAIN", "ALARM"),
        (lambda r: next_of(r, signers=(ONE,)), "POLICY_UNDERSIGNED", "REFUSAL"),
        (lambda r: next_of(r, signers=(ONE, THREE)), "POLICY_SAME_ORGANISATION", "REFUSAL"),
        (lambda r: next_of(r, not_after=NOW), "POLICY_EXPIRED", "REFUSAL"),
        (lambda r: {**next_of(r), "data/demo.yaml": b"x"}, "POLICY_TAMPERED", "REFUSAL"),
        (lambda r: {**next_of(r), "more.txt": b"x"}, "POLICY_MALFORMED", "REFUSAL"),
        (lambda r: {}, "POLICY_MALFORMED", "REFUSAL"),
    ],
)
async def test_what_may_not_follow_changes_nothing(
    bench: Bench, other: Callable[[Releases], dict[str, bytes]], code: str, kind: str
) -> None:
    """Forks, older ones and broken chains are alarms, the rest refusals; the old one decides."""
    releases = await bench.open()
    points = releases.live.current
    with pytest.raises(FairleadError) as caught:
        await releases.take(other(releases), partner_id="customs", user="somebody")
    assert caught.value.code == code
    assert caught.value.remedy
    assert bench.said()[-1] == (kind, "policy", (code,))
    assert releases.live.current is points
    assert (await bench.open()).bundle.serial == 7


async def test_a_bundle_that_no_engine_loads_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    """Two people signed it, and it does not start, or says nothing that is understood."""
    releases = await bench.open()
    bench.broken = True
    with pytest.raises(PolicyUnavailable):
        await releases.take(next_of(releases))
    bench.broken = False
    source = tree(tmp_path / "tree", change=("purposes:", "purpose:"))
    made(tmp_path / "made", source=source, serial=8, previous=releases.bundle.identity)
    with pytest.raises(Misconfigured):
        await releases.take(files_of(tmp_path / "made"))
    assert releases.live.current.serial == 7
    assert [row[2] for row in bench.said()[1:]] == [("ENGINE_START",), ("AGREEMENTS_INVALID",)]


async def test_a_node_that_was_away_follows_every_release(bench: Bench) -> None:
    """Only the last becomes active; those between are verified, even expired, and kept."""
    releases = await bench.open()
    eighth = next_of(releases, not_after=NOW - 10)
    ninth = release(9, previous=verified(eighth, now=901).identity)
    with pytest.raises(PolicyUnavailable) as caught:
        await releases.take(ninth)
    assert caught.value.code == "POLICY_CHAIN"
    assert await releases.take(eighth, ninth)
    assert releases.bundle.serial == 9
    assert releases.next_after(7) == eighth
    assert releases.next_after(8) == ninth
    assert releases.next_after(9) is None
    activated = [row for row in bench.said() if row[0] == "ACTIVATION"]
    assert len(activated) == 2


async def test_a_bundle_put_into_the_folder_is_taken_up(bench: Bench) -> None:
    """Once it lies still; what is wrong there is on the record once, and decides nothing."""
    releases = await bench.open()
    write_bundle(next_of(releases, serial=9, previous="0" * 64), bench.place.folder)
    await releases.look()
    await releases.look()
    await releases.look()
    assert releases.bundle.serial == 9
    with (bench.place.folder / "data" / "demo.yaml").open("a") as file:
        file.write("\n# by nobody\n")
    (bench.place.folder / MANIFEST).write_bytes(release(10)[MANIFEST])
    for _ in range(5):
        await releases.look()
    assert bench.said()[-1] == ("REFUSAL", "policy", ("POLICY_TAMPERED",))
    assert len([row for row in bench.said() if row[0] == "REFUSAL"]) == 1
    assert releases.live.current.serial == 9


# ── Age ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_policy_nobody_confirms_goes_stale(bench: Bench) -> None:
    """Past its maximum age it denies; a word that it is current, from a restart ago too, helps."""
    short = release(8, previous=verified(release()).identity, max_age_s=200)
    releases = await bench.open()
    await releases.take(short)
    assert releases.until == 900 + 200
    bench.now = 1_100.0
    with pytest.raises(PolicyUnavailable) as caught:
        engines(releases)[0].evaluate("admission", {"now": int(bench.now)})
    assert caught.value.code == "POLICY_STALE"
    releases.confirm(8, "0" * 64)
    assert releases.until == 1_100
    releases.confirm(8, releases.bundle.identity)
    assert releases.until == 1_300
    bench.now = 1_200.0
    assert (await bench.open()).until == 1_300


async def test_an_officer_renews_a_gateways_policy_on_the_record(bench: Bench) -> None:
    """The gateway hears from nobody: the release published once more says it is current."""
    releases = await bench.open()
    assert not await releases.take(release())
    await releases.renew()
    assert bench.said()[-1] == ("ACTIVATION", "policy-confirmed", ())


# ── Emergencies ──────────────────────────────────────────────────────────────────────────────


LONG: dict[str, int] = {"not_after": END + 2 * REVIEW_S, "max_age_s": 3 * REVIEW_S}


def hasty(bench: Bench, releases: Releases, serial: int = 9, **more: Any) -> dict[str, bytes]:
    """An emergency that one officer signed."""
    source = tree(bench.folder / "tree", change=("max_records: 20", "max_records: 1"))
    folder = bench.folder / f"made-{serial}-{len(more)}"
    fields = {"previous": releases.bundle.identity, **LONG, **more}
    made(folder, source=source, signers=[ONE], serial=serial, kind=Kind.EMERGENCY, **fields)
    return files_of(folder)


async def hurry(bench: Bench, releases: Releases) -> dict[str, bytes]:
    """After a release that lasts, one officer tightens."""
    assert await releases.take(next_of(releases, **LONG))
    files = hasty(bench, releases)
    assert await releases.take(files)
    return files


@pytest.mark.parametrize(
    "changed",
    [{"serial": 10}, {"serial": 2**53 - 1}, {"not_after": LONG["not_after"] + 1},
     {"max_age_s": LONG["max_age_s"] + 1}],
)  # fmt: skip
async def test_one_person_skips_no_serial_and_makes_nothing_last_longer(
    bench: Bench, changed: dict[str, int]
) -> None:
    """An emergency in a hurry is the next release, and ends no later than the one before."""
    releases = await bench.open()
    assert await releases.take(next_of(releases, **LONG))
    with pytest.raises(PolicyUnavailable) as caught:
        await releases.take(hasty(bench, releases, **changed))
    assert caught.value.code == "POLICY_EMERGENCY"
    assert releases.bundle.serial == 8


async def test_an_emergency_on_an_unreviewed_one_is_refused(bench: Bench) -> None:
    """One person puts no second one on the first, and so never outruns the review."""
    releases = await bench.open()
    await hurry(bench, releases)
    with pytest.raises(PolicyUnavailable) as caught:
        await releases.take(hasty(bench, releases, serial=10))
    assert caught.value.code == "POLICY_EMERGENCY"


async def test_strangers_signatures_are_not_kept(bench: Bench) -> None:
    """Whoever invents signatures of the release in force changes nothing, here or elsewhere."""
    releases = await bench.open()
    files = releases.files()
    assert files is not None
    before = releases.bundle.signed.to_bytes()
    signed = parse_manifest(files[MANIFEST])
    for number in range(3):
        invented = [(f"{number}{i:063x}", "0" * 128) for i in range(12)]
        more = signed.with_signatures(invented).to_bytes()
        assert not await releases.take({**files, MANIFEST: more})
    assert releases.bundle.signed.to_bytes() == before
    assert (await bench.open()).bundle.serial == 7


async def test_a_caller_who_goes_away_leaves_nothing_half_done(bench: Bench) -> None:
    """What is on the record as activated is in force, whoever has stopped waiting for it."""
    releases = await bench.open()
    task = asyncio.ensure_future(releases.take(next_of(releases)))
    while len(bench.said()) < 2 and not task.done():
        await asyncio.sleep(0)
        if releases._works:
            task.cancel()
    for _ in range(2000):
        if releases.live.serial == 8:
            break
        await asyncio.sleep(0.005)
    assert releases.live.serial == 8
    assert bench.said()[-1] == ("ACTIVATION", "policy", ())


async def test_an_emergency_is_reviewed_by_a_second_signature(bench: Bench) -> None:
    """It decides at once, survives a restart, and the later signature changes no decision."""
    releases = await bench.open()
    files = await hurry(bench, releases)
    assert not releases.bundle.reviewed
    releases = await bench.open()
    points = releases.live.current
    assert not await releases.take(files)
    more = parse_manifest(files[MANIFEST]).signed_by(TWO).to_bytes()
    assert await releases.take({**files, MANIFEST: more})
    assert releases.bundle.reviewed
    assert releases.live.current is points
    assert bench.said()[-1] == ("ACTIVATION", "policy-reviewed", ())
    assert (await bench.open()).bundle.reviewed


async def test_an_emergency_that_nobody_reviews_is_an_alarm(bench: Bench) -> None:
    """After 72 hours, once; it goes on tightening."""
    releases = await bench.open()
    await hurry(bench, releases)
    bench.now = 900 + REVIEW_S - 1.0
    await releases.look()
    assert not releases.overdue(bench.now)
    bench.now += 2
    for _ in range(3):
        await releases.look()
    assert releases.overdue(bench.now)
    alarms = [row for row in bench.said() if row[0] == "ALARM"]
    assert alarms == [("ALARM", "policy", ("POLICY_UNREVIEWED",))]


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durable", [True, False])
async def test_a_crash_between_two_releases_leaves_one_of_them(bench: Bench, durable: bool) -> None:
    """With its leaf durable the new one starts, without it the old one; never half of each."""
    releases = await bench.open()
    fresh = verified(next_of(releases))
    prepare(bench.place.folder, fresh)
    if durable:
        leaf = bench.leaves.activation("policy", serial=8, digest=b"")
        await bench.log.append(leaf, also=bench._record({"policy": 8}))
    Shelf(bench.place.kept).keep(fresh)
    again = await bench.open()
    assert again.bundle.serial == (8 if durable else 7)
    assert not (bench.place.folder / ".incoming").exists()
    if not durable:
        other = next_of(releases, note="another one, for nobody has seen the first")
        assert await again.take(other)
        assert (await bench.open()).files(8) == other


async def test_another_policy_of_a_known_serial_does_not_start(bench: Bench) -> None:
    """Two truly signed releases of one serial are a fork, after a restart too."""
    await bench.open()
    write_bundle(release(7, note="another"), bench.place.folder)
    with pytest.raises(PolicyUnavailable) as caught:
        await bench.open()
    assert caught.value.code == "POLICY_FORK"


# ── A partner's own ──────────────────────────────────────────────────────────────────────────

OWN = (officer(ONE, "own-1", "quayguard"), officer(TWO, "own-2", "police"))


def own(folder: Path, adopt: str, **changed: Any) -> Path:
    """A partner's own bundle that adopts one agreement."""
    (folder / "source" / "data").mkdir(parents=True, exist_ok=True)
    (folder / "source" / "data" / "local.yaml").write_text(f"schema: 2\nadopt: [{adopt}]\n")
    made(folder / "own", source=folder / "source", data=(), local=True, **changed)
    return folder / "own"


async def test_a_partners_own_bundle_is_taken_up_while_the_node_runs(bench: Bench) -> None:
    """Its own serial, its own leaf; the same serial with another content is a fork."""
    place = own(bench.folder, "private-asks-public", serial=1)
    releases = await bench.open(own=place, own_officers=OWN)
    assert releases.own is not None
    own(bench.folder, "private-asks-private", serial=1)
    for _ in range(3):
        await releases.look()
    assert bench.said()[-1] == ("ALARM", "policy-local", ("POLICY_FORK",))
    own(bench.folder, "private-asks-private", serial=2)
    for _ in range(3):
        await releases.look()
    assert bench.said()[-1] == ("ACTIVATION", "policy-local", ())
    assert (releases.own.serial, releases.live.current.serial) == (2, 7)


async def test_an_own_policy_that_fits_no_more_denies_and_hinders_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    """The federation's newest takes effect at a partner whose own policy adopts what is gone."""
    place = own(bench.folder, "demo-sealed-trafficking", serial=1)
    releases = await bench.open(own=place, own_officers=OWN)
    made(
        tmp_path / "made", serial=8, previous=releases.bundle.identity,
        data=("data/agreements.yaml",),
    )  # fmt: skip
    assert await releases.take(files_of(tmp_path / "made"))
    assert releases.bundle.serial == 8
    _, last = engines(releases)
    with pytest.raises(PolicyUnavailable) as caught:
        last.evaluate("admission", {})
    assert caught.value.code == "LOCAL_POLICY"
