"""The signed front of a query: what was asked, by whom, why, and who let it go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.verifier.anchors import SKEW, Listing, committed, require_signed, sha256, unpacked
from fairlead.verifier.finding import EvidenceFailed, naming, require
from fairlead.verifier.people import Somebody, somebody
from fairlead.verifier.tree import leaf_of, require_included, root_over
from fairlead.verifier.wire import Content, read_message, write_message

SEALED_MODE, BLIND_MODE = 1, 2
DAY = 24 * 3600
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_LIMITS = "breaks a limit of what may be asked"


@dataclass(frozen=True)
class Front:
    """A query whose every signature and binding verified."""

    signed: Content
    mandate: Content
    header: Content
    statement: Content
    listing: Listing
    user: Somebody
    approvers: tuple[str, ...]

    @property
    def header_digest(self) -> bytes:
        """SHA-256 of the signed header."""
        return sha256(self.signed["header"])

    @property
    def blind(self) -> bool:
        """Whether its owners saw no term."""
        return bool(self.mandate["mode"] == BLIND_MODE)

    @property
    def chunk_size(self) -> int:
        """Terms in every chunk but the last."""
        return 1024 if self.blind else 512

    @property
    def chunks(self) -> int:
        """Chunks of the whole mandate."""
        return int(-(-self.mandate["term_count"] // self.chunk_size))


def front_of(octets: bytes, listings: Mapping[int, Listing]) -> Front:
    """Verify a query's front, at the time it was made. The numbers are those of docs/protocol.md.

    1. The messages are canonical, of this federation, under a directory that is in the file and was
       in force.
    2. The user's certificate is the mandate's.
    3. The user signed the mandate.
    4. It is within its limits.
    5. Its session key signed the header, which is of this mandate, at its place in it.
    6. The asker's node vouches for the case, the user and the instrument,
    7. and for its guard.
    8. Enough second persons approved.

    :raises EvidenceFailed: any of it is wrong.
    """
    # 1
    signed = read_message("SignedQuery", octets)
    mandate = read_message("Mandate", signed["mandate"])
    header = read_message("QueryHeader", signed["header"])
    statement = read_message("NodeStatement", signed["statement"])
    require(header["directory_serial"] in listings, "is under a directory that is not in this file")
    listed, now = listings[header["directory_serial"]], header["issued_at"]
    require(mandate["federation"] == listed.federation, "is of another federation")
    listed.require_in_force(now)
    asker = listed.partner(mandate["partner_id"])
    # 2
    digest = sha256(signed["user_certificate"])
    require(digest == mandate["user_certificate_digest"], "names another certificate")
    user = somebody(signed["user_certificate"], listed, now)
    require(user.partner_id == mandate["partner_id"], "is not by a user of the asker")
    require(not user.responsible or set(mandate["schemes"]) <= user.schemes, _LIMITS)
    # 3
    with naming("mandate"):
        user.require_signature("mandate", signed["mandate"], signed["mandate_signature"])
        # 4
        _require_mandate(mandate, listed, now)
    # 5
    with naming("header"):
        session, signature = mandate["session_key"], signed["session_signature"]
        require_signed(session, "header", signed["header"], signature, "the mandate's session key")
        _require_header(header, mandate, sha256(signed["mandate"]), listed)
    # 6 and 7
    with naming("statement"):
        node, signature = asker["signing_key"], signed["statement_signature"]
        require_signed(node, "statement", signed["statement"], signature, "the asker's node")
        _require_statement(statement, header, mandate, sha256(signed["header"]))
    # 8
    approvers = _approvers(signed, mandate, user, listed, now)
    require(len(approvers) >= mandate["required_approvals"], "lacks a second person's approval")
    return Front(signed, mandate, header, statement, listed, user, approvers)


def require_case(front: Front, case: Mapping[str, Any]) -> None:
    """The query is of this case: its commitments open with the case's nonce.

    :raises EvidenceFailed: it is of another, or says something else of its legal instrument.
    """
    nonce = unpacked(case["nonce"])
    commitment = committed(nonce, str(case["case_id"]).encode())
    require(front.mandate["case_commitment"] == commitment, "is of another case")
    same = (front.mandate["purpose"], front.mandate["legal_basis"]) == (
        case["purpose"], case["legal_basis"],
    )  # fmt: skip
    require(same, "has another purpose or legal basis than its case")
    vouched, instrument = front.statement["instrument"], case["instrument"]
    require((vouched is None) == (instrument is None), "has another legal instrument than its case")
    if vouched is not None and instrument is not None:
        told = [instrument["kind"], instrument["authority"], instrument["valid_until"],
                committed(nonce, str(instrument["reference"]).encode())]  # fmt: skip
        said = [vouched[key] for key in ("kind", "authority", "valid_until", "commitment")]
        require(said == told, "has another legal instrument than its case")


def require_terms(
    front: Front, terms: Sequence[Sequence[str]], seed: bytes, scope: Mapping[str, Any]
) -> None:
    """These terms in this scope are what the user signed for at this chunk's place.

    :raises EvidenceFailed: other terms, or another scope.
    """
    first = front.header["chunk"] * front.chunk_size
    leaves = []
    for place, (scheme, value) in enumerate(terms, first):
        nonce = hashlib.blake2b(
            place.to_bytes(4, "big"), key=seed, digest_size=32, person=b"fairlead/nonce"
        ).digest()
        leaf = {"scheme": scheme, "value": value, "nonce": nonce, **scope}
        leaves.append(leaf_of(write_message("TermLeaf", leaf)))
    same = len(leaves) == front.header["term_count"]
    require(same and root_over(leaves) == front.header["chunk_root"], "is not what the user signed")


def require_wanted(front: Front, partner: str, salt: bytes) -> None:
    """:raises EvidenceFailed: the user's mandate does not say that this partner is asked."""
    said = b"\x00".join((b"asked", partner.encode(), front.mandate["mandate_id"]))
    digest = front.mandate["partner_digests"][front.listing.place(partner)]
    require(digest == committed(salt, said), "is not named by the user's mandate")


