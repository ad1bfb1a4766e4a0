"""The asker's half of a blind query: elements for each owner, and what their evaluations find.

Blinds follow from one random seed of the chunk, which is sealed with the terms into the INTENT
leaf's detail and kept with the chunk until it is done: whoever opens both can compute every element
again. What an owner sends back is proved before anything is unblinded, and then looked up in the
snapshot that lies here.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from fairlead import blinding
from fairlead.blinding import Blinded
from fairlead.entries import EntryCodec, Payload
from fairlead.envelope.blinded import BlindedTerms, EvaluatedTerms
from fairlead.envelope.elements import Place, Terms, blind_for, element_count
from fairlead.envelope.manifest import Manifest
from fairlead.envelope.query import Scope
from fairlead.errors import FairleadError
from fairlead.identifiers.matching import asked_keys, keys_per_term
from fairlead.snapshot import Snapshot
from fairlead.v1 import handling_pb2, query_pb2
from fairlead.vocabulary import Handling

SNAPSHOT_BEHIND = "SNAPSHOT_BEHIND"
"""The reason beside an answer whose owner has a newer snapshot than was looked up in."""

PACE_S, PACE_PER_ELEMENT_S, PACE_PER_EVALUATION_S = 0.1, 0.000_4, 0.000_4
"""More than asking a chunk and looking up its answers usually takes, for each of its elements and
for each of those at each owner. A hit takes longer than none (about 25 µs), and whoever sees when
the next chunk is sent could count them."""


class Usable(Protocol):
    """A snapshot that may be looked up in; ``confirmed_at`` in unix seconds."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def snapshot(self) -> Snapshot: ...
    @property
    def confirmed_at(self) -> float: ...


