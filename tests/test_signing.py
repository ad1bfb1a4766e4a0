"""Signatures, commitments, canonical messages and key files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.message import Message
from hypothesis import example, given
from hypothesis import strategies as st

from fairlead import signing
from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.v1 import audit_pb2, directory_pb2, query_pb2

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = signing.public_bytes(KEY)
PERSON = ec.derive_private_key(7, ec.SECP256R1())

KINDS: list[type[Message]] = [
    query_pb2.Mandate,
    query_pb2.QueryHeader,
    query_pb2.NodeStatement,
    query_pb2.SealedPart,
    query_pb2.Question,
    query_pb2.OwnerGrant,
    query_pb2.GrantStatement,
    query_pb2.AnswerHeader,
    query_pb2.AnswerBody,
    query_pb2.Outcome,
    audit_pb2.AuditLeaf,
    directory_pb2.SignedDirectory,
    directory_pb2.PartnerEntry,
]
octets = st.binary(max_size=64)
names = st.text(max_size=16)
question = st.builds(
    query_pb2.Question,
    query_id=octets,
    partner_id=names,
    partner_salt=octets,
    terms=st.lists(
        st.builds(query_pb2.QuestionTerm, scheme=names, value=names, nonce=octets), max_size=3
    ),
    since=st.integers(-(2**63), 2**63 - 1),
    until=st.integers(-(2**63), 2**63 - 1),
    events=st.lists(names, max_size=3),
)


@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=96))
@example(kind=query_pb2.OwnerGrant, data=b"\x0a\xff\xff\xff\xff\x0f")
@example(kind=query_pb2.Question, data=b"\x12\x01\xff")  # not UTF-8
@example(kind=query_pb2.SealedPart, data=b"\x0b" * 96)  # nested groups
def test_any_octets_are_one_canonical_message_or_invalid(kind: type[Message], data: bytes) -> None:
    """Whatever arrives is either exactly its own canonical encoding, or InvalidInput."""
    try:
        message = signing.parse_canonical(kind, data)
    except InvalidInput:
        return
    assert signing.canonical(message) == data


@given(question)
def test_what_is_written_is_read(message: query_pb2.Question) -> None:
    """Every message survives canonical writing and reading unchanged."""
    data = signing.canonical(message)
    assert signing.parse_canonical(query_pb2.Question, data) == message


@given(question, st.binary(min_size=1, max_size=8))
def test_nothing_can_be_appended_to_a_signed_message(
    message: query_pb2.Question, tail: bytes
) -> None:
    """One more octet behind a canonical message makes it another message or no message."""
    data = signing.canonical(message) + tail
    try:
        found = signing.parse_canonical(query_pb2.Question, data)
    except InvalidInput:
        return
    assert found != message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x20\x01", "NOT_CANONICAL", id="unknown field"),
        pytest.param(b"\x12\x01b\x0a\x01a", "NOT_CANONICAL", id="fields out of order"),
        pytest.param(b"\x0a\x01a\x0a\x01a", "NOT_CANONICAL", id="field twice"),
        pytest.param(b"\x0a\x81\x00a", "NOT_CANONICAL", id="length in two octets"),
        pytest.param(b"\x0a\x00", "NOT_CANONICAL", id="default written out"),
        pytest.param(b"\x0a\x05a", "MALFORMED", id="cut off"),
    ],
)
def test_a_second_spelling_of_the_same_content_is_refused(data: bytes, code: str) -> None:
    """Unknown fields, other orders, repetitions and longer lengths are refused by name."""
    with pytest.raises(InvalidInput) as caught:
        signing.parse_canonical(query_pb2.SealedPart, data)
    assert caught.value.code == code


def test_unknown_fields_deep_inside_are_refused() -> None:
    """An unknown field hidden in a nested message is found as well."""
    inner = signing.canonical(query_pb2.QuestionTerm(scheme="s")) + b"\x78\x01"
    data = b"\x22" + bytes([len(inner)]) + inner
    with pytest.raises(InvalidInput):
        signing.parse_canonical(query_pb2.Question, data)


def test_a_message_at_the_limit_passes_and_one_octet_more_does_not() -> None:
    """The limit counts the octets as transmitted."""
    data = signing.canonical(query_pb2.SealedPart(ciphertext=bytes(100)))
    assert signing.parse_canonical(query_pb2.SealedPart, data, limit=len(data))
    with pytest.raises(InvalidInput) as caught:
        signing.parse_canonical(query_pb2.SealedPart, data, limit=len(data) - 1)
    assert caught.value.code == "TOO_LARGE"


def test_deeply_nested_unknown_groups_are_refused_not_crashed() -> None:
    """Nesting far beyond the parser's depth is InvalidInput."""
    data = b"\x7b" * 20_000 + b"\x7c" * 20_000
    with pytest.raises(InvalidInput):
        signing.parse_canonical(query_pb2.SealedPart, data)


