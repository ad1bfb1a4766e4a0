"""A forged file of evidence: altered octets, and lies that the asker's own node key signed again.

The first forger has the file and no key. The second one is the asker itself, with its node's key
and everything its node keeps: it can make any collection and sign it, and has to fail on what the
others signed.
"""

from __future__ import annotations

import base64
import contextlib
import html
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import pytest_asyncio

from fairlead import merkle, receipts, sealing, signing
from fairlead.v1 import asking_pb2, audit_pb2, directory_pb2, query_pb2
from fairlead.verifier import pages, single, summary
from fairlead.verifier.check import ALL_OF_THEM, verify_page
from fairlead.verifier.finding import EvidenceFailed, Findings
from tests.blind import require_libsodium
from tests.casefiles import (
    ABSENT,
    HOSTILE,
    OTHER_CASE,
    OTHER_OWNER,
    OTHER_TERM,
    Made,
    anchors_of,
    evidence_of,
    text,
    worked,
)
from tests.federation import OTHER, STORY
from tests.live import leaves
from tests.publications import OWNER

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")
EVERY_OCTET = os.environ.get("FAIRLEAD_EVERY_OCTET") == "1"
"""The long form: every octet of the file, each changed once."""
SAMPLE = 2_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Made]:
    async with worked(tmp_path_factory.mktemp("evidence")) as federation:
        yield Made(federation, await evidence_of(federation), anchors_of(federation))


def verify(made: Made, page: bytes) -> Findings:
    return verify_page(page, made.anchors, single.source())


def fault_of(made: Made, page: bytes) -> str:
    with pytest.raises(EvidenceFailed) as caught:
        verify(made, page)
    return f"{caught.value.item}: {caught.value.fault}"


# ── Without a key ────────────────────────────────────────────────────────────────────────────


async def test_the_file_as_it_was_made_verifies(made: Made) -> None:
    """The control of every attack below: nothing is wrong, and all but one word is proved."""
    found = verify(made, made.page)
    assert found.unproved == [ALL_OF_THEM]
    assert found.facts["queries"] == 2


def regions(made: Made) -> list[str]:
    """Which item each octet of the file belongs to."""
    parts = pages.parts_of(made.page)
    named = [("summary", parts.summary), ("verifier", parts.verifier),
             ("contents", parts.contents), ("contents", parts.signature),
             *zip(parts.names, parts.items, strict=True)]  # fmt: skip
    found, at = ["page"] * len(made.page), 0
    for name, octets in named:
        at = made.page.index(octets, at)
        found[at : at + len(octets)] = [name] * len(octets)
        at += len(octets)
    return found


@pytest.mark.timeout(7_200 if EVERY_OCTET else 120)
async def test_an_altered_octet_anywhere_fails_and_names_its_item(made: Made) -> None:
    """Wherever one octet differs, in the page's own words too, the item it is of is named."""
    chance = random.Random("octets")
    whole = range(len(made.page))
    places = list(whole) if EVERY_OCTET else chance.sample(whole, SAMPLE)
    boundaries = [m.start() for m in re.finditer(rb"\n", made.page)]
    places += chance.sample(boundaries, min(len(boundaries), 60))
    seen: Counter[str] = Counter()
    owners, names = regions(made), {*_names(made), "page", "items"}
    for place in places:
        changes = {1 << chance.randrange(8), chance.randrange(1, 256)}
        for change in [*changes][:1] if EVERY_OCTET else changes:
            altered = bytearray(made.page)
            altered[place] ^= change
            with pytest.raises(EvidenceFailed) as caught:
                verify(made, bytes(altered))
            item = caught.value.item
            # A line end that goes, or comes, is told of a line it cut or joined.
            joined = 0x0A in (altered[place], made.page[place])
            assert item == owners[place] or (joined and item in names), (place, item)
            seen[item] += 1
    assert {"summary", "verifier", "query 1", "query 2"} <= seen.keys()


