"""The asker's half of a blind query: what leaves, what is proved, and what is read as a hit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fairlead import blinding, ristretto
from fairlead.blinding import Evaluation, PrivateKey
from fairlead.entries import EntryCodec
from fairlead.envelope.blinded import BlindedTerms
from fairlead.envelope.query import ANY, Scope
from fairlead.errors import FairleadError, Forged, Refused, Stale
from fairlead.identifiers import NORM_VERSION
from fairlead.identifiers.matching import keys_per_term
from fairlead.snapshot import Page
from fairlead.v1 import query_pb2
from fairlead.vocabulary import Event
from node.blinded import BlindChunk, BlindPlan, Found, find
from node.sealer import no_snapshots
from tests.blind import require_libsodium
from tests.libraries import PURPOSE, TODAY, OneOwner, evaluated, library, payload
from tests.walks import NOW, OTHER_OWNER, OWNER

require_libsodium()

HELD, MISSING = ("container", "MSCU6639870"), ("container", "CSQU3054383")
PLATE = ("vehicle-plate", "NL:74BXK3")
DAY_S = 86_400


def chunk_of(shelf: OneOwner, *terms: tuple[str, str], number: int = 0) -> BlindChunk:
    plan = BlindPlan.make(shelf, [OWNER], purpose=PURPOSE, terms=terms)
    return BlindChunk(plan, number, terms)


def asked(shelf: OneOwner, *terms: tuple[str, str], scope: Scope = ANY, serial: int = 1) -> Found:
    """Blind, let the owner evaluate, and look up."""
    pairs = chunk_of(shelf, *terms).for_owner(OWNER)
    said = evaluated([item for item, _ in pairs], serial=serial)
    return find(shelf, OWNER, terms, pairs, said, scope, NOW)


def test_a_held_term_is_a_hit_and_another_is_not(tmp_path: Path) -> None:
    """One answer for each term in its order, whatever their schemes' order is."""
    shelf = library(tmp_path, {HELD: payload(b"r" * 16), PLATE: payload(b"p" * 16)})
    found = asked(shelf, PLATE, MISSING, HELD)
    assert [item.index for item in found.answers] == [0, 1, 2]
    assert [item.hit for item in found.answers] == [True, False, True]
    assert [item.records[0].ref for item in found.answers if item.hit] == [b"p" * 16, b"r" * 16]
    assert {ref for _, ref in found.refs} == {b"p" * 16, b"r" * 16}
    (record,) = found.answers[2].records
    assert (record.record_type, record.event, record.handling.tlp) == ("movement", "gate-in", 3)
    assert found.answers[2].contact_desk == "desk@example"
    assert (found.age_s, found.behind) == (5, False)


def test_what_an_owner_may_not_tell_stays_open(tmp_path: Path) -> None:
    """An entry that says nothing but that it is there is a hit without words."""
    said = payload(on=None, record_type=None, event=None, handling=None, desk=0)
    scope = Scope(since=int(NOW) - DAY_S, until=int(NOW), events=("gate-out",))
    (answer,) = asked(library(tmp_path, {HELD: said}), HELD, scope=scope).answers
    assert (answer.hit, answer.outside, answer.contact_desk) == (True, False, "")
    assert not answer.records[0].HasField("handling")


@pytest.mark.parametrize(
    ("scope", "hit", "outside"),
    [
        (ANY, True, False),
        (Scope(since=int(NOW) - DAY_S), True, False),
        (Scope(since=int(NOW) + 2 * DAY_S), False, False),
        (Scope(until=int(NOW) - 2 * DAY_S), True, True),
        (Scope(events=("gate-in",)), True, False),
        (Scope(events=("seizure",)), True, True),
    ],
    ids=["any", "within", "too old", "too new", "event", "other event"],
)
def test_the_asker_applies_its_period_and_events(
    tmp_path: Path, scope: Scope, hit: bool, outside: bool
) -> None:
    """The newest record is all that is known: older than the period is no hit, newer is marked."""
    (answer,) = asked(library(tmp_path, {HELD: payload()}), HELD, scope=scope).answers
    assert (answer.hit, answer.outside) == (hit, outside)


def test_a_record_of_the_periods_first_day_is_a_hit(tmp_path: Path) -> None:
    """A day reaches to its end: a question that begins at noon finds the morning's record."""
    shelf = library(tmp_path, {HELD: payload(on=TODAY - timedelta(days=1))})
    midnight = int(NOW) // DAY_S * DAY_S
    assert asked(shelf, HELD, scope=Scope(since=midnight - 1)).answers[0].hit
    assert not asked(shelf, HELD, scope=Scope(since=midnight)).answers[0].hit


