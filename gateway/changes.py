"""What operators change together: admit, update, suspend, resume, renew.

Each function derives what two operators sign from the books and from what was asked, and
publishes it once the second has signed. Nothing here signs with any key but the operator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import signing
from fairlead.appointed import Appointed
from fairlead.authority import issue_node
from fairlead.enrolment import admission
from fairlead.enrolment.invitation import compare
from fairlead.enrolment.request import Request, read_request
from fairlead.errors import Conflict, Forged, InvalidInput
from fairlead.keyfile import write_private
from fairlead.names import reason_code
from fairlead.partners import Partner
from fairlead.v1 import directory_pb2, enrolment_pb2
from gateway.books import Books
from gateway.drafts import Change, Signed

NODE_LIFETIME = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command did: published, or drafted for the second operator, or nothing new."""

    published: bool
    again: bool
    serial: int


def admit(
    books: Books, data: bytes, key: Ed25519PrivateKey, *, spoken: str, now: float
) -> tuple[Outcome, Request]:
    """Admit a partner, or complete its admission as the second operator.

    1. The request verifies and is in force.
    2. The phrase read over the telephone is the one of its root.
    3. The partner is not listed yet, or by exactly this entry, which changes nothing.
    4. Certificate, directory with the next serial and admission are signed as a draft.
    5. Once two have signed: pin, admission file, directory.

    :param spoken: the check phrase as the partner read it.
    :raises Forged: ROOT_PHRASE, or the request does not verify. :raises Stale: it has expired.
    :raises Conflict: ALREADY_LISTED under another entry.
    """
    # 1
    request = read_request(data, federation=books.directory.federation, now=now)
    partner_id = request.partner.partner_id
    # 2
    compare(spoken, request.root_fingerprint, code="ROOT_PHRASE")
    # 3
    listed = books.entries().get(partner_id)
    if listed is not None:
        if listed == request.entry and books.admission_file(partner_id).exists():
            return Outcome(published=True, again=True, serial=books.directory.serial), request
        raise Conflict(
            "the directory lists this partner under another entry",
            reasons=("ALREADY_LISTED",),
            remedy="fairlead-gateway partner update ENTRY --operator FILE   (a later entry)",
        )
    # 4
    pins = {**books.trust.roots, partner_id: request.root_fingerprint}

    def derive(at: int, draft: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        certificate = _certificate(books, request, at, draft)
        directory = books.next_directory(at, {**books.entries(), partner_id: request.entry})
        content = admission.draft_admission(
            request, certificate=certificate, directory=directory, pins=pins, now=at
        )
        return {"directory": directory, admission.DOMAIN: content}

    change = Change(kind="admit", subject=partner_id, basis=request.digest, derive=derive)
    signed = books.desk().sign(change, key, now=now)
    # 5
    if signed.complete:
        books.pin(partner_id, request.root_fingerprint)
        _hand_out(books, partner_id, signed)
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed), request


def update(books: Books, data: bytes, key: Ed25519PrivateKey, *, now: float) -> Outcome:
    """List a partner's next entry, for another key or endpoint; its root stays.

    :raises Forged: not under the pinned root, or it does not follow the listed entry.
    :raises NotFound: the partner is not listed.
    """
    entry = signing.parse_canonical(directory_pb2.SignedPartnerEntry, data, limit=64 * 1024)
    claimed = signing.parse_canonical(directory_pb2.PartnerEntry, entry.entry)
    old = books.partner(claimed.partner_id)
    new = Partner.from_signed(entry, books.trust.roots[old.partner_id])
    if old.entry_digest == new.entry_digest:
        return Outcome(published=True, again=True, serial=books.directory.serial)
    follows = new.sequence == old.sequence + 1 and claimed.previous_digest == old.entry_digest
    if not follows:
        raise Forged("a partner's entry does not follow its predecessor", reasons=("ENTRY_CHAIN",))

    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        entries = {**books.entries(), new.partner_id: entry}
        return {"directory": books.next_directory(at, entries)}

    change = Change(
        kind="update", subject=new.partner_id, basis=signing.digest(data), derive=derive
    )
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed)


