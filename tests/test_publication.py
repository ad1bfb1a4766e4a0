"""Publication: what of an owner's index partners may look up, and what stays out of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead import signing
from fairlead.delta import apply_delta
from fairlead.entries import ENTRY_SIZE
from fairlead.errors import Forged, Misconfigured, Stale
from fairlead.snapshot import LEAST
from fairlead.v1 import audit_pb2
from fairlead.vocabulary import Event, Handling, RecordType
from node.owning import at_rest
from node.publication.publisher import Publisher
from node.sources.record import SourceRecord
from tests.blind import changed, require_libsodium
from tests.decided import undecided
from tests.federation import OTHER, STORY, Federation, build_index
from tests.publications import DAY_S, OWNER, held, line, looked_up, owner_of

require_libsodium()
PURPOSE = "drug-trafficking"


@asynccontextmanager
async def publishing(made: Federation, now: float | None = None) -> AsyncIterator[Publisher]:
    """The publisher of the owner, whose node is at rest."""
    clock = time.time if now is None else lambda: now
    async with at_rest(made.node_configs[OWNER], clock=clock) as steering:
        yield steering.publishing.publisher


def reindex(made: Federation, records: Sequence[SourceRecord]) -> None:
    build_index(made.node_configs[OWNER], records)


def leaves(publisher: Publisher) -> list[audit_pb2.AuditLeaf]:
    return undecided(publisher.owner.log)


async def test_an_index_becomes_what_a_partner_looks_up(tmp_path: Path) -> None:
    """Index, publication, manifest, snapshot, entry: the term that is held is found with what may
    be told of it, and a term that is not held is not."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        found = line(lines, "customs", PURPOSE)
        assert (found.state, found.terms, found.manifest.entry_count) == ("published", 1, LEAST)
        payload = looked_up(made, publisher, found, STORY)
        assert payload is not None
        assert (payload.record_type, payload.event) == (RecordType.MOVEMENT, Event.GATE_IN)
        assert payload.handling is not None
        assert payload.date is not None
        assert found.manifest.contact_desks[payload.desk - 1].endswith(
            "@terminal-north.fairlead.demo"
        )
        assert looked_up(made, publisher, found, OTHER) is None