def test_no_element_is_ever_sent_twice(tmp_path: Path) -> None:
    """Terms, owners, chunks and queries have blinds of their own: nothing can be compared."""
    shelf = library(tmp_path, {HELD: payload()})
    chunks = [chunk_of(shelf, HELD, HELD, number=n) for n in (0, 1, 0)]
    rows = [item.elements[at : at + 32] for chunk in chunks
            for item, _ in chunk.for_owner(OWNER) for at in (0, 32)]  # fmt: skip
    plan = BlindPlan(
        seed=chunks[0].plan.seed, places={OTHER_OWNER: chunks[0].plan.places[OWNER]}, left_out={}
    )
    (other, _), *_ = BlindChunk(plan, 0, (HELD,)).for_owner(OTHER_OWNER)
    assert len({*rows, other.elements}) == 7


def test_a_committee_makes_the_same_elements_of_the_seed_and_the_terms(tmp_path: Path) -> None:
    """What is sealed into the INTENT leaf is all it needs."""
    shelf = library(tmp_path, {HELD: payload(), PLATE: payload()})
    chunk = chunk_of(shelf, PLATE, HELD, MISSING)
    again = BlindChunk(BlindPlan.from_document(chunk.plan.to_document()), 0, chunk.terms)
    assert again.for_owner(OWNER) == chunk.for_owner(OWNER)


def test_every_owner_is_sent_the_same_number_of_elements(tmp_path: Path) -> None:
    """It follows from the schemes and nothing else."""
    shelf = library(tmp_path, {HELD: payload(), PLATE: payload()})
    chunk = chunk_of(shelf, PLATE, HELD, MISSING)
    rows = sum(len(item.elements) for item, _ in chunk.for_owner(OWNER)) // 32
    assert rows == chunk.element_count == 2 * keys_per_term("container") + keys_per_term(PLATE[0])


def test_an_owner_without_a_snapshot_is_left_out_and_said(tmp_path: Path) -> None:
    """It is not asked, which is no "no hit"."""
    shelf = library(tmp_path, {HELD: payload()})
    plan = BlindPlan.make(shelf, [OTHER_OWNER, OWNER], purpose=PURPOSE, terms=[HELD])
    assert (set(plan.places), plan.left_out) == ({OWNER}, {OTHER_OWNER: "NO_SNAPSHOT"})
    nobody = BlindPlan.make(shelf, [OWNER], purpose=PURPOSE, terms=[HELD, PLATE])
    assert no_snapshots(nobody.left_out).reasons == ("NO_SNAPSHOT",)
    assert isinstance(no_snapshots(nobody.left_out), Refused)


def test_an_owner_that_has_something_newer_is_behind(tmp_path: Path) -> None:
    """The age counts from the snapshot that was looked up in."""
    found = asked(library(tmp_path, {HELD: payload()}), MISSING, serial=2)
    assert (found.behind, found.age_s) == (True, 500)


@pytest.mark.parametrize("how", ["another key", "swapped", "replayed", "one short", "no proof"])
def test_nothing_unproved_is_unblinded(tmp_path: Path, how: str) -> None:
    """Whatever else an owner returns, its line is invalid and no output exists."""
    terms = (HELD, MISSING)
    shelf = library(tmp_path, {HELD: payload()})
    pairs = chunk_of(shelf, *terms).for_owner(OWNER)
    (said,) = evaluated([item for item, _ in pairs])
    rows, proofs = said.evaluation.elements, said.evaluation.proofs
    if how == "another key":
        other = PrivateKey(scalar=(8).to_bytes(32, "little"))
        (said,) = evaluated([item for item, _ in pairs], key=other)
    elif how == "swapped":
        said = replace(said, evaluation=Evaluation(elements=rows[32:] + rows[:32], proofs=proofs))
    elif how == "replayed":
        earlier = chunk_of(shelf, *terms).for_owner(OWNER)
        (said,) = evaluated([item for item, _ in earlier])
    elif how == "one short":
        said = replace(said, evaluation=Evaluation(elements=rows[:32], proofs=proofs))
    else:
        said = replace(said, evaluation=Evaluation(elements=rows, proofs=b""))
    with pytest.raises(Forged) as caught:
        find(shelf, OWNER, terms, pairs, [said], ANY, NOW)
    assert caught.value.code == "BLIND_PROOF"


