"""A federation founded with the product's own functions, in one process and in milliseconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.authority import Issuer, create_ca
from fairlead.config import GatewayConfig, load
from fairlead.enrolment.invitation import Invitation
from fairlead.partners import PartnerKind
from fairlead.phrases import check_phrase
from gateway import changes
from gateway.books import Books
from gateway.changes import Outcome
from gateway.founding import Charter, found
from node import enrolling
from node.enrolling import Enrolled
from node.founding import Card, NodeFolder
from node.founding import found as found_node
from tests.federation import ROOT

FEDERATION = "port.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """A gateway's folder and its two operators' keys."""

    folder: Path
    invitation: Invitation
    operators: tuple[Ed25519PrivateKey, ...]

    @property
    def config(self) -> GatewayConfig:
        """The gateway's configuration."""
        return load(GatewayConfig, self.folder / "gateway.toml")

    def books(self) -> Books:
        """The books as they are now."""
        return Books.load(self.config)

    def admit(
        self, data: bytes, *, by: int, spoken: str | None = None, now: float | None = None
    ) -> Outcome:
        """Admit as operator ``by``, with the right phrase unless another is given."""
        moment = time.time() if now is None else now
        books = self.books()
        phrase = root_phrase(data) if spoken is None else spoken
        with books.desk().alone():
            outcome, _ = changes.admit(books, data, self.operators[by], spoken=phrase, now=moment)
        return outcome

    def admission(self, node: NodeFolder) -> bytes:
        """Both operators admit a node's partner; the admission file."""
        data = node.request().read_bytes()
        self.admit(data, by=0)
        assert self.admit(data, by=1).published
        return self.books().admission_file(node.request().stem).read_bytes()


def founded(folder: Path, *, now: float | None = None, listen: str = "127.0.0.1:0") -> Founded:
    """Found a federation whose operators' keys ``init`` made."""
    charter = Charter(
        federation=FEDERATION,
        name="gw-1",
        listen=listen,
        endpoint="127.0.0.1:7499",
        hosts=("127.0.0.1",),
        operators=(),
        policies=ROOT / "policies",
        agreements=(),
    )
    invitation, signed = found(folder, charter, now=time.time() if now is None else now)
    assert signed
    keys = [folder / "hand-over" / f"operator-{n}" / "operator.key" for n in (1, 2)]
    operators = tuple(signing.load_signing_key(path) for path in keys)
    return Founded(folder=folder, invitation=invitation, operators=operators)


def authority(partner: str, *, now: float | None = None) -> Issuer:
    """A user authority for ``partner``."""
    return create_ca(
        common_name=f"{partner} user authority",
        now=time.time() if now is None else now,
        lifetime=timedelta(days=30),
        server_name=f"authority.{partner}.{FEDERATION}",
    )


def card(partner: str = "customs", **changes: object) -> Card:
    """How a partner describes itself."""
    settings: dict[str, object] = {
        "partner_id": partner,
        "display_name": partner.title(),
        "kind": PartnerKind.CUSTOMS,
        "country": "NL",
        "contact_desk": f"desk@{partner}",
        "schemes": ("container",),
        "listen": "127.0.0.1:0",
        "endpoint": "127.0.0.1:7498",
        "hosts": ("127.0.0.1",),
    }
    return Card(**{**settings, **changes})  # type: ignore[arg-type]


def node(
    folder: Path,
    invitation: Invitation,
    partner: str = "customs",
    *,
    issuer: Issuer | None = None,
    now: float | None = None,
) -> NodeFolder:
    """A node's folder with its request."""
    moment = time.time() if now is None else now
    place = NodeFolder(root=folder)
    made = issuer or authority(partner, now=moment)
    found_node(place, card(partner), invitation, made.certificate, now=moment)
    return place


def enrol(place: NodeFolder, admission: bytes, *, now: float | None = None) -> Enrolled:
    """Take up an admission on the operators' word for every pin."""
    moment = time.time() if now is None else now
    return enrolling.enrol(place, admission, trust_operators_pins=True, now=moment)


def root_phrase(data: bytes) -> str:
    """What the partner would read: the phrase of the root that a request claims."""
    from fairlead.v1 import directory_pb2, enrolment_pb2

    signed = enrolment_pb2.SignedEnrolmentRequest.FromString(data)
    request = enrolment_pb2.EnrolmentRequest.FromString(signed.request)
    entry = directory_pb2.PartnerEntry.FromString(request.entry.entry)
    return check_phrase(signing.digest(entry.root_key))