def suspend(
    books: Books,
    partner_id: str,
    key: Ed25519PrivateKey,
    *,
    resume: bool = False,
    reason: str = "",
    now: float,
) -> Outcome:
    """Put every node of a partner on the operators' deny list, or take them off it.

    :param reason: a code that both operators state; it is part of what they agree on.
    :raises NotFound: the partner is not listed. :raises InvalidInput: REASON.
    """
    if reason_code(reason) != reason:
        raise InvalidInput(
            "a reason is a code of upper-case words",
            reasons=("REASON",),
            remedy="for example --reason KEY_STOLEN",
        )
    own = {node.spiffe_id for node in books.partner(partner_id).nodes}
    denied = set(books.denied.spiffe_ids)
    wanted = denied - own if resume else denied | own
    if wanted == denied:
        return Outcome(published=True, again=True, serial=books.denied.serial)

    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        return {"deny-list": books.next_deny_list(at, wanted)}

    kind = "resume" if resume else "suspend"
    change = Change(
        kind=kind, subject=partner_id, basis=signing.digest(reason.encode()), derive=derive
    )
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_deny_list(signed)
        books.desk().drop(change)
    return outcome(books, signed, serial=books.denied.serial + 1)


def renew(books: Books, key: Ed25519PrivateKey, *, now: float) -> Outcome:
    """Sign the same directory and the same deny list for longer, with their next serials."""

    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        return {"directory": books.next_directory(at), "deny-list": books.next_deny_list(at)}

    change = Change(kind="renew", subject="", basis=b"", derive=derive)
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_deny_list(signed)
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed)


def appoint(books: Books, wanted: Appointed, key: Ed25519PrivateKey, *, now: float) -> Outcome:
    """Appoint another audit committee, other witnesses, or both; nothing else changes.

    :raises InvalidInput: APPOINTED: somebody is no partner, or the numbers do not fit.
    """
    content = directory_pb2.Directory()
    wanted.put(content)
    Appointed.from_wire(content, sorted(books.entries()))

    def derive(at: int, _: enrolment_pb2.Draft | None) -> Mapping[str, bytes]:
        return {"directory": books.next_directory(at, appointed=wanted)}

    basis = signing.digest(signing.canonical(content))
    change = Change(kind="appoint", subject="", basis=basis, derive=derive)
    signed = books.desk().sign(change, key, now=now)
    if signed.complete:
        books.publish_directory(signed)
        books.desk().drop(change)
    return outcome(books, signed)


def outcome(books: Books, signed: Signed, *, serial: int | None = None) -> Outcome:
    """What a command did, as it tells the operator.

    :param serial: of what is signed; by default the next directory's.
    """
    following = books.directory.serial + 1 if serial is None else serial
    return Outcome(published=signed.complete, again=signed.again, serial=following)


def _certificate(
    books: Books, request: Request, at: int, draft: enrolment_pb2.Draft | None
) -> bytes:
    """The node's certificate: the first operator's, when it is right, else a new one.

    :raises Forged: the draft's certificate is not the CA's for this key and this node.
    """
    ca = books.certificate_authority()
    if draft is None:
        issued = issue_node(
            ca,
            federation=books.directory.federation,
            partner_id=request.partner.partner_id,
            name=request.node.name,
            public_key=request.public_key,
            hosts=request.hosts,
            now=at,
            lifetime=NODE_LIFETIME,
        )
        return issued.public_bytes(Encoding.DER)
    part = next(part for part in draft.parts if part.domain == admission.DOMAIN)
    content = signing.parse_canonical(enrolment_pb2.Admission, part.content)
    try:
        certificate = x509.load_der_x509_certificate(content.certificate)
        certificate.verify_directly_issued_by(ca.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        right = uris == [str(request.node)] and certificate.public_key() == request.public_key
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        right = False
    if not right:
        raise Forged("a draft's certificate is another's", reasons=("DRAFT_CERTIFICATE",))
    return content.certificate


def _hand_out(books: Books, partner_id: str, signed: Signed) -> None:
    content, signatures = signed.part(admission.DOMAIN)
    directory, approvals = signed.part("directory")
    octets = signing.canonical(
        directory_pb2.SignedDirectory(directory=directory, signatures=approvals)
    )
    data = admission.make_admission(
        content,
        signatures,
        directory=octets,
        deny_lists=books.config.deny_lists.read_bytes(),
        policy=books.policy_files(),
    )
    write_private(books.admission_file(partner_id), data)