class Library(Protocol):
    """The snapshots that this node holds."""

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Usable:
        """:raises NotFound: ``NO_SNAPSHOT``. :raises Stale: ``SNAPSHOT_OLD`` …"""
        ...

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Usable:
        """:raises NotFound: it is not held. :raises Stale: ``EPOCH_OVER``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindPlan:
    """How a chunk was blinded: all that is needed to make its elements again, beside its terms.

    ``seed`` has 32 octets; ``places`` are each asked owner's, sorted by scheme; ``left_out`` are
    owners whose snapshot could not be used, with the reason's code.
    """

    seed: bytes
    places: Mapping[str, tuple[Place, ...]]
    left_out: Mapping[str, str]

    @classmethod
    def make(
        cls, library: Library, owners: Sequence[str], *, purpose: str, terms: Terms
    ) -> BlindPlan:
        """The newest snapshots of every owner, for the schemes of these terms."""
        schemes = sorted({scheme for scheme, _ in terms})
        places: dict[str, tuple[Place, ...]] = {}
        left_out: dict[str, str] = {}
        for owner in owners:
            try:
                found = [library.usable(owner, purpose=purpose, scheme=s).manifest for s in schemes]
            except FairleadError as error:
                left_out[owner] = error.code
                continue
            places[owner] = tuple(
                Place(scheme=m.scheme, audience=m.audience.name, epoch=m.epoch) for m in found
            )
        return cls(seed=os.urandom(32), places=places, left_out=left_out)

    def to_document(self) -> dict[str, Any]:
        """For the chunk's record, which is encrypted."""
        return {
            "seed": self.seed.hex(),
            "left_out": dict(self.left_out),
            "places": {
                owner: [[p.scheme, p.audience.hex(), p.epoch] for p in places]
                for owner, places in self.places.items()
            },
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BlindPlan:
        """Undo :meth:`to_document`."""
        return cls(
            seed=bytes.fromhex(document["seed"]),
            left_out=document["left_out"],
            places={
                owner: tuple(
                    Place(scheme=scheme, audience=bytes.fromhex(audience), epoch=epoch)
                    for scheme, audience, epoch in places
                )
                for owner, places in document["places"].items()
            },
        )


@dataclass(frozen=True, slots=True)
class BlindChunk:
    """The terms of one chunk under its plan."""

    plan: BlindPlan
    number: int
    terms: Terms

    @property
    def element_count(self) -> int:
        """Elements that each owner is sent."""
        return element_count(self.terms)

    def for_owner(self, owner: str) -> list[tuple[BlindedTerms, Blinded]]:
        """The elements of each scheme for one owner, and what unblinds their evaluations.

        About 75 µs an element, so for a thread of its own.
        """
        return blind_for(
            owner,
            seed=self.plan.seed,
            chunk=self.number,
            terms=self.terms,
            places=self.plan.places[owner],
        )


def pace_s(terms: Terms, owners: int) -> float:
    """Seconds of which a multiple lies between a chunk of a batch and the next one."""
    elements = sum(keys_per_term(scheme) for scheme, _ in terms)
    return PACE_S + elements * (PACE_PER_ELEMENT_S + owners * PACE_PER_EVALUATION_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one owner's evaluations of one scheme's terms came to: for each term in order its match
    keys' outputs, of 64 octets. With a snapshot of their class and epoch they answer again."""

    place: Place
    rows: tuple[bytes, ...]


Refs = list[tuple[bytes, bytes]]
"""The digest of the manifest that an entry was found under, and the entry's reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What outputs found in one snapshot: one answer for each term of their scheme, whose index is
    its place among all terms, and the references of every hit."""

    manifest: Manifest
    answers: list[query_pb2.TermAnswer]
    refs: Refs


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one owner's evaluations found: one answer for each term of the chunk, in order; how
    old what was looked up in may be (seconds), whether its owner has something newer, the
    references of every hit, with the digest of the manifest it was found under, and what can be
    looked up again."""

    answers: list[query_pb2.TermAnswer]
    age_s: int
    behind: bool
    refs: Refs
    looked: list[tuple[Outputs, Looked]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBlind:
    """Whose hits they are: ``user`` is a SPIFFE id, ``query_id`` of the query that was sent."""

    query_id: bytes
    user: str
    purpose: str
    case_commitment: bytes


OnHits = Callable[[AskedBlind, Sequence[tuple[str, bytes, bytes]]], Awaitable[None]]
"""Called for each blind answer that was opened and each time a watch looked again, before anybody
is shown what was found: owner, manifest digest and reference of every new hit, most often none."""


async def nobody(_asked: AskedBlind, _refs: Sequence[tuple[str, bytes, bytes]]) -> None:
    """Tell nobody."""


def find(
    library: Library,
    owner: str,
    terms: Terms,
    asked: Sequence[tuple[BlindedTerms, Blinded]],
    evaluated: Sequence[EvaluatedTerms],
    scope: Scope,
    now: float,
) -> Found:
    """Prove, unblind, look up and open one owner's evaluations; for a thread of its own.

    1. The snapshot of the class and epoch that was asked under is still here.
    2. Every evaluation is proved under that manifest's key, and only then unblinded.
    3. Each output's tag is looked up; what is found opens under the output alone.
    4. The best key of a term decides; its period and events are applied here.

    :raises Forged: ``BLIND_PROOF``, ``ENTRY`` or ``ENTRY_LAYOUT``: the owner's doing.
    :raises Stale: ``EPOCH_OVER``: asked again too late. :raises NotFound: ``NO_SNAPSHOT``.
    """
    answers = [query_pb2.TermAnswer(index=i) for i in range(len(terms))]
    age, behind, looked = 0, False, []
    for (item, blinded), said in zip(asked, evaluated, strict=True):
        # 1
        held = library.of_class(owner, audience=item.audience, epoch=item.epoch, scheme=item.scheme)
        manifest = held.manifest
        # 2
        rows = blinding.finalise(blinded, said.evaluation, manifest.public_key)
        place = Place(scheme=item.scheme, audience=item.audience, epoch=item.epoch)
        outputs = Outputs(place=place, rows=tuple(rows))
        # 3 and 4
        seen = look_up(held, outputs, terms, scope)
        for answer in seen.answers:
            answers[answer.index] = answer
        looked.append((outputs, seen))
        late = said.manifest != manifest.digest
        behind |= late
        since = manifest.made_at if late else held.confirmed_at
        age = max(age, int(now - since))
    return Found(
        answers=answers,
        age_s=max(0, age),
        behind=behind,
        refs=[ref for _, seen in looked for ref in seen.refs],
        looked=looked,
    )


def look_up(held: Usable, outputs: Outputs, terms: Terms, scope: Scope) -> Looked:
    """Steps 3 and 4 of :func:`find`: what ``outputs`` find in a snapshot of their class and epoch.

    :param terms: all of them, of which those of the outputs' scheme count.
    :raises Forged: ``ENTRY`` or ``ENTRY_LAYOUT``: the owner's doing.
    """
    scheme, manifest = outputs.place.scheme, held.manifest
    codec = EntryCodec(audience=outputs.place.audience, epoch=outputs.place.epoch)
    keys, answers, refs = keys_per_term(scheme), [], []
    places = [i for i, (of, _) in enumerate(terms) if of == scheme]
    for at, place in enumerate(places):
        answer = query_pb2.TermAnswer(index=place)
        answers.append(answer)
        grades = [key.grade for key in asked_keys(*terms[place])]
        rows = outputs.rows[at * keys : (at + 1) * keys]
        for grade, output in zip(grades, rows, strict=True):
            entry = held.snapshot.find(codec.tag(output))
            if entry is None:
                continue
            payload = codec.open(output, entry)
            refs.append((manifest.digest, payload.ref))
            if not answer.hit:
                _tell(answer, payload, grade, manifest.contact_desks, scope)
    return Looked(manifest=manifest, answers=answers, refs=refs)


def _tell(
    answer: query_pb2.TermAnswer,
    payload: Payload,
    grade: str,
    desks: Sequence[str],
    scope: Scope,
) -> None:
    """A hit, unless the newest record is older than the period: then there is none within it."""
    day = None if payload.date is None else datetime.combine(payload.date, _MIDNIGHT, UTC)
    if day is not None and (day + timedelta(days=1)).timestamp() <= scope.since:
        return
    answer.hit, answer.grade = True, grade
    if 0 < payload.desk <= len(desks):
        answer.contact_desk = desks[payload.desk - 1]
    late = day is not None and bool(scope.until) and day.timestamp() >= scope.until
    other = bool(scope.events) and payload.event is not None and payload.event not in scope.events
    answer.outside = late or other
    record = answer.records.add()
    record.record_type = payload.record_type or ""
    record.event = payload.event or ""
    record.occurred_at = int(day.timestamp()) if day else 0
    record.ref = payload.ref
    if payload.handling is not None:
        record.handling.CopyFrom(_handling(payload.handling))


_MIDNIGHT = datetime.min.time()


def _handling(said: Handling) -> handling_pb2.Handling:
    return handling_pb2.Handling(
        tlp=handling_pb2.Tlp.Value(f"TLP_{said.tlp}"),
        pap=handling_pb2.Pap.Value(f"PAP_{said.pap}"),
        europol=said.europol,
        source_grade=said.source_grade,
        information_grade=said.information_grade,
    )
