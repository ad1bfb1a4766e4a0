"""Joining: what travels between a newcomer, the operators and their telephones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from fairlead import signing
from fairlead.enrolment.admission import DOMAIN, read_admission
from fairlead.enrolment.invitation import Invitation
from fairlead.enrolment.request import read_request
from fairlead.partners import sign_as_operator
from fairlead.phrases import check_phrase, parse_phrase
from fairlead.v1 import enrolment_pb2
from tests.founders import founded, node
from tests.fuzz.target import Target, text


def targets(folder: Path) -> Iterator[Target]:
    """Every parser of enrolment; ``folder`` takes a small federation."""
    made = founded(folder / "gateway")
    place = node(folder / "node", made.invitation)
    now = time.time()
    request = place.request().read_bytes()
    admission = made.admission(place)
    asked = read_request(request, federation=made.invitation.federation, now=now)
    content = enrolment_pb2.SignedAdmission.FromString(admission)

    def admitted(octets: bytes) -> object:
        """Any admission under both operators' signatures."""
        signed = enrolment_pb2.SignedAdmission()
        signed.CopyFrom(content)
        signed.admission = octets
        del signed.signatures[:]
        signed.signatures.extend(sign_as_operator(key, DOMAIN, octets) for key in made.operators)
        return received(signing.canonical(signed))

    def received(octets: bytes) -> object:
        return read_admission(octets, request=asked, invitation=made.invitation, now=now)

    federation = made.invitation.federation
    yield Target(
        name="enrolment-request",
        seeds=[request],
        attempt=lambda data: read_request(data, federation=federation, now=now),
    )
    yield Target(name="admission", seeds=[content.admission], attempt=admitted)
    yield Target(name="signed-admission", seeds=[admission], attempt=received)
    yield Target(name="invitation", seeds=[made.invitation.render()], attempt=Invitation.parse)
    phrase = check_phrase(signing.digest(b"somebody"))
    yield Target(name="phrase", seeds=[phrase.encode()], attempt=text(parse_phrase))
