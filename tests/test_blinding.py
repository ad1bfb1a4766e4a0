"""Blind, evaluate, prove, finalise: RFC 9497's vectors, every input, and every tampering."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import blinding, ristretto
from fairlead.blinding import BATCH, Blinded, Evaluation, PrivateKey, blind, evaluate, finalise
from fairlead.errors import Forged, InvalidInput
from tests.blind import (
    INPUTS,
    NO_POINTS,
    NO_SCALARS,
    SCALARS,
    SEED,
    blinded,
    changed,
    octets,
    require_libsodium,
)
from tests.hostile import only_ours

require_libsodium()

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "voprf.json").read_text(encoding="utf-8")
)
KEY = blinding.derive_key(SEED, b"this test")
OTHER = blinding.derive_key(SEED, b"another key")
ASKED = blinded([b"first", b"second", b"third"])
ANSWER = evaluate(KEY, ASKED.elements)


def joined(values: list[str]) -> bytes:
    return bytes.fromhex("".join(values))


def refused(asked: Blinded, answer: Evaluation, public: bytes = KEY.public) -> None:
    """The asker gets no output."""
    with pytest.raises(Forged) as caught:
        finalise(asked, answer, public)
    assert caught.value.code == "BLIND_PROOF"


# ── The published vectors ────────────────────────────────────────────────────────────────────


def test_published_key_pair() -> None:
    """The key pair of RFC 9497 A.1.2 follows from its seed and info."""
    key = blinding.derive_key(bytes.fromhex(VECTORS["seed"]), bytes.fromhex(VECTORS["info"]))
    assert key.scalar.hex() == VECTORS["private"]
    assert key.public.hex() == VECTORS["public"]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_published_exchange(case: dict[str, Any]) -> None:
    """Elements, proof and outputs of RFC 9497 A.1.2 are reproduced octet by octet."""
    key = PrivateKey(scalar=bytes.fromhex(VECTORS["private"]))
    inputs = [bytes.fromhex(one) for one in case["inputs"]]
    asked = blind(inputs, joined(case["blinds"]))
    assert asked.elements == joined(case["blinded"])
    nonce = bytes.fromhex(case["nonce"])
    answer = evaluate(key, asked.elements, random=lambda size: nonce.ljust(size, b"\0"))
    assert answer.elements == joined(case["evaluated"])
    assert answer.proofs.hex() == case["proof"]
    outputs = [bytes.fromhex(one) for one in case["outputs"]]
    assert finalise(asked, answer, key.public) == outputs
    assert blinding.evaluate_unblinded(key, inputs) == outputs


def test_a_key_needs_a_seed_and_a_name_that_fits() -> None:
    """No key follows from a cut seed or a name beyond 65,535 octets."""
    for seed, info, code in ((SEED[1:], b"", "SEED"), (SEED, bytes(2**16), "TOO_LONG")):
        with pytest.raises(InvalidInput) as caught:
            blinding.derive_key(seed, info)
        assert caught.value.code == code
    assert blinding.derive_key(SEED, bytes(2**16 - 1)).public != KEY.public


# ── What the two sides agree on ──────────────────────────────────────────────────────────────


@given(INPUTS, SCALARS, st.binary(min_size=32, max_size=32))
def test_the_asker_finalises_what_the_owner_computes_alone(
    inputs: list[bytes], scalar: bytes, seed: bytes
) -> None:
    """For any input, key and blinds, both sides reach the same outputs."""
    key = PrivateKey(scalar=scalar)
    asked = blinded(inputs, seed)
    assert len(asked) == len(inputs)
    answer = evaluate(key, asked.elements)
    assert finalise(asked, answer, key.public) == blinding.evaluate_unblinded(key, inputs)


def test_the_longest_input_is_taken_and_a_longer_one_refused() -> None:
    """RFC 9497's limit of 65,535 octets holds on both sides."""
    longest = bytes(2**16 - 1)
    asked = blinded([longest])
    answer = evaluate(KEY, asked.elements)
    assert finalise(asked, answer, KEY.public) == blinding.evaluate_unblinded(KEY, [longest])
    for attempt in (
        lambda: blinded([longest + b"x"]),
        lambda: blinding.evaluate_unblinded(KEY, [longest + b"x"]),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "TOO_LONG"


def test_more_elements_than_one_proof_covers() -> None:
    """Each 1,000 elements have a proof of their own; none may be dropped, moved or repeated."""
    inputs = [str(number).encode() for number in range(BATCH + 2)]
    asked = blinded(inputs)
    answer = evaluate(KEY, asked.elements)
    first, second = answer.proofs[:64], answer.proofs[64:]
    assert len(answer.elements) == 32 * len(inputs)
    assert len(second) == 64
    outputs = finalise(asked, answer, KEY.public)
    assert outputs[-2:] == blinding.evaluate_unblinded(KEY, inputs[-2:])
    for proofs in (first, second, second + first, first + first, answer.proofs + second):
        refused(asked, Evaluation(elements=answer.elements, proofs=proofs))
    swapped = bytearray(answer.elements)
    last, before = slice(32 * BATCH, 32 * BATCH + 32), slice(32 * BATCH - 32, 32 * BATCH)
    swapped[last], swapped[before] = swapped[before], swapped[last]
    refused(asked, Evaluation(elements=bytes(swapped), proofs=answer.proofs))
    with pytest.raises(InvalidInput):
        blinding.prove(KEY, asked.elements, answer.elements, lambda size: b"\x01" * size)


@pytest.mark.parametrize("cut", [1, 32, 96])
def test_nothing_is_proved_of_answers_that_are_missing(cut: int) -> None:
    """A proof covers as many answers as questions."""
    for asked, answered in (
        (ASKED.elements, ANSWER.elements[cut:]),
        (ASKED.elements[cut:], ANSWER.elements),
    ):
        with pytest.raises(InvalidInput):
            blinding.prove(KEY, asked, answered, lambda size: b"\x01" * size)


def test_two_proofs_of_the_same_have_different_nonces() -> None:
    """A nonce is drawn anew for every proof; one used twice would give the key away."""
    again = evaluate(KEY, ASKED.elements)
    assert again.elements == ANSWER.elements
    assert again.proofs != ANSWER.proofs


def test_a_batch_without_elements_is_no_batch() -> None:
    """Empty means no, at each of the four doors."""
    for attempt in (
        lambda: blind([], b""),
        lambda: evaluate(KEY, b""),
        lambda: blinding.evaluate_unblinded(KEY, []),
        lambda: blinding.derive_blinds(SEED, owner="customs", chunk=0, count=0),
    ):
        with pytest.raises(InvalidInput):
            attempt()


def test_more_elements_than_one_exchange_holds_are_refused() -> None:
    """4,096 elements are the most, and nobody computes before counting."""
    many = ASKED.elements[:32] * (blinding.MAX_ELEMENTS + 1)
    for attempt in (
        lambda: evaluate(KEY, many),
        lambda: blind([b"x"] * (blinding.MAX_ELEMENTS + 1), many),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "ROWS"


# ── What is refused before the blinds come off ───────────────────────────────────────────────


@settings(max_examples=150)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_octet_is_refused(place: int, change: int) -> None:
    """One octet of question, answer, proof or key is another: no output."""
    refused(dataclasses.replace(ASKED, elements=changed(ASKED.elements, place, change)), ANSWER)
    refused(ASKED, dataclasses.replace(ANSWER, elements=changed(ANSWER.elements, place, change)))
    refused(ASKED, dataclasses.replace(ANSWER, proofs=changed(ANSWER.proofs, place, change)))
    refused(ASKED, ANSWER, changed(KEY.public, place, change))


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 2), (0, 2)])
def test_swapped_answers_are_refused(first: int, second: int) -> None:
    """The order of the answers is proved with them."""
    rows = [ANSWER.elements[at : at + 32] for at in range(0, 96, 32)]
    rows[first], rows[second] = rows[second], rows[first]
    refused(ASKED, dataclasses.replace(ANSWER, elements=b"".join(rows)))


