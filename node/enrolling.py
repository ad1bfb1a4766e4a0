"""Taking up the operators' admission: everything is verified before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.authority import save_certificate
from fairlead.enrolment.admission import Admission, read_admission
from fairlead.enrolment.invitation import Invitation, compare
from fairlead.enrolment.request import Request, read_request
from fairlead.errors import Conflict, InvalidInput
from fairlead.keyfile import write_private
from fairlead.policy.bundle import load_bundle, write_bundle
from fairlead.signing import digest
from fairlead.trust import Trust
from node.founding import NodeFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What was taken up; ``pins`` are the other partners' roots."""

    request: Request
    admission: Admission
    pins: Mapping[str, bytes]


def read(folder: NodeFolder, data: bytes, *, now: float) -> tuple[Request, Admission, Invitation]:
    """Verify an admission against this folder's invitation and request; writes nothing.

    :raises FairleadError: see :func:`read_request` and :func:`read_admission`.
    """
    invitation = Invitation.load(folder.invitation)
    request = read_request(folder.request().read_bytes(), federation=invitation.federation, now=now)
    admission = read_admission(data, request=request, invitation=invitation, now=now)
    return request, admission, invitation


def used_before(folder: NodeFolder, data: bytes) -> bool:
    """Say whether this very admission enrolled this node.

    :raises Conflict: ADMISSION_USED: another one did.
    """
    if not folder.used.exists():
        return False
    if folder.used.read_text("ascii") != digest(data).hex():
        raise Conflict(
            "this node is enrolled already, by another admission; nothing was changed",
            reasons=("ADMISSION_USED",),
            remedy=f"fairlead-node check --config {folder.config}",
        )
    return True


def enrol(
    folder: NodeFolder,
    data: bytes,
    *,
    spoken: Sequence[str] = (),
    trust_operators_pins: bool = False,
    now: float,
) -> Enrolled:
    """Take up an admission.

    1. No admission enrolled this node before.
    2. The admission verifies.
    3. The other partners' roots: those compared by telephone, each phrase behind its partner's
       id; all others only where the caller takes the operators' word for them.
    4. The policy bundle verifies.
    5. Pins, directory, deny lists, policy and certificate are written, the mark of use last.

    :param spoken: ``"<partner> <check phrase>"`` for each partner that was telephoned.
    :raises Conflict: ADMISSION_USED. :raises InvalidInput: a phrase was misheard.
    :raises Forged: ROOT_PHRASE, or the admission is another's.
    """
    # 1
    if used_before(folder, data):
        raise Conflict(
            "this admission was used before; nothing was changed",
            reasons=("ADMISSION_USED",),
            remedy=f"fairlead-node check --config {folder.config}",
        )
    # 2
    request, admission, invitation = read(folder, data, now=now)
    # 3
    pins = _pins(admission.vouched, spoken, trust_operators_pins=trust_operators_pins)
    # 4
    fresh = folder.root / ".policy"
    shutil.rmtree(fresh, ignore_errors=True)
    write_bundle(admission.policy, fresh)
    load_bundle(fresh, invitation.policy_officers, 0, now)
    # 5
    own = request.partner.partner_id
    Trust(
        federation=invitation.federation,
        operators=invitation.operators,
        policy_officers=invitation.policy_officers,
        roots={**pins, own: request.root_fingerprint},
    ).save(folder.federation / "pins.toml")
    write_private(folder.federation / "directory.bin", admission.directory_octets)
    write_private(folder.federation / "deny-lists.bin", admission.deny_lists)
    shutil.rmtree(folder.root / "policy", ignore_errors=True)
    fresh.rename(folder.root / "policy")
    save_certificate(folder.keys / "tls.pem", admission.certificate)
    write_private(folder.used, admission.digest.hex().encode())
    return Enrolled(request=request, admission=admission, pins=pins)


def _pins(
    vouched: Mapping[str, bytes], spoken: Sequence[str], *, trust_operators_pins: bool
) -> dict[str, bytes]:
    compared: dict[str, bytes] = {}
    for text in spoken:
        partner, _, words = text.strip().partition(" ")
        if partner not in vouched:
            raise InvalidInput(
                "a phrase begins with the id of a listed partner",
                reasons=("UNKNOWN_PARTNER",),
                remedy='for example --phrase "customs word word …"',
            )
        compare(words, vouched[partner], code="ROOT_PHRASE")
        compared[partner] = vouched[partner]
    return {**vouched, **compared} if trust_operators_pins else compared