async def test_a_pointer_says_no_more_than_a_pointer(tmp_path: Path) -> None:
    """Where policy lets only existence and desk out, the entry tells no type, event or date."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        found = line(await publisher.publish(), "oceanic-line", "infiltration")
        payload = looked_up(made, publisher, found, STORY, "oceanic-line")
        assert payload is not None
        assert (payload.record_type, payload.event, payload.handling, payload.date) == (None,) * 4
        assert payload.desk == 1


HANDLING = Handling(tlp="RED", pap="AMBER", europol="H0", source_grade="A", information_grade="1")


OUT: dict[str, dict[str, object]] = {
    "an active target": {"active_target": True},
    "for named persons only": {"handling": HANDLING},
    "not for every purpose of the class": {"purposes": (PURPOSE,)},
    "retention ends within the epoch": {"days": 1},
    "older than any question may reach": {"occurred_at": 1_500_000_000},
    "a kind that nobody accepted": {"record_type": RecordType.SIGHTING},
}


async def test_what_may_not_be_told_stays_out(tmp_path: Path) -> None:
    """A record that is not permitted to one member, for one purpose or until the end is not there,
    while another one beside it is."""
    boxes = {f"MSCU{place:07d}": changes for place, changes in enumerate(OUT.values())}
    plate = held("NL:AB-123-C", scheme="vehicle-plate")
    made = owner_of(
        tmp_path, [*(held(box, **changes) for box, changes in boxes.items()), held(OTHER), plate]
    )
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        found = line(lines, "customs", PURPOSE)
        assert {box: looked_up(made, publisher, found, box) for box in boxes} == dict.fromkeys(
            boxes
        )
        assert looked_up(made, publisher, found, OTHER) is not None
        assert found.terms == 1
        assert line(lines, "customs", PURPOSE, "vehicle-plate").terms == 1


async def test_one_member_without_permission_keeps_a_record_out(tmp_path: Path) -> None:
    """A record about a person may go to public partners and not to private ones: their classes
    differ by that record."""
    made = owner_of(tmp_path, [held(STORY, personal=True)])
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        for_customs = line(lines, "customs", "security-incident")
        for_line = line(lines, "oceanic-line", "security-incident")
        assert looked_up(made, publisher, for_customs, STORY) is not None
        assert looked_up(made, publisher, for_line, STORY, "oceanic-line") is None


async def test_the_newest_permitted_record_speaks(tmp_path: Path) -> None:
    """One entry a term: of several records the most recent that may be published."""
    now = int(time.time())
    made = owner_of(
        tmp_path,
        [
            held(STORY, event=Event.SCAN, occurred_at=now - 3 * DAY_S),
            held(STORY, event=Event.GATE_OUT, occurred_at=now - 2 * DAY_S),
            held(STORY, event=Event.SEIZURE, occurred_at=now - DAY_S, active_target=True),
        ],
    )
    async with publishing(made) as publisher:
        found = line(await publisher.publish(), "customs", PURPOSE)
        payload = looked_up(made, publisher, found, STORY)
        assert payload is not None
        assert payload.event is Event.GATE_OUT
        assert found.terms == 1


async def test_nothing_changed_publishes_nothing(tmp_path: Path) -> None:
    """Publishing again, also after a restart and after files were removed, signs no manifest;
    a new record publishes only the lines in which it appears."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        first = await publisher.publish()
        count = len(leaves(publisher))
        assert {found.state for found in await publisher.publish()} == {"unchanged"}
    async with publishing(made) as publisher:
        publisher.folder.snapshot(first[0].manifest).unlink()
        assert {found.state for found in await publisher.publish()} == {"unchanged"}
        assert publisher.folder.snapshot(first[0].manifest).exists()
        kept = publisher.folder.snapshot(line(first, "customs", PURPOSE).manifest).read_bytes()
        assert len(leaves(publisher)) == count
    reindex(made, [held(STORY), held(OTHER)])
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        changed = {found.scheme for found in lines if found.state == "published"}
        assert changed == {"container"}
        second = line(lines, "customs", PURPOSE)
        before = line(first, "customs", PURPOSE)
        assert (second.manifest.serial, second.terms) == (2, 2)
        assert second.manifest.predecessor == signing.digest(before.manifest.to_wire())
        path = publisher.folder.snapshot(second.manifest)
        delta = publisher.folder.delta(second.manifest)
        assert delta.stat().st_size < 10 * ENTRY_SIZE
        (tmp_path / "kept").write_bytes(kept)
        apply_delta(
            tmp_path / "kept", delta, tmp_path / "made", entries=second.manifest.entry_count,
            digest=second.manifest.snapshot_digest,
        )  # fmt: skip
        assert (tmp_path / "made").read_bytes() == path.read_bytes()


async def test_each_manifest_has_its_leaf(tmp_path: Path) -> None:
    """The log says of every published manifest its digest and scheme, and nothing of what is in
    the snapshot."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        said = [leaf for leaf in leaves(publisher) if leaf.subject == "blind-published"]
        digests = {item.manifest.digest for item in publisher.shelf.answering(time.time())}
        assert {leaf.detail_digest for leaf in said} == digests
        assert len(said) == len(lines)


async def test_fillers_stay_when_a_record_comes(tmp_path: Path) -> None:
    """Between two snapshots one filler gives way to one entry; nothing else changes."""
    made = owner_of(tmp_path, [held(STORY)])
    before, after = await _entries(made), None
    reindex(made, [held(STORY), held(OTHER)])
    after = await _entries(made)
    assert len(before) == len(after) == LEAST
    assert len(before - after) <= 2  # the filler, and the entry of a record that has a new ref
    assert len(before & after) >= LEAST - 2


async def _entries(made: Federation) -> set[bytes]:
    async with publishing(made) as publisher:
        found = line(await publisher.publish(), "customs", PURPOSE)
        return _split(publisher.folder.snapshot(found.manifest).read_bytes())


def _split(octets: bytes) -> set[bytes]:
    return {octets[at : at + ENTRY_SIZE] for at in range(0, len(octets), ENTRY_SIZE)}


async def test_a_tampered_or_truncated_snapshot_is_refused(tmp_path: Path) -> None:
    """An attack: the file is changed or cut on its way; the reader looks nothing up in it."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        found = line(await publisher.publish(), "customs", PURPOSE)
        path = publisher.folder.snapshot(found.manifest)
        whole = path.read_bytes()
        for octets in (whole[:-ENTRY_SIZE], changed(whole, 0, 1), whole[::-1], b""):
            path.write_bytes(octets)
            with pytest.raises(Forged):
                looked_up(made, publisher, found, STORY)


