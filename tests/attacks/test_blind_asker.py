"""A bought asker's node asks blind for what its class does not hold, or sends what is no question.

It has its own keys and its user's signature, so every signature verifies. What it wants is an
evaluation that its class was not promised, or one that was not counted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from fairlead import blinding, ristretto, signing
from fairlead.envelope.answer import verify_answer
from fairlead.envelope.blinded import BlindedTerms, open_blind_body
from fairlead.envelope.manifest import Manifest
from fairlead.envelope.query import ANY
from fairlead.envelope.question import Question
from fairlead.errors import FairleadError
from fairlead.identifiers import NORM_VERSION
from fairlead.policy.decision import Decision, Obligations
from fairlead.v1 import query_pb2
from node.publication.publisher import Publisher
from tests.blind import NO_POINTS, require_libsodium
from tests.federation import STORY, federation
from tests.places import FULL, OWNER, Place
from tests.publications import held
from tests.walks import PaperLog, Walk, world_of

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")
PURPOSE = "drug-trafficking"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("blind")
    partners, records = ("customs", "police", OWNER), {OWNER: [held(STORY)]}
    async with federation(folder, partners=partners, records=records, start=False) as made:
        await made.start_node(OWNER)
        log = PaperLog(world_of(made.layout, now=time.time()), [b"first"])
        place = Place(made, log)
        await publisher_of(place).publish()
        yield place


def publisher_of(place: Place) -> Publisher:
    return place.node.steering.publishing.publisher


def manifest_of(place: Place, purpose: str = PURPOSE, scheme: str = "container") -> Manifest:
    (found,) = (
        item.manifest
        for item in publisher_of(place).shelf.answering(time.time())
        if item.manifest.scheme == scheme
        and purpose in item.manifest.audience.purposes
        and "customs" in item.manifest.audience.partners
    )
    return found


def blinded(
    manifest: Manifest, values: Sequence[str] = (STORY,), **changes: object
) -> BlindedTerms:
    inputs = blinding.encode_terms(NORM_VERSION, manifest.scheme, values)
    blinds = blinding.derive_blinds(bytes(32), owner=OWNER, chunk=0, count=len(inputs))
    settings: dict[str, object] = {
        "scheme": manifest.scheme, "audience": manifest.audience.name, "epoch": manifest.epoch,
        "elements": blinding.blind(inputs, blinds).elements,
    }  # fmt: skip
    return BlindedTerms(**{**settings, **changes})  # type: ignore[arg-type]


async def asked(
    place: Place, item: BlindedTerms, purpose: str = PURPOSE
) -> tuple[Walk, query_pb2.SignedAnswer]:
    terms = [(item.scheme, str(n)) for n in range(item.terms)]
    walk = place.walk(*terms, blinded=(item,), purpose=purpose)
    return walk, (await place.answer(place.request(walk))).answer


def told(walk: Walk, answer: query_pb2.SignedAnswer) -> tuple[int, str]:
    query = walk.verify()
    found = verify_answer(
        answer, query_id=query.query_id, header_digest=query.header_digest, terms=query.term_count,
        elements=query.element_count, owner=walk.world.directory.partner(OWNER),
    )  # fmt: skip
    return found.status, found.reason


async def test_an_honest_question_is_evaluated_and_proved(place: Place) -> None:
    """The control: what is refused below is refused for what it is."""
    manifest = manifest_of(place)
    item = blinded(manifest)
    walk, answer = await asked(place, item)
    assert told(walk, answer) == (query_pb2.STATUS_ANSWERED, "")
    (said,), body = open_blind_body(
        answer, query_id=walk.query_id, owner=OWNER, asked=[item], key=walk.reply_key
    )
    inputs = blinding.encode_terms(NORM_VERSION, "container", [STORY])
    blinds = blinding.derive_blinds(bytes(32), owner=OWNER, chunk=0, count=1)
    outputs = blinding.finalise(
        blinding.blind(inputs, blinds), said.evaluation, manifest.public_key
    )
    assert len(outputs) == 1
    assert said.manifest == manifest.digest
    assert body.retention_days
    assert body.onward == "with-consent"
    assert place.types(walk.query_id) == ["INTENT", "RELEASE"]


@pytest.mark.parametrize("row", NO_POINTS.values(), ids=NO_POINTS)
async def test_what_is_no_point_is_refused_on_the_record(place: Place, row: bytes) -> None:
    """The identity, small-order leftovers and second encodings are never multiplied."""
    good = blinded(manifest_of(place)).elements
    walk, answer = await asked(place, blinded(manifest_of(place), elements=good + row))
    assert told(walk, answer) == (query_pb2.STATUS_REFUSED, "INPUT_INVALID")
    assert answer.body == b""
    assert place.types(walk.query_id) == ["INTENT", "REFUSAL", "RELEASE"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"audience": bytes(32)}, "EPOCH_OVER"),
        ({"epoch": 0}, "EPOCH_OVER"),
        ({"epoch": 2**32 - 1}, "EPOCH_OVER"),
    ],
)
async def test_another_class_or_epoch_gets_no_evaluation(
    place: Place, changes: dict[str, object], code: str
) -> None:
    """Keys of epochs that are over, or to come, and of classes nobody published, do not answer."""
    walk, answer = await asked(place, blinded(manifest_of(place), **changes))
    assert told(walk, answer) == (query_pb2.STATUS_REFUSED, code)


async def test_a_class_without_the_asker_or_the_purpose_gets_no_evaluation(place: Place) -> None:
    """Whoever learnt the name of another class cannot use its key, nor its own for more."""
    others = [
        item.manifest
        for item in publisher_of(place).shelf.answering(time.time())
        if (
            item.manifest.scheme == "container"
            and not {PURPOSE} <= set(item.manifest.audience.purposes)
        )
        or "customs" not in item.manifest.audience.partners
    ]
    assert others
    for manifest in others:
        walk, answer = await asked(place, blinded(manifest))
        assert told(walk, answer) == (query_pb2.STATUS_REFUSED, "BLIND_CLASS")


async def test_replayed_elements_are_paid_for_again(place: Place) -> None:
    """The same elements under a new mandate are a new question: its terms count."""
    item = blinded(manifest_of(place))
    before = spent(place)
    for _ in range(2):
        walk, answer = await asked(place, item)
        assert told(walk, answer)[0] == query_pb2.STATUS_ANSWERED
    assert spent(place) - before == 2


async def test_every_element_of_a_person_is_paid_for(place: Place) -> None:
    """An owner sees points: four of one name and one of each of four names look alike."""
    query = place.walk(blinded=(blinded(manifest_of(place)),)).verify()
    decision = Decision.of_grant(facets=FULL, obligations=Obligations(), policy_serial=1)
    person = BlindedTerms(scheme="person", audience=bytes(32), epoch=1, elements=bytes(4 * 32))
    assert person.terms == 1
    nothing = Question(terms=(), scope=ANY)
    _, charges = place.node.answering._afford(decision, query, nothing, [person])
    assert [charge.terms for charge in charges] == [4, 4]
    charges = place.node.asking._budgets.charges(
        "u-c01", "CASE-1", {"person": 2, "container": 3}, query_pb2.MODE_BLIND
    )
    assert [charge.terms for charge in charges] == [3, 8, 11, 11]


async def test_a_refused_question_costs_nothing(place: Place) -> None:
    """What is not evaluated is not paid for."""
    before = spent(place)
    await asked(place, blinded(manifest_of(place), epoch=0))
    assert spent(place) == before


def spent(place: Place) -> int:
    """Terms that customs has asked this owner today."""
    rows = place.node.log.read(
        "SELECT spent FROM budget WHERE name = 'asked_partner_day' AND holder = 'customs'"
    )
    return int(rows[0][0]) if rows else 0


async def test_more_elements_than_terms_are_refused_before_anything(place: Place) -> None:
    """Nobody gets two evaluations for one term: the header's counts are compared."""
    item = blinded(manifest_of(place), [STORY, "CSQU3054383"])
    walk = place.walk(("container", "1"), blinded=(item,))
    with pytest.raises(FairleadError) as caught:
        await place.answer(place.request(walk))
    assert caught.value.code == "ELEMENTS"


async def test_the_owners_files_and_log_do_not_hold_the_term(place: Place) -> None:
    """After a blind question nothing at the owner tells it from another one."""
    item = blinded(manifest_of(place))
    walk, _ = await asked(place, item)
    body = b"".join(leaf.SerializeToString() for leaf in place.leaves(walk.query_id))
    assert STORY.encode() not in body
    assert signing.digest(STORY.encode()) not in body
    rows = place.node.log.read("SELECT * FROM queries WHERE query_id = ?", (walk.query_id,))
    assert STORY not in repr(rows)
    assert item.elements not in body
    assert len(item.elements) == ristretto.SIZE
