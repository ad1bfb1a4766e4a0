"""Positive controls: askers and owners made insecure in one way each, which must be found out.

They live here alone. Each changes one function of the running federation, knows the coins of the
trial, and names the game that has to be lost by it, and the view in which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import node.answering
import node.sending
from fairlead import blinding, sealing, signing
from fairlead.entries import EntryCodec
from fairlead.envelope.blinded import BlindedTerms
from fairlead.envelope.question import unsealed
from fairlead.v1 import query_pb2
from node.blinded import BlindPlan
from tests.attacks.games.trials import Ground

ONE = (1).to_bytes(32, "little")
BUCKET = 2
"""Octets of a tag that name a bucket: one of 65,536."""
LATE_S = 0.05

Patch = tuple[object, str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An insecure variant, the game that it loses and the view that wins it."""

    game: str
    view: str
    patches: Callable[[Ground], Sequence[Patch]]

    @contextmanager
    def within(self, ground: Ground) -> Iterator[None]:
        """The federation as this variant, for as long as the block lasts."""
        done: list[Patch] = []
        try:
            for owner, name, made in self.patches(ground):
                done.append((owner, name, vars(owner)[name]))
                setattr(owner, name, made)
            yield
        finally:
            for owner, name, honest in reversed(done):
                setattr(owner, name, honest)


def sizes_not_fixed(ground: Ground) -> Sequence[Patch]:
    """A part is as long as its terms."""
    honest = sealing.blind_question_size

    def size(elements: int) -> int:
        return honest(elements) + len(ground.coins.first[1])

    return [(sealing, "blind_question_size", size)]


def bucket_fetch(ground: Ground) -> Sequence[Patch]:
    """The asker holds no snapshot and fetches the bucket of each tag from its owner."""
    honest = node.sending.find

    def find(library: Any, owner: str, terms: Any, asked: Any, evaluated: Any, *rest: Any) -> Any:
        for (item, blinded), said in zip(asked, evaluated, strict=True):
            held = library.of_class(
                owner, audience=item.audience, epoch=item.epoch, scheme=item.scheme
            )
            codec = EntryCodec(audience=item.audience, epoch=item.epoch)
            key = held.manifest.public_key
            for output in blinding.finalise(blinded, said.evaluation, key):
                if owner == ground.watch.owner and ground.watch.sights:
                    bucket = codec.tag(output)[:BUCKET]
                    ground.watch.sights["owner"].put("bucket fetched", bucket)
        return honest(library, owner, terms, asked, evaluated, *rest)

    return [(node.sending, "find", find)]


def sorted_terms(_: Ground) -> Sequence[Patch]:
    """The terms go in the asker's own order, and the owner takes them so."""
    honest = BlindPlan.make.__func__  # type: ignore[attr-defined]

    def make(cls: type[BlindPlan], library: Any, owners: Any, *, purpose: str, terms: Any) -> Any:
        plan = honest(cls, library, owners, purpose=purpose, terms=terms)
        order = list(dict.fromkeys(scheme for scheme, _ in terms))
        places = {
            owner: tuple(sorted(found, key=lambda place: order.index(place.scheme)))
            for owner, found in plan.places.items()
        }
        return replace(plan, places=places)

    def opened(part: bytes, query: Any, **named: Any) -> tuple[BlindedTerms, ...]:
        size = sealing.blind_question_size(query.element_count)
        content = unsealed(part, query, size=size, **named)
        question = signing.parse_canonical(query_pb2.Question, content)
        return tuple(
            BlindedTerms(
                scheme=item.scheme,
                audience=item.audience,
                epoch=item.epoch,
                elements=item.elements,
            )
            for item in question.blinded
        )

    return [
        (BlindPlan, "make", classmethod(make)),
        (node.answering, "open_blind_part", opened),
    ]


def blinding_off(_: Ground) -> Sequence[Patch]:
    """Every blind is one: an element is the term's own point."""

    def blinds(_seed: bytes, *, owner: str, chunk: int, count: int) -> bytes:
        return ONE * count

    return [(blinding, "derive_blinds", blinds)]


def answer_when_ready(ground: Ground) -> Sequence[Patch]:
    """Evaluating takes longer for what is held, as if a record were read."""
    honest = node.answering.evaluate

    def evaluate(keyed: Any) -> Any:
        if ground.coins.hit:
            time.sleep(LATE_S)
        return honest(keyed)

    return [(node.answering, "evaluate", evaluate)]


CONTROLS = {
    "sizes_not_fixed": Control(game="asked", view="gateway", patches=sizes_not_fixed),
    "bucket_fetch": Control(game="asked", view="owner", patches=bucket_fetch),
    "sorted_terms": Control(game="order", view="owner", patches=sorted_terms),
    "blinding_off": Control(game="again", view="owner", patches=blinding_off),
    "answer_when_ready": Control(game="hit", view="owner", patches=answer_when_ready),
}