def test_another_key_is_refused() -> None:
    """Neither an answer under another key nor another key's proof of this answer will do."""
    other = evaluate(OTHER, ASKED.elements)
    refused(ASKED, other)
    refused(ASKED, ANSWER, OTHER.public)
    refused(ASKED, dataclasses.replace(ANSWER, proofs=other.proofs))
    refused(ASKED, dataclasses.replace(ANSWER, elements=other.elements))
    forged = blinding.prove(OTHER, ASKED.elements, ANSWER.elements, lambda size: b"\x01" * size)
    refused(ASKED, dataclasses.replace(ANSWER, proofs=forged), OTHER.public)


def test_an_answer_to_another_question_is_refused() -> None:
    """A replayed answer fits only what was asked when it was made."""
    again = blinded([b"first", b"second", b"third"], bytes(32))
    refused(again, ANSWER)


def test_one_element_under_another_key_is_refused() -> None:
    """An owner cannot mark one term of many with a key of its own."""
    marked = ristretto.multiply_all(OTHER.scalar, ASKED.elements[:32]) + ANSWER.elements[32:]
    honest = blinding.prove(KEY, ASKED.elements, marked, lambda size: b"\x01" * size)
    refused(ASKED, Evaluation(elements=marked, proofs=honest))


@pytest.mark.parametrize(
    ("elements", "proofs"),
    [(b"", b""), (b"", ANSWER.proofs), (ANSWER.elements, b""),
     (ANSWER.elements[:-32], ANSWER.proofs), (ANSWER.elements[:-1], ANSWER.proofs),
     (ANSWER.elements + ANSWER.elements[:32], ANSWER.proofs),
     (ANSWER.elements, ANSWER.proofs[:-1]), (ANSWER.elements, ANSWER.proofs * 2)],
    ids=map(str, range(8)),
)  # fmt: skip
def test_an_answer_of_another_size_is_refused(elements: bytes, proofs: bytes) -> None:
    """As many elements as were asked and one proof for each batch, not one octet more or less."""
    refused(ASKED, Evaluation(elements=elements, proofs=proofs))