@given(st.binary(max_size=32), st.sampled_from(["header", "answer", "grant"]))
def test_a_signature_fits_one_key_one_domain_and_one_content(data: bytes, domain: str) -> None:
    """Another domain, another key, other content or another signature is Forged."""
    signature = signing.sign(KEY, domain, data)
    signing.verify(PUBLIC, domain, data, signature)
    other = signing.public_bytes(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    for public, where, content, claimed in (
        (PUBLIC, domain + "x", data, signature),
        (PUBLIC, domain, data + b"\x00", signature),
        (other, domain, data, signature),
        (PUBLIC, domain, data, signature[:-1]),
        (PUBLIC, domain, data, b""),
        (PUBLIC[:-1], domain, data, signature),
        (b"", domain, data, signature),
    ):
        with pytest.raises(Forged):
            signing.verify(public, where, content, claimed)


def test_a_persons_signature_fits_one_domain_and_one_content() -> None:
    """A P-256 signature over a mandate is not one over a deny list, nor over other octets."""
    signature = signing.sign_as_user(PERSON, "mandate", b"data")
    public = PERSON.public_key()
    signing.verify_as_user(public, "mandate", b"data", signature)
    for domain, data, claimed in (
        ("deny-list", b"data", signature),
        ("mandate", b"date", signature),
        ("mandate", b"data", signature + b"\x00"),
        ("mandate", b"data", b""),
    ):
        with pytest.raises(Forged):
            signing.verify_as_user(public, domain, data, claimed)


def test_domains_cannot_run_into_the_data() -> None:
    """The NUL between domain and data keeps ("a", "bc") apart from ("ab", "c")."""
    assert signing.preimage("a", b"bc") != signing.preimage("ab", b"c")
    assert signing.preimage("header", b"x") == b"fairlead/v1/header\x00x"


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=32), st.binary(max_size=32))
def test_a_commitment_binds_what_it_hides(nonce: bytes, one: bytes, other: bytes) -> None:
    """Under one nonce, equal commitments mean equal contents."""
    assert (signing.commit(nonce, one) == signing.commit(nonce, other)) == (one == other)


def test_a_saved_key_is_its_owners_alone_and_comes_back(tmp_path: Path) -> None:
    """Key files are 0600, also when they replace a readable file, and load as the same key."""
    path = tmp_path / "signing.key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    signing.save_key(path, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.public_bytes(signing.load_signing_key(path)) == PUBLIC
    signing.save_key(path, PERSON)
    assert signing.load_user_key(path).private_numbers() == PERSON.private_numbers()


@pytest.mark.parametrize("load", [signing.load_signing_key, signing.load_user_key])
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(None, "KEY_FILE", id="missing"),
        pytest.param(b"", "KEY_FILE", id="empty"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n", "KEY_FILE", id="garbage"),
        pytest.param("x25519", "KEY_KIND", id="another kind"),
    ],
)
def test_an_unusable_key_file_is_the_operators_problem(
    tmp_path: Path, load: object, content: bytes | str | None, code: str
) -> None:
    """A missing, broken or wrong key file is Misconfigured, and no path leaks into the text."""
    path = tmp_path / "secret-name.key"
    if content == "x25519":
        content = x25519.X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    if isinstance(content, bytes):
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(Misconfigured) as caught:
        load(path)  # type: ignore[operator]
    assert caught.value.code == code
    assert "secret-name" not in caught.value.diagnostics()


def test_a_user_key_is_p256_and_no_other_curve(tmp_path: Path) -> None:
    """A P-384 key does not load as a person's key: nobody would accept its signatures."""
    signing.save_key(tmp_path / "user.key", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(Misconfigured) as caught:
        signing.load_user_key(tmp_path / "user.key")
    assert caught.value.code == "KEY_KIND"