def _require_id(value: bytes) -> None:
    require(len(value) == 16 and value[6] >> 4 == 7 and value[8] >> 6 == 2, "has a malformed id")


def _require_mandate(mandate: Content, listed: Listing, now: int) -> None:
    _require_id(mandate["mandate_id"])
    schemes, issued = mandate["schemes"], mandate["issued_at"]
    words = [mandate["purpose"], mandate["legal_basis"], *schemes]
    require(all(_CODE.fullmatch(word) for word in words), _LIMITS)
    require(0 < len(schemes) <= 16 and schemes == sorted(set(schemes)), _LIMITS)
    require(mandate["mode"] in (SEALED_MODE, BLIND_MODE), _LIMITS)
    sizes = [mandate["terms_root"], mandate["case_commitment"], mandate["session_key"],
             *mandate["partner_digests"]]  # fmt: skip
    require({len(value) for value in sizes} == {32}, _LIMITS)
    require(len(mandate["partner_digests"]) == len(listed.listed), _LIMITS)
    most = 1024 * 1024 if mandate["mode"] == BLIND_MODE else 128 * 512
    require(0 < mandate["term_count"] <= most and mandate["required_approvals"] <= 5, _LIMITS)
    require(0 < mandate["expires_at"] - issued <= DAY, _LIMITS)
    require(issued - SKEW <= now < mandate["expires_at"], "was not in force")


def _require_header(
    header: Content, mandate: Content, mandate_digest: bytes, listed: Listing
) -> None:
    _require_id(header["query_id"])
    require(header["mandate_digest"] == mandate_digest, "is of another mandate")
    digests = header["part_digests"]
    require(len(digests) == len(listed.listed) and {*map(len, digests)} <= {32}, _LIMITS)
    require(len(header["reply_key"]) == 1216 and len(header["detail_digest"]) == 32, _LIMITS)
    blind = mandate["mode"] == BLIND_MODE
    size = 1024 if blind else 512
    left = mandate["term_count"] - header["chunk"] * size
    require(0 < header["term_count"] == min(size, left), "is not of its mandate's terms")
    least = header["term_count"] if blind else 0
    require(least <= header["element_count"] <= (4096 if blind else 0), _LIMITS)
    with naming("terms"):
        chunks = -(-mandate["term_count"] // size)
        root, path = header["chunk_root"], header["chunk_path"]
        require_included(root, header["chunk"], chunks, path, mandate["terms_root"])


def _require_statement(
    statement: Content, header: Content, mandate: Content, header_digest: bytes
) -> None:
    said = [statement[key] for key in ("query_id", "header_digest", "mandate_digest",
            "partner_id", "case_commitment")]  # fmt: skip
    meant = [header["query_id"], header_digest, header["mandate_digest"], mandate["partner_id"],
             mandate["case_commitment"]]  # fmt: skip
    require(said == meant, "is about another query")
    require(abs(statement["issued_at"] - header["issued_at"]) <= SKEW, "is of another time")
    vouches = all(statement[key] for key in ("case_open", "user_assigned", "guard_passed"))
    require(vouches, "does not vouch for an open case, its user and the guard")


def _approvers(
    signed: Content, mandate: Content, user: Somebody, listed: Listing, now: int
) -> tuple[str, ...]:
    require(len(signed["approvals"]) <= 5, _LIMITS)
    found: list[str] = []
    for number, item in enumerate(signed["approvals"], 1):
        with naming(f"approval {number}"):
            approval = read_message("Approval", item["approval"])
            bound = (approval["mandate_digest"], approval["partner_id"])
            meant = (sha256(signed["mandate"]), mandate["partner_id"])
            require(bound == meant, "is of another mandate")
            digest = sha256(item["certificate"])
            require(digest == approval["approver_certificate_digest"], "names another certificate")
            person = somebody(item["certificate"], listed, now)
            own = person.partner_id == mandate["partner_id"] and not person.responsible
            require(own and "approver" in person.roles, "is not by an approver of the asker")
            second = person.spiffe_id != user.spiffe_id and person.name != user.responsible
            require(second and person.spiffe_id not in found, "is not by a second person")
            person.require_signature("approval", item["approval"], item["signature"])
            begins, ends = approval["issued_at"], approval["expires_at"]
            within = mandate["issued_at"] - SKEW <= begins and ends <= mandate["expires_at"]
            require(within and 0 < ends - begins <= DAY, _LIMITS)
            if not begins - SKEW <= now < ends:
                raise EvidenceFailed("was not in force")
            found.append(person.spiffe_id)
    return tuple(found)