def test_the_blinds_stay_on_until_the_proof_holds() -> None:
    """With blinds that cannot be taken off, a false proof is what is reported."""
    stuck = dataclasses.replace(ASKED, blinds=bytes(96))
    with pytest.raises(InvalidInput) as caught:
        finalise(stuck, ANSWER, KEY.public)
    assert caught.value.code == "SCALAR"
    refused(stuck, dataclasses.replace(ANSWER, proofs=changed(ANSWER.proofs, 3, 1)))


@pytest.mark.parametrize("half", [0, 32])
def test_a_proof_has_one_spelling(half: int) -> None:
    """A challenge or response plus the group's order is the same number and is refused."""
    number = int.from_bytes(ANSWER.proofs[half : half + 32], "little") + ristretto.ORDER
    proofs = bytearray(ANSWER.proofs)
    proofs[half : half + 32] = octets(number)
    refused(ASKED, dataclasses.replace(ANSWER, proofs=bytes(proofs)))


# ── Elements that are none ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", NO_POINTS.values(), ids=NO_POINTS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_bad_elements_are_refused_on_both_sides(bad: bytes, place: int) -> None:
    """Neither owner nor asker computes with the identity or a second spelling of a point."""
    asked, answered = bytearray(ASKED.elements), bytearray(ANSWER.elements)
    asked[32 * place : 32 * place + 32] = bad
    answered[32 * place : 32 * place + 32] = bad
    with pytest.raises(InvalidInput) as caught:
        evaluate(KEY, bytes(asked))
    assert caught.value.code == "POINT"
    refused(ASKED, dataclasses.replace(ANSWER, elements=bytes(answered)))
    refused(dataclasses.replace(ASKED, elements=bytes(asked)), ANSWER)


@pytest.mark.parametrize("bad", [*NO_POINTS.values(), b"", bytes(31), bytes(33), KEY.public * 2])
def test_bad_keys_are_refused(bad: bytes) -> None:
    """A manifest's key that is no point, or the identity, is refused and verifies nothing."""
    with pytest.raises(InvalidInput) as caught:
        blinding.check_public_key(bad)
    assert caught.value.code == "BLIND_KEY"
    refused(ASKED, ANSWER, bad)
    forged = bytes(range(1, 32)) + b"\0" + bytes(range(1, 32)) + b"\0"
    refused(ASKED, dataclasses.replace(ANSWER, proofs=forged), bad)


@pytest.mark.parametrize("bad", [*NO_SCALARS.values(), b"", bytes(31), octets(1) + b"\0"])
def test_bad_scalars_are_no_key_and_no_blind(bad: bytes) -> None:
    """Zero, unreduced or short: neither a private key nor a blind."""
    with pytest.raises(InvalidInput):
        PrivateKey(scalar=bad)
    with pytest.raises(InvalidInput):
        blind([b"x"], bad)
    with pytest.raises(InvalidInput):
        blind([b"x", b"y"], octets(7) + bad)


def test_a_nonce_of_zero_proves_nothing() -> None:
    """Randomness that is all zero is an error, not a proof that shows the key."""
    with pytest.raises(InvalidInput):
        evaluate(KEY, ASKED.elements, random=bytes)


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_any_octets_are_refused_or_proved(elements: bytes, proofs: bytes) -> None:
    """Whatever a stranger sends ends in an error of ours."""
    refused(ASKED, Evaluation(elements=elements, proofs=proofs))
    with pytest.raises(Forged):
        blinding.verify_proof(KEY.public, ASKED.elements, elements, proofs)
    only_ours(lambda: evaluate(KEY, elements))


def test_secrets_do_not_show() -> None:
    """No secret is in what a log or a traceback would print."""
    for secret in (KEY, ASKED):
        shown = repr(secret)
        assert KEY.scalar.hex() not in shown
        assert repr(KEY.scalar) not in shown
        assert "first" not in shown