def test_an_epoch_that_ended_meanwhile_is_said(tmp_path: Path) -> None:
    """A chunk that is taken up again after its snapshot went is not a silent miss."""
    shelf = library(tmp_path, {HELD: payload()}, epoch=3)
    pairs = chunk_of(shelf, HELD).for_owner(OWNER)
    said = evaluated([item for item, _ in pairs])
    later = library(tmp_path, {HELD: payload()}, epoch=4)
    with pytest.raises(Stale) as caught:
        find(later, OWNER, (HELD,), pairs, said, ANY, NOW)
    assert caught.value.code == "EPOCH_OVER"


def test_an_entry_that_its_owner_planted_is_no_hit_of_this_term(tmp_path: Path) -> None:
    """What stands under a term's tag and does not open for it spoils the owner's line."""
    shelf = library(tmp_path, {HELD: payload()})
    held = shelf.held["container"]
    pairs = chunk_of(shelf, HELD).for_owner(OWNER)
    said = evaluated([item for item, _ in pairs])

    class Planted:
        def find(self, tag: bytes) -> bytes:
            return tag + bytes(80)

        def prove(self, _tag: bytes) -> tuple[Page, ...]:
            return ()

    shelf.held["container"] = replace(held, snapshot=Planted())  # type: ignore[arg-type]
    with pytest.raises(FairleadError) as caught:
        find(shelf, OWNER, (HELD,), pairs, said, ANY, NOW)
    assert caught.value.code == "ENTRY"


def test_a_persons_hit_says_how_well_it_matched(tmp_path: Path) -> None:
    """The best family that finds somebody gives the grade; other schemes have none."""
    person = ("person", "JAN JANSEN|1980-02-01")
    shelf = library(tmp_path, {HELD: payload(), person: payload()})
    found = asked(shelf, person, HELD)
    assert [item.grade for item in found.answers][1] == ""
    assert all(item.hit for item in found.answers)


def test_events_of_the_vocabulary_are_compared(tmp_path: Path) -> None:
    """An event is what the vocabulary calls it."""
    shelf = library(tmp_path, {HELD: payload(event=Event.SEIZURE)})
    (answer,) = asked(shelf, HELD, scope=Scope(events=("seizure",))).answers
    assert (answer.outside, answer.records[0].event) == (False, "seizure")


def test_an_identity_never_comes_back(tmp_path: Path) -> None:
    """An owner that returns the identity proves nothing."""
    shelf = library(tmp_path, {HELD: payload()})
    pairs = chunk_of(shelf, HELD).for_owner(OWNER)
    (said,) = evaluated([item for item, _ in pairs])
    said = replace(
        said,
        evaluation=Evaluation(elements=ristretto.IDENTITY, proofs=said.evaluation.proofs),
    )
    with pytest.raises(FairleadError):
        find(shelf, OWNER, (HELD,), pairs, [said], ANY, NOW)


def test_an_answer_is_a_wire_answer(tmp_path: Path) -> None:
    """History and command line treat it as any other."""
    (answer,) = asked(library(tmp_path, {HELD: payload()}), HELD).answers
    assert query_pb2.TermAnswer.FromString(answer.SerializeToString()) == answer


def test_four_elements_of_a_person_may_be_of_four(tmp_path: Path) -> None:
    """A stated limit: an owner sees points, so a node that lies has four exact names evaluated for
    one person; that is why a person costs four at both ends."""
    names = [("person", f"JANSEN {name}|1980-02-01") for name in ("JAN", "PIET", "KEES", "TOM")]
    shelf = library(tmp_path, {name: payload() for name in names})
    (place,) = chunk_of(shelf, names[0]).plan.places[OWNER]
    inputs = blinding.encode_terms(NORM_VERSION, "person", [value for _, value in names])
    blinded = blinding.blind(
        inputs, blinding.derive_blinds(bytes(32), owner=OWNER, chunk=0, count=4)
    )
    item = BlindedTerms(
        scheme="person", audience=place.audience, epoch=place.epoch, elements=blinded.elements
    )
    assert item.terms == 1
    held = shelf.usable(OWNER, purpose=PURPOSE, scheme="person")
    codec = EntryCodec(audience=place.audience, epoch=place.epoch)
    (said,) = evaluated([item])
    rows = blinding.finalise(blinded, said.evaluation, held.manifest.public_key)
    assert all(held.snapshot.find(codec.tag(row)) for row in rows)