async def test_a_count_that_falls_is_held_back(tmp_path: Path) -> None:
    """More than a fifth fewer terms: an alarm once, the manifest before it stays, until somebody
    accepts the loss or the terms are back."""
    boxes = [f"MSCU{number:07d}" for number in range(10)]
    made = owner_of(tmp_path, [held(box) for box in boxes])
    async with publishing(made) as publisher:
        first = line(await publisher.publish(), "customs", PURPOSE)
    reindex(made, [held(box) for box in boxes[:7]])
    async with publishing(made) as publisher:
        for _ in range(2):
            found = line(await publisher.publish(), "customs", PURPOSE)
            assert (found.state, found.terms) == ("held", 7)
            assert found.manifest == replace(first.manifest, digest=found.manifest.digest)
        alarms = [leaf for leaf in leaves(publisher) if leaf.type == audit_pb2.LEAF_TYPE_ALARM]
        assert {tuple(alarm.reasons) for alarm in alarms} == {("COUNT_SHRANK",)}
        assert len(alarms) == len([x for x in await publisher.publish() if x.state == "held"])
        accepted = line(await publisher.publish(accept_shrunk=True), "customs", PURPOSE)
        assert (accepted.state, accepted.manifest.serial, accepted.terms) == ("published", 2, 7)
        assert looked_up(made, publisher, accepted, boxes[9]) is None


async def test_who_narrows_is_not_held_up(tmp_path: Path) -> None:
    """An acceptance that takes partners away withdraws their class at once, and one that takes
    most terms away publishes the smaller snapshot with an alarm."""
    boxes = [f"MSCU{number:07d}" for number in range(10)]
    made = owner_of(tmp_path, [held(box, personal=place > 2) for place, box in enumerate(boxes)])
    async with publishing(made) as publisher:
        lines = await publisher.publish()
        first = line(lines, "customs", PURPOSE)
        police = line(lines, "police", PURPOSE)
        acceptance = publisher.owner.gate.acceptance
        assert acceptance is not None
        narrower = replace(
            acceptance,
            digest="1" * 64,
            rows=tuple(
                r for r in acceptance.rows if r.channel.partner != "police" and not r.personal
            ),
        )
        publisher.owner.gate.accept(narrower)
        lines = await publisher.publish()
        found = line(lines, "customs", PURPOSE)
        assert (found.state, found.terms, found.manifest.serial) == ("published", 3, 2)
        subjects = [(leaf.subject, tuple(leaf.reasons)) for leaf in leaves(publisher)]
        assert ("blind", ("COUNT_SHRANK",)) in subjects
        assert subjects.count(("blind-withdrawn", ())) == len(
            {x.scheme for x in lines if x.scheme in police.audience.schemes}
        )
        name, epoch = police.audience.audience.name, police.manifest.epoch
        with pytest.raises(Stale) as caught:
            publisher.published(name, epoch, "container")
        assert caught.value.code == "EPOCH_OVER"
        assert not publisher.folder.snapshot(police.manifest).exists()
        assert publisher.published(first.audience.audience.name, epoch, "container").terms == 3
        publisher.owner.gate.accept(acceptance)
        again = line(await publisher.publish(), "police", PURPOSE)
        assert (again.state, again.manifest.serial) == ("published", 2)
        assert publisher.published(name, epoch, "container").manifest.serial == 2


