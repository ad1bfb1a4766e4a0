"""Cosignatures byte for byte, and who counts as having cosigned."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fairlead import receipts
from fairlead.cosigning import (
    cosign,
    cosigners,
    verify_cosignature,
    with_lines,
    witness_name,
)
from fairlead.errors import Forged, InvalidInput
from tests.walks import NOW, PaperLog, World, make_world

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
NAME = "fairlead.demo/witness/customs"

# A checkpoint of a public log with the cosignatures of four public witnesses, and their published
# keys (c2sp.org/signed-note verifier keys): values only.
PUBLISHED = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\N{EM DASH} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
\N{EM DASH} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\N{EM DASH} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
\N{EM DASH} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
\N{EM DASH} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
\N{EM DASH} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501  as published
PUBLISHED_KEYS = {
    "transparency.dev/DEV:witness-little-garden": "BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1": "BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de": "BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu": "BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
}
PUBLISHED_IDS = {
    "transparency.dev/DEV:witness-little-garden": "d8042a87",
    "witness1.smartit.nu/witness1": "a48c820f",
    "remora.n621.de": "da77ade7",
    "witness.stagemole.eu": "67f7aea0",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("cosigning"))


def checkpoint(world: World, size: int = 3) -> str:
    return PaperLog(world, [b"%d" % n for n in range(size)]).head(size).checkpoint


def line_of(note: str, name: str) -> str:
    (found,) = (line for line in note.split("\n") if line.split(" ")[1:2] == [name])
    return found


@pytest.mark.parametrize("name", PUBLISHED_KEYS)
def test_published_cosignatures_verify(name: str) -> None:
    """Four witnesses of a public log, which other programs made, verify under their keys."""
    kind, public = (key := base64.b64decode(PUBLISHED_KEYS[name]))[:1], key[1:]
    assert receipts.key_id(name, public, kind).hex() == PUBLISHED_IDS[name]
    line = line_of(PUBLISHED, name)
    assert verify_cosignature(line, PUBLISHED, name=name, public_key=public) == 1779573024
    with pytest.raises(Forged):
        verify_cosignature(
            line, PUBLISHED.replace("1432088532", "1432088533"), name=name, public_key=public
        )


def test_a_cosignature_says_when_and_of_what(world: World) -> None:
    """It verifies for its note, name, key and time, and for no other of them."""
    note, other = checkpoint(world), checkpoint(world, 4)
    line = cosign(note, NAME, KEY, NOW + 0.9)
    assert verify_cosignature(line, note, name=NAME, public_key=PUBLIC) == NOW
    for wrong in (
        {"checkpoint": other},
        {"name": f"{NAME}x"},
        {"public_key": bytes(32)},
        {"line": cosign(note, f"{NAME}x", KEY, NOW)},
        {"line": cosign(other, NAME, KEY, NOW)},
    ):
        with pytest.raises(Forged):
            verify_cosignature(
                **{"line": line, "checkpoint": note, "name": NAME, "public_key": PUBLIC, **wrong}  # type: ignore[arg-type]
            )


def test_a_logs_own_signature_is_no_cosignature(world: World) -> None:
    """The same key under the same name signs a note (type 0x01) without cosigning it."""
    note = receipts.sign_note("x\n1\n\n", name=NAME, private_key=KEY)
    with pytest.raises(Forged):
        verify_cosignature(line_of(note, NAME), note, name=NAME, public_key=PUBLIC)
    cosigned = with_lines(note, [cosign(note, NAME, KEY, NOW)])
    assert receipts.open_note(cosigned, name=NAME, public_key=PUBLIC) == "x\n1\n\n"
    with pytest.raises(Forged):
        only = cosigned.split("\n")
        receipts.open_note("\n".join(only[:4] + only[5:]), name=NAME, public_key=PUBLIC)


def witness_key(world: World, partner: str) -> Ed25519PrivateKey:
    from fairlead import signing

    return signing.load_signing_key(world.opened.layout.node(partner) / "witness.key")


def test_who_cosigned(world: World) -> None:
    """The directory's witnesses count, each once; strangers and wrong lines are nobody's."""
    note, other = checkpoint(world), checkpoint(world, 4)
    lines = {
        p: cosign(note, witness_name("fairlead.demo", p), witness_key(world, p), NOW)
        for p in ("customs", "police", "terminal-north")
    }
    assert cosigners(note, world.directory) == frozenset()
    wrong = [
        cosign(other, witness_name("fairlead.demo", "police"), witness_key(world, "police"), NOW),
        cosign(note, witness_name("fairlead.demo", "stranger"), KEY, NOW),
        cosign(note, witness_name("fairlead.demo", "oceanic-line"), KEY, NOW),
        cosign(note, witness_name("fairlead.demo", "customs"), witness_key(world, "customs"), 1.0),
    ]
    found = with_lines(note, [*wrong, lines["customs"], lines["terminal-north"]])
    assert cosigners(found, world.directory) == {"customs", "terminal-north"}
    assert cosigners(with_lines(found, [lines["police"]]), world.directory) == lines.keys()
    assert with_lines(found, [lines["customs"]]) == found


def test_a_full_set_of_cosignatures_fits_into_a_receipt(world: World) -> None:
    """Sixty-four witnesses under the longest names are ignored by whoever does not know them."""
    log = PaperLog(world, [b"%d" % n for n in range(9)])
    note = log.head(9).checkpoint
    keys = [Ed25519PrivateKey.generate() for _ in range(64)]
    named = [f"{'f' * 213}/witness/{n:0>32}" for n in range(64)]
    whole = with_lines(
        note, [cosign(note, name, key, NOW) for name, key in zip(named, keys, strict=True)]
    )
    assert max(map(len, named)) == 254
    gateway = world.gateway
    assert receipts.open_checkpoint(whole, gateway.log_origin, gateway.log_key).size == 9
    receipt = log.receipt(2)
    proof = receipts.parse_proof(receipt.tlog_proof)
    receipt.tlog_proof = receipts.format_proof(
        receipts.TlogProof(index=2, hashes=proof.hashes, checkpoint=whole)
    )
    head = receipts.verify_receipt(
        receipt, origin=gateway.log_origin, public_key=gateway.log_key, head=None
    )
    assert head.checkpoint == note, "evidence that is kept stays small"


@given(st.text(max_size=300), st.binary(max_size=90), st.sampled_from(["line", "note"]))
def test_any_text_is_a_cosignature_or_an_error_of_ours(text: str, blob: bytes, place: str) -> None:
    """Whatever a witness or a gateway sends, only our own errors are raised."""
    note = PUBLISHED if place == "line" else text
    for line in (text, receipts.signature_line(NAME, blob), text + "\n" + text):
        with pytest.raises((InvalidInput, Forged)):
            verify_cosignature(line, note, name=NAME, public_key=PUBLIC)
