"""Two operators, one change: the first signs a draft, the second completes it.

A draft lies in the gateway's state. The second operator's program derives every octet of it anew
from the federation's books before it signs, so whoever edits a draft spoils it and gains nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import FairleadError, Refused
from fairlead.keyfile import private_folder, write_private
from fairlead.partners import OPERATOR_QUORUM, sign_as_operator
from fairlead.v1 import directory_pb2, enrolment_pb2

DRAFT_LIFETIME_S = 7 * 86_400
MAX_DRAFT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of the federation, before anybody signed it.

    ``derive`` returns what to sign, as domain → octets, for the time it was drafted at and, when
    there is one, the first operator's draft; it raises when that draft cannot be right.
    """

    kind: str
    subject: str
    basis: bytes
    derive: Callable[[int, enrolment_pb2.Draft | None], Mapping[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What one operator's signature led to. ``complete``: the second has signed too."""

    draft: enrolment_pb2.Draft
    complete: bool
    again: bool
    """The same operator signed before: nothing changed."""

    def part(self, domain: str) -> tuple[bytes, Sequence[directory_pb2.OperatorSignature]]:
        """Octets and signatures of one part."""
        part = next(part for part in self.draft.parts if part.domain == domain)
        return part.content, part.signatures


class DraftDesk:
    """The drafts in one gateway's state folder; one command at a time."""

    def __init__(self, folder: Path, operators: Sequence[bytes]) -> None:
        """:param operators: raw Ed25519 keys of those who may sign."""
        self._folder = folder
        self._operators = {signing.digest(key): key for key in operators}

    def sign(self, change: Change, key: Ed25519PrivateKey, *, now: float) -> Signed:
        """Sign a change as one operator.

        1. The key is a known operator's.
        2. A draft of the same change that is young, derives anew to the same octets and carries
           another operator's valid signature is completed; any other is started over.
        3. Every part is signed.

        :raises Refused: OPERATOR_UNKNOWN.
        """
        # 1
        own = signing.digest(signing.public_bytes(key))
        if own not in self._operators:
            raise Refused(
                "this key is no operator's of this federation",
                reasons=("OPERATOR_UNKNOWN",),
                remedy="use the key file of one of the operators in pins.toml: --operator FILE",
            )
        # 2
        draft = self._usable(change, now)
        if draft is None:
            draft = _draft(change, int(now))
        signers = {item.key_id for item in draft.parts[0].signatures}
        again = own in signers
        # 3
        if not again:
            for part in draft.parts:
                part.signatures.append(sign_as_operator(key, part.domain, part.content))
            signers.add(own)
            write_private(self._path(change), signing.canonical(draft))
        complete = len(signers) >= OPERATOR_QUORUM
        return Signed(draft=draft, complete=complete, again=again and not complete)

    def pending(self) -> list[enrolment_pb2.Draft]:
        """Every draft that waits for its second operator."""
        found = []
        for path in sorted(self._folder.glob("*.draft")):
            try:
                found.append(
                    signing.parse_canonical(enrolment_pb2.Draft, path.read_bytes(), limit=MAX_DRAFT)
                )
            except (FairleadError, OSError):
                continue
        return found

    def drop(self, change: Change) -> None:
        """Forget a draft that was published."""
        self._path(change).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other operator's command out meanwhile."""
        private_folder(self._folder)
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _path(self, change: Change) -> Path:
        return self._folder / f"{'-'.join(filter(None, (change.kind, change.subject)))}.draft"

    def _usable(self, change: Change, now: float) -> enrolment_pb2.Draft | None:
        try:
            draft = signing.parse_canonical(
                enrolment_pb2.Draft, self._path(change).read_bytes(), limit=MAX_DRAFT
            )
            named = (draft.kind, draft.subject, draft.basis)
            young = draft.drafted_at <= now + 120 and now < draft.drafted_at + DRAFT_LIFETIME_S
            if named != (change.kind, change.subject, change.basis) or not young:
                return None
            derived = change.derive(draft.drafted_at, draft)
            if derived != {part.domain: part.content for part in draft.parts}:
                return None
            for part in draft.parts:
                for item in part.signatures:
                    known = self._operators[item.key_id]
                    signing.verify(known, part.domain, part.content, item.signature)
            signers = [{item.key_id for item in part.signatures} for part in draft.parts]
            return draft if all(each == signers[0] for each in signers) else None
        except (FairleadError, OSError, KeyError):
            return None


def _draft(change: Change, now: int) -> enrolment_pb2.Draft:
    parts = [
        enrolment_pb2.DraftPart(domain=domain, content=content)
        for domain, content in change.derive(now, None).items()
    ]
    return enrolment_pb2.Draft(
        kind=change.kind, subject=change.subject, basis=change.basis, drafted_at=now, parts=parts
    )