def _names(made: Made) -> set[str]:
    return {"contents", "summary", "verifier", *pages.parts_of(made.page).names}


async def test_a_removed_moved_or_added_item_is_named(made: Made) -> None:
    """A query that is taken out of the file is missed by its name."""
    parts = pages.parts_of(made.page)
    place = parts.names.index("query 2")
    rows = [*parts.items]

    def page(lines: list[bytes]) -> bytes:
        return pages.whole_page(
            parts.summary, parts.verifier, parts.contents, parts.signature, lines
        )

    assert fault_of(made, page(rows[:place] + rows[place + 1 :])).startswith("query 2:")
    swapped = [*rows[: place - 1], rows[place], rows[place - 1], *rows[place + 1 :]]
    assert fault_of(made, page(swapped)).startswith("query 1:")
    assert fault_of(made, page([*rows, rows[place]])).startswith("items:")


@pytest.mark.parametrize("cut", [0, 1, 100, 3_000, -1, -200, -20_000])
async def test_a_file_cut_short_is_none(made: Made, cut: int) -> None:
    """Nor is one with something before or behind it."""
    for page in (made.page[:cut], made.page + b" ", b" " + made.page, made.page * 2):
        assert fault_of(made, page)


async def test_other_anchors_are_not_believed(made: Made) -> None:
    """Whoever makes a federation of their own has other operators and other roots."""
    anchors = made.anchors
    other = type(anchors)(anchors.federation, (bytes(32), bytes(31) + b"\x01"), anchors.roots)
    with pytest.raises(EvidenceFailed) as caught:
        verify_page(made.page, other, single.source())
    assert caught.value.item.startswith("directory")
    roots = {**anchors.roots, OWNER: bytes(32)}
    other = type(anchors)(anchors.federation, anchors.operators, roots)
    with pytest.raises(EvidenceFailed) as caught:
        verify_page(made.page, other, single.source())
    assert OWNER in caught.value.item


async def test_anchors_that_nobody_compared_are_not_proved(made: Made) -> None:
    """Without anchors the verifier says which fingerprint to compare, and claims nothing."""
    found = verify_page(made.page, None, single.source())
    (line,) = [x for x in found.unproved if x.startswith("the trust anchors:")]
    assert made.anchors.fingerprint() in line


async def test_another_verifiers_summary_is_not_called_proved(made: Made) -> None:
    """A verifier that cannot write the summary again says so."""
    found = verify_page(made.page, made.anchors, single.source() + b"# another\n")
    assert any("readable summary" in line for line in found.unproved)


# ── With the asker's node key ────────────────────────────────────────────────────────────────

Change = Callable[[dict[str, Any]], object]