async def test_an_acceptance_that_changes_meanwhile_signs_nothing(tmp_path: Path) -> None:
    """What was decided before somebody accepted otherwise is not signed after it."""
    made = owner_of(tmp_path, [held(STORY)])
    async with publishing(made) as publisher:
        acceptance = publisher.owner.gate.acceptance
        assert acceptance is not None
        with pytest.raises(Stale) as caught:
            await publisher.publish(
                watch=lambda _: publisher.owner.gate.accept(replace(acceptance, digest="1" * 64))
            )
        assert caught.value.code == "EXPOSURE_CHANGED"
        assert publisher.report() == []
        assert {found.state for found in await publisher.publish()} == {"published"}


async def test_a_kind_that_comes_meanwhile_is_published_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that arrives between decisions and build stays out, and publishing again, without
    any other change, brings it in."""
    made = owner_of(tmp_path, [held(STORY)])
    decide = Publisher._targets

    async def late(self: Publisher, *given: object) -> object:
        targets = await decide(self, *given)  # type: ignore[arg-type]
        reindex(made, [held(STORY), held(OTHER, event=Event.SCAN)])
        return targets

    async with publishing(made) as publisher:
        with monkeypatch.context() as patched:
            patched.setattr(Publisher, "_targets", late)
            first = line(await publisher.publish(), "customs", PURPOSE)
            assert first.terms == 1
        second = line(await publisher.publish(), "customs", PURPOSE)
        assert (second.state, second.terms) == ("published", 2)


async def test_without_acceptance_nothing_is_published(tmp_path: Path) -> None:
    """Nobody accepted what could leave: no seed is drawn, no class is made."""
    made = owner_of(tmp_path, [held(STORY)], unaccepted=[OWNER])
    async with publishing(made) as publisher:
        with pytest.raises(Misconfigured) as caught:
            await publisher.publish()
        assert caught.value.code == "EXPOSURE_NOT_ACCEPTED"
        assert not publisher.seeds.exists


async def test_an_epochs_key_ends_with_its_overlap(tmp_path: Path) -> None:
    """The next epoch's snapshot has nothing in common with this one's; in the overlap both keys
    answer, and after it the old key, its snapshot and its manifest are gone."""
    made = owner_of(tmp_path, [held(STORY)])
    made.node_configs[OWNER] = made.node_configs[OWNER].model_copy(
        update={"blind_epoch_s": 3_600, "blind_overlap_s": 600}
    )
    async with publishing(made) as publisher:
        first = line(await publisher.publish(), "customs", PURPOSE)
        name, epoch = first.audience.audience.name, first.manifest.epoch
        path = publisher.folder.snapshot(first.manifest)
        entries = _split(path.read_bytes())
    async with publishing(made, first.manifest.ends_at + 5) as publisher:
        second = line(await publisher.publish(), "customs", PURPOSE)
        assert (second.manifest.epoch, second.manifest.serial) == (epoch + 1, 2)
        assert not entries & _split(publisher.folder.snapshot(second.manifest).read_bytes())
        assert second.manifest.public_key != first.manifest.public_key
        old = publisher.published(name, epoch, "container")
        assert publisher.key_of(old.manifest).public == first.manifest.public_key
        assert looked_up(made, publisher, second, STORY) is not None
        assert path.exists()
    async with publishing(made, first.manifest.answers_until) as publisher:
        publisher.turn()
        assert not path.parent.exists()
        with pytest.raises(Stale):
            publisher.published(name, epoch, "container")
        with pytest.raises(Stale):
            publisher.key_of(old.manifest)
        assert publisher.published(name, epoch + 1, "container").manifest.serial == 2
        with pytest.raises(Misconfigured) as caught:
            publisher.seeds.turn(first.manifest.begins_at)
        assert caught.value.code == "CLOCK_BACKWARDS"