def chunk(items: dict[str, Any], query: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = items[f"query {query}"]["chunks"][0]
    return found


def answer(items: dict[str, Any], partner: str, query: int = 1) -> dict[str, Any]:
    (found,) = [a for a in chunk(items, query)["answers"] if a["partner"] == partner]
    return found  # type: ignore[no-any-return]


def octets(encoded: str) -> bytes:
    return base64.b64decode(encoded)


def edited_plaintext(items: dict[str, Any]) -> None:
    """The owner said hit, and the asker would have it no hit."""
    given = answer(items, OWNER)
    body = query_pb2.AnswerBody.FromString(octets(given["plaintext"]))
    body.answers[0].Clear()
    given["plaintext"] = text(signing.canonical(body))


def swapped_answers(items: dict[str, Any]) -> None:
    """Two owners' answers under each other's name."""
    one, other = answer(items, OWNER), answer(items, OTHER_OWNER)
    one["partner"], other["partner"] = other["partner"], one["partner"]


def answer_of_another_query(items: dict[str, Any]) -> None:
    answer(items, OWNER).update(answer(items, OWNER, 2), looked=None, found=None)


def plaintext_of_another_query(items: dict[str, Any]) -> None:
    answer(items, OWNER)["plaintext"] = answer(items, OWNER, 2)["plaintext"]


def reply_key_of_another_query(items: dict[str, Any]) -> None:
    chunk(items)["reply_key"] = chunk(items, 2)["reply_key"]


def reply_key_of_nobody(items: dict[str, Any]) -> None:
    chunk(items)["reply_key"] = text(sealing.SealingKey.generate().to_seed())


def no_reply_key(items: dict[str, Any]) -> None:
    """A plaintext that nothing binds to the owner."""
    chunk(items)["reply_key"] = None
    edited_plaintext(items)


def removed_answer(items: dict[str, Any]) -> None:
    chunk(items)["answers"].pop()


def other_body(items: dict[str, Any]) -> None:
    given, query = answer(items, OWNER), query_pb2.SignedQuery.FromString(
        octets(chunk(items)["query"])
    )  # fmt: skip
    header = query_pb2.QueryHeader.FromString(query.header)
    info = b"fairlead/v1/answer\x00" + header.query_id + OWNER.encode()
    body = query_pb2.AnswerBody(query_id=header.query_id, partner_id=OWNER,
        answers=[query_pb2.TermAnswer(index=i) for i in range(2)])  # fmt: skip
    padded = sealing.pad(signing.canonical(body), sealing.answer_size(2))
    given["body"] = text(sealing.seal(padded, header.reply_key, info=info))
    given["plaintext"] = text(signing.canonical(body))


def other_term(items: dict[str, Any]) -> None:
    chunk(items)["terms"][0][1] = ABSENT


def blind_other_term(items: dict[str, Any]) -> None:
    chunk(items, 2)["terms"][0][1] = OTHER
    chunk(items, 2)["keys"][0] = [[OTHER, ""]]


def other_key(items: dict[str, Any]) -> None:
    chunk(items, 2)["keys"][0] = [[OTHER, ""]]


def other_period(items: dict[str, Any]) -> None:
    items["query 1"]["scope"]["since"] += 1


def other_handling(items: dict[str, Any]) -> None:
    items["query 1"]["scope"]["tlp"] = 1


def other_salt(items: dict[str, Any]) -> None:
    items["query 1"]["salts"][OWNER] = text(bytes(32))


def other_case(items: dict[str, Any]) -> None:
    items["case"]["case_id"] = OTHER_CASE


def other_purpose(items: dict[str, Any]) -> None:
    items["case"]["purpose"] = "intelligence"


def an_instrument(items: dict[str, Any]) -> None:
    items["case"]["instrument"] = {
        "kind": "court-order", "authority": "court", "reference": "X", "valid_until": 2**31,
    }  # fmt: skip


def other_user(items: dict[str, Any]) -> None:
    items["query 1"]["user"] = "u-c02"


def twice(items: dict[str, Any]) -> None:
    items["query 3"] = items["query 1"]


def other_outcome(items: dict[str, Any]) -> None:
    """The gateway's outcome with a partner who was never asked."""
    outcome = query_pb2.Outcome.FromString(octets(chunk(items)["outcome"]))
    outcome.partners[-1].status = query_pb2.STATUS_REFUSED
    chunk(items)["outcome"] = text(signing.canonical(outcome))


def outcome_of_another_query(items: dict[str, Any]) -> None:
    for key in ("outcome", "outcome_signature", "closing"):
        chunk(items)[key] = chunk(items, 2)[key]


def closing_of_another_query(items: dict[str, Any]) -> None:
    chunk(items)["closing"] = chunk(items, 2)["closing"]


def intent_of_another_query(items: dict[str, Any]) -> None:
    chunk(items)["intent"] = chunk(items, 2)["intent"]


def other_leaf(items: dict[str, Any]) -> None:
    receipt = audit_pb2.Receipt.FromString(octets(chunk(items)["intent"]))
    leaf = audit_pb2.AuditLeaf.FromString(receipt.leaf)
    leaf.time_ms -= 86_400_000
    receipt.leaf = signing.canonical(leaf)
    chunk(items)["intent"] = text(signing.canonical(receipt))


def other_moment(items: dict[str, Any]) -> None:
    """The user's mandate with another purpose, which they did not sign."""
    signed = query_pb2.SignedQuery.FromString(octets(chunk(items)["query"]))
    mandate = query_pb2.Mandate.FromString(signed.mandate)
    mandate.purpose = "intelligence"
    signed.mandate = signing.canonical(mandate)
    chunk(items)["query"] = text(signing.canonical(signed))


def an_approval(items: dict[str, Any]) -> None:
    """A second person who never approved."""
    signed = query_pb2.SignedQuery.FromString(octets(chunk(items)["query"]))
    approval = query_pb2.Approval(mandate_digest=signing.digest(signed.mandate),
        partner_id="customs", issued_at=1, expires_at=2,
        approver_certificate_digest=signing.digest(signed.user_certificate))  # fmt: skip
    signed.approvals.add(approval=signing.canonical(approval), signature=b"x",
                         certificate=signed.user_certificate)  # fmt: skip
    chunk(items)["query"] = text(signing.canonical(signed))


def forged_directory(items: dict[str, Any]) -> None:
    """An owner's key replaced by one of the forger's."""
    signed = directory_pb2.SignedDirectory.FromString(octets(items["directory 1"]["signed"]))
    content = directory_pb2.Directory.FromString(signed.directory)
    entry = directory_pb2.PartnerEntry.FromString(content.partners[0].entry)
    entry.signing_key = bytes(32)
    content.partners[0].entry = signing.canonical(entry)
    signed.directory = signing.canonical(content)
    items["directory 1"]["signed"] = text(signing.canonical(signed))


def no_directory(items: dict[str, Any]) -> None:
    del items["directory 1"]


def invented_hit(items: dict[str, Any]) -> None:
    """A blind no hit shown as a hit."""
    given = answer(items, OTHER_OWNER, 2)
    body = query_pb2.AnswerBody.FromString(octets(given["found"]))
    body.answers[0].hit = True
    given["found"] = text(signing.canonical(body))


def hidden_hit(items: dict[str, Any]) -> None:
    """A blind hit shown as none, with the other owner's page in its place."""
    given, other = answer(items, OWNER, 2), answer(items, OTHER_OWNER, 2)
    body = query_pb2.AnswerBody.FromString(octets(given["found"]))
    body.answers[0].Clear()
    given["found"] = text(signing.canonical(body))
    given["looked"][0]["lookups"] = other["looked"][0]["lookups"]


def forged_page(items: dict[str, Any]) -> None:
    """A page without the entry that was found on it, and no hit."""
    given, other = answer(items, OWNER, 2), answer(items, OTHER_OWNER, 2)
    body = query_pb2.AnswerBody.FromString(octets(given["found"]))
    body.answers[0].Clear()
    given["found"] = text(signing.canonical(body))
    filler = octets(other["looked"][0]["lookups"][0][1][0][1])[:16]
    page = bytearray(octets(given["looked"][0]["lookups"][0][1][0][1]))
    for at in range(96, 15 * 96, 96):  # the first and the last stay around the term's place
        page[at : at + 16] = filler
    given["looked"][0]["lookups"][0][1][0][1] = text(bytes(page))


def a_page_further(items: dict[str, Any]) -> None:
    """An absence proved with a page on which the term would not stand."""
    given = answer(items, OTHER_OWNER, 2)["looked"][0]["lookups"]
    given[0][1] = given[1][1] if given[0][1] != given[1][1] else []


def manifest_of_another(items: dict[str, Any]) -> None:
    given, other = answer(items, OWNER, 2), answer(items, OTHER_OWNER, 2)
    given["looked"][0]["manifest"] = other["looked"][0]["manifest"]


def receipt_of_another(items: dict[str, Any]) -> None:
    given, other = answer(items, OWNER, 2), answer(items, OTHER_OWNER, 2)
    given["looked"][0]["receipt"] = other["looked"][0]["receipt"]


def other_seed(items: dict[str, Any]) -> None:
    chunk(items, 2)["plan"]["seed"] = bytes(32).hex()


def other_epoch(items: dict[str, Any]) -> None:
    chunk(items, 2)["plan"]["places"][OWNER][0][2] += 1


def more_marks(items: dict[str, Any]) -> None:
    """Handling marks that no user signed, beside those of the scope."""
    items["query 1"]["scope"]["source_grade"] = "A"


def more_marks_of_the_case(items: dict[str, Any]) -> None:
    items["case"]["europol"] = "H3"


def terms_at_each_others_place(items: dict[str, Any]) -> None:
    """Blind answers of which no proof was kept, each under the other's term."""
    given = answer(items, OWNER, 2)
    given["looked"] = []
    body = query_pb2.AnswerBody.FromString(octets(given["found"]))
    body.answers[0].index, body.answers[1].index = 1, 0
    given["found"] = text(signing.canonical(body))


def no_history(items: dict[str, Any]) -> None:
    """An OUTCOME in a log of which nothing shows that it is the INTENT's."""
    receipt = audit_pb2.Receipt.FromString(octets(chunk(items)["closing"]))
    receipt.consistency_from = 0
    receipt.ClearField("consistency")
    chunk(items)["closing"] = text(signing.canonical(receipt))


LIES: dict[Change, str] = {
    more_marks: "query 1:",
    more_marks_of_the_case: "case:",
    terms_at_each_others_place: f"query 2, chunk 1, answer of {OWNER}: does not cover",
    no_history: "query 1, chunk 1, OUTCOME: does not extend",
    edited_plaintext: f"query 1, chunk 1, answer of {OWNER}",
    swapped_answers: "query 1, chunk 1, answer of",
    answer_of_another_query: f"query 1, chunk 1, answer of {OWNER}",
    plaintext_of_another_query: f"query 1, chunk 1, answer of {OWNER}",
    reply_key_of_another_query: "query 1, chunk 1, reply key",
    reply_key_of_nobody: "query 1, chunk 1, reply key",
    no_reply_key: "query 1, chunk 1",
    removed_answer: "query 1, chunk 1, answer of",
    other_body: f"query 1, chunk 1, answer of {OWNER}",
    other_term: "query 1, chunk 1, terms",
    blind_other_term: "query 2, chunk 1, terms",
    other_key: "query 2, chunk 1, answer of",
    other_period: "query 1, chunk 1, terms",
    other_handling: "query 1, chunk 1, terms",
    other_salt: f"query 1, chunk 1, asking {OWNER}",
    other_case: "query 1, chunk 1",
    other_purpose: "query 1, chunk 1",
    an_instrument: "query 1, chunk 1",
    other_user: "query 1, chunk 1",
    twice: "query 3",
    other_outcome: "query 1, chunk 1, OUTCOME",
    outcome_of_another_query: "query 1, chunk 1, OUTCOME",
    closing_of_another_query: "query 1, chunk 1, OUTCOME",
    intent_of_another_query: "query 1, chunk 1, INTENT",
    other_leaf: "query 1, chunk 1, INTENT",
    other_moment: "query 1, chunk 1, mandate",
    an_approval: "query 1, chunk 1, approval 1",
    forged_directory: "directory 1",
    no_directory: "contents",
    invented_hit: f"query 2, chunk 1, answer of {OTHER_OWNER}",
    hidden_hit: f"query 2, chunk 1, answer of {OWNER}, lookups",
    forged_page: f"query 2, chunk 1, answer of {OWNER}, lookups",
    a_page_further: f"query 2, chunk 1, answer of {OTHER_OWNER}, lookups",
    manifest_of_another: f"query 2, chunk 1, answer of {OWNER}, manifest",
    receipt_of_another: f"query 2, chunk 1, answer of {OWNER}, manifest",
    other_seed: "query 2, chunk 1, answer of",
    other_epoch: f"query 2, chunk 1, answer of {OWNER}, manifest",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_the_asker_cannot_sign_a_lie(made: Made, lie: Change) -> None:
    """Its node signs the collection again, and what others signed names the item that is wrong."""
    assert verify(made, made.signed_again(lambda _: None)).unproved == [ALL_OF_THEM]
    assert fault_of(made, made.signed_again(lie)).startswith(LIES[lie])


@pytest.mark.parametrize(("of", "marked"), [(OTHER_OWNER, 2), (OWNER, 2)])
async def test_what_nothing_in_the_file_proves_is_marked_on_the_page(
    made: Made, of: str, marked: int
) -> None:
    """No hit without the pages that would show it, and a hit without its manifest: the asker's
    node's word, in the readable part too."""

    def unproved(items: dict[str, Any]) -> None:
        looked = answer(items, of, 2)["looked"]
        if of == OWNER:
            looked.clear()
        else:
            looked[0]["lookups"] = []

    page = made.signed_again(unproved)
    assert verify(made, page).unproved != [ALL_OF_THEM]
    readable = pages.parts_of(page).summary.decode()
    word = html.escape(summary.NODES_WORD)
    assert readable.count(word) == marked
    assert (f"HIT ({word})" in readable) == (of == OWNER)
    assert word not in pages.parts_of(made.page).summary.decode()  # the control


async def test_an_intent_of_another_time_is_none(made: Made) -> None:
    """Not even one that the gateway's log holds: it was back-dated, or the query was."""

    def relogged(items: dict[str, Any]) -> None:
        receipt = audit_pb2.Receipt.FromString(octets(chunk(items)["intent"]))
        leaf = audit_pb2.AuditLeaf.FromString(receipt.leaf)
        leaf.time_ms -= 86_400_000
        chunk(items)["intent"] = text(signing.canonical(logged_alone(made, leaf)))

    told = "query 1, chunk 1, INTENT: was logged at another time"
    assert fault_of(made, made.signed_again(relogged)).startswith(told)


def logged_alone(made: Made, leaf: audit_pb2.AuditLeaf) -> audit_pb2.Receipt:
    """A receipt of a log that holds this leaf alone, under the gateway's own key."""
    octets, tree = signing.canonical(leaf), merkle.Tree()
    tree.append(merkle.leaf_hash(octets))
    origin = made.federation.directory.gateway.log_origin
    head = receipts.Checkpoint(origin=origin, size=1, root=tree.root())
    key = signing.load_signing_key(made.federation.layout.gateway("gw-1") / "log.key")
    note = receipts.sign_checkpoint(head, key)
    return receipts.make_receipt(leaf=octets, index=0, inclusion=(), checkpoint=note)


async def test_an_outcome_names_the_gateway_that_signed_it(made: Made) -> None:
    """Signed by a gateway's key, and in the name of one that is not in the directory."""

    def renamed(items: dict[str, Any]) -> None:
        outcome = query_pb2.Outcome.FromString(octets(chunk(items)["outcome"]))
        outcome.gateway = outcome.gateway.replace("gw-1", "gw-9")
        key = signing.load_signing_key(made.federation.layout.gateway("gw-1") / "signing.key")
        said = signing.canonical(outcome)
        chunk(items)["outcome"] = text(said)
        chunk(items)["outcome_signature"] = text(signing.sign(key, "outcome", said))

    told = "query 1, chunk 1, OUTCOME: is under a directory without that gateway"
    assert fault_of(made, made.signed_again(renamed)) == told


async def test_anchors_on_the_page_that_are_not_those_given_are_not_proved(made: Made) -> None:
    """Whoever reads a fingerprint off the page reads the asker's node's word."""

    def fewer(items: dict[str, Any]) -> None:
        items["anchors"]["roots"]["nobody"] = "00" * 32

    found = verify(made, made.signed_again(fewer))
    told = "the trust anchors that the page shows: they are not those that were given"
    assert found.unproved == [told, ALL_OF_THEM]


async def test_a_summary_that_says_something_else_is_named(made: Made) -> None:
    """Signed by the node as well: whoever reads the page reads what the items say, or it fails."""
    parts = pages.parts_of(made.page)
    readable = parts.summary.replace(b"<strong>", b"<strong>NOT ", 1)
    lines = list(zip(parts.names, parts.items, strict=True))
    contents = pages.first_line(parts.said["about"], lines, readable, parts.verifier)
    key = signing.load_signing_key(made.federation.layout.node("customs") / "signing.key")
    signature = {"contents": signing.digest(contents).hex(),
                 "signature": text(signing.sign(key, "case-evidence", contents))}  # fmt: skip
    page = pages.whole_page(readable, parts.verifier, contents, pages.plain_line(signature),
                            list(parts.items))  # fmt: skip
    assert fault_of(made, page).startswith("summary:")


async def test_other_instructions_on_the_page_are_named(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by the node as well: the words that say how to verify are this program's."""
    with monkeypatch.context() as patched:
        patched.setattr(pages, "_HEAD", pages._HEAD.replace("proves nothing", "proves it all"))
        page = made.signed_again(lambda _: None)
    assert fault_of(made, page).startswith("summary:")
    found = verify_page(page, made.anchors, b"another version")
    assert any("another version" in line for line in found.unproved)


async def test_another_partners_key_makes_no_collection(made: Made) -> None:
    """The collection is the asker's node's, whose entry its own root signed."""
    parts = pages.parts_of(made.page)
    key = signing.load_signing_key(made.federation.layout.node(OWNER) / "signing.key")
    signature = {"contents": signing.digest(parts.contents).hex(),
                 "signature": text(signing.sign(key, "case-evidence", parts.contents))}  # fmt: skip
    page = pages.whole_page(parts.summary, parts.verifier, parts.contents,
                            pages.plain_line(signature), list(parts.items))  # fmt: skip
    assert fault_of(made, page).startswith("contents:")


async def test_no_item_can_be_malformed_into_another_error(made: Made) -> None:
    """Whatever JSON stands where an item's value stood, only our own error comes of it."""
    chance = random.Random("shapes")
    odd: list[Any] = [None, 0, -1, "", "x", [], {}, [[]], 2**70, True, "AA=="]

    def spoil(items: dict[str, Any]) -> None:
        holder: Any = items[chance.choice([n for n in items if n != "about"])]
        for _ in range(chance.randint(0, 5)):
            values = list(holder.values() if isinstance(holder, dict) else holder)
            deeper = [value for value in values if isinstance(value, dict | list) and value]
            if not deeper:
                break
            holder = chance.choice(deeper)
        places = list(holder) if isinstance(holder, dict) else range(len(holder))
        holder[chance.choice(list(places))] = chance.choice(odd)

    failed = 0
    for _ in range(100):
        try:
            verify(made, made.signed_again(spoil))
        except EvidenceFailed:
            failed += 1
    assert failed > 60


# ── Other cases ──────────────────────────────────────────────────────────────────────────────


async def test_nothing_of_another_case_is_in_the_file(made: Made) -> None:
    """No reference, id, term, digest, leaf or octet of the case that was worked on in between."""
    node = made.federation.nodes["customs"]
    history = node.asking._history
    (batch_id,) = history.of_case(OTHER_CASE)
    evidence = history.signed(batch_id, 0)
    assert isinstance(evidence, asking_pb2.Evidence)
    header = query_pb2.QueryHeader.FromString(evidence.query.header)
    mandate = query_pb2.Mandate.FromString(evidence.query.mandate)
    secrets = [
        OTHER_CASE.encode(), OTHER_TERM.encode(), batch_id, evidence.query.mandate,
        evidence.query.header, evidence.intent.leaf, evidence.closing.leaf, evidence.outcome,
        mandate.case_commitment, mandate.mandate_id, mandate.terms_root, header.reply_key,
        node.cases.get(OTHER_CASE).nonce, signing.digest(evidence.query.mandate),
        *(item.header for item in evidence.answers),
    ]  # fmt: skip
    held = [made.page, *strings(made.items)]
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert not any(form in octets for octets in held)
    assert batch_id.hex().encode() in await evidence_of(made.federation, OTHER_CASE)


def strings(value: Any) -> list[bytes]:
    """Every text of some JSON, as it stands and decoded."""
    if isinstance(value, dict):
        return [part for item in value.items() for each in item for part in strings(each)]
    if isinstance(value, list):
        return [part for item in value for part in strings(item)]
    found = [str(value).encode()]
    with contextlib.suppress(ValueError):
        found.append(base64.b64decode(str(value), validate=True))
    return found


# ── Hostile records ──────────────────────────────────────────────────────────────────────────


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs


async def test_a_record_cannot_write_into_the_page(made: Made) -> None:
    """Markup, quotes, comments and overrides in a record's text are shown, and nothing else."""
    parts = pages.parts_of(made.page)
    readable = parts.summary.decode()
    assert html.escape(HOSTILE.replace("\u202e", "\ufffd")) in readable
    assert "\u202e" not in made.page.decode()
    tags = Tags()
    tags.feed(readable)
    assert tags.tags.keys() <= {"h2", "h3", "p", "table", "tr", "th", "td", "code", "strong"}
    assert tags.attributes == []
    page = Tags()
    page.feed(made.page.decode())
    assert page.tags["script"] == 2
    assert [value for name, value in page.attributes if name == "type"] == ["text/plain"] * 2
    assert not [name for name, _ in page.attributes if name in {"src", "href", "onload", "style"}]
    assert "default-src 'none'" in made.page.decode()


# ── Reading is on the record, and for whom ───────────────────────────────────────────────────


async def test_the_making_is_on_the_record_query_by_query(made: Made) -> None:
    """Who had it made, and of which queries, stands in the node's own log."""
    found = [leaf for leaf in leaves(made.federation.nodes["customs"].log)
             if leaf.subject == "evidence-made"]  # fmt: skip
    named = {leaf.query_id.hex() for leaf in found}
    assert {made.items[f"query {n}"]["query_id"] for n in (1, 2)} <= named
    assert {leaf.user.rpartition("/")[2] for leaf in found} >= {"u-c01"}


async def test_an_approver_gets_no_term_and_no_answer(made: Made) -> None:
    """Who reads no answers otherwise gets what was asked of whom, when and why, and it verifies."""
    page = await evidence_of(made.federation, user=("customs", "u-c02"))
    found = verify(made, page)
    assert sum("not in this file" in line for line in found.unproved) == 2
    items = pages.parts_of(page).read_items()
    for text_of in strings({k: v for k, v in items.items() if k != "anchors"}):
        assert STORY.encode() not in text_of
        assert b"Gate 7" not in text_of
    assert chunk(items)["reply_key"] is None


async def test_who_is_not_of_the_case_gets_nothing(made: Made) -> None:
    """An analyst who is no member hears the same as of a case that does not exist."""
    refused = []
    for case, user in (("CASE-1", "u-c03"), ("CASE-9", "u-c03"), ("CASE-9", "u-c02")):
        with pytest.raises(Exception, match="no case of that reference") as caught:
            await evidence_of(made.federation, case, ("customs", user))
        refused.append(str(caught.value.details()))  # type: ignore[attr-defined]
    assert len(set(refused)) == 1
