"""A question about figures, and who asked it: the signed front of a strategic query.

The user signs the question, the user's node signs that its own policy agreed. Gateway and node run
the same steps; neither believes the other's verification.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.certificates import Identity, IdentityKind, identity_from_certificate
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period
from fairlead.cubes.registry import Registry
from fairlead.envelope.query import CLOCK_REMEDY, WINDOW_S, Identify, check_id, check_member, uuid7
from fairlead.errors import Forged, InvalidInput, Stale
from fairlead.names import check_code
from fairlead.partners import DenyLists, Directories, Directory, Partner
from fairlead.v1 import statistics_pb2 as pb

QUESTION, STATEMENT = "figures-question", "figures-statement"
"""Domains of the user's and of the node's signature."""
MAX_LEVEL = 600
MAX_PERIOD = 16
_LIMIT = 4096
_DIGEST = 32

Said = TypeVar("Said", pb.FiguresQuestion, pb.FiguresStatement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a question is about, found in a registry; ``period`` is in the level's own units."""

    cube: Cube
    level: Level
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A question that its user signed: what a node has before its own policy said anything.

    ``cube``, ``level`` and ``period`` are as they were spelled; :meth:`wanted` finds them.
    """

    question_id: bytes
    directory: Directory = field(repr=False)
    """The one in which asker and user were found."""
    asker: Partner
    user: Identity
    purpose: str
    cube: str
    cube_version: int
    registry_digest: bytes
    level: str
    period: str
    issued_at: int
    digest: bytes
    """SHA-256 of the question as signed."""
    signature: bytes

    def wanted(self, registry: Registry, now: float) -> Wanted:
        """What it is about.

        :raises Stale: CUBE_VERSION: it was asked by another registry than this one.
        :raises InvalidInput: CUBE_UNKNOWN, LEVEL_UNKNOWN; PERIOD_MALFORMED: another spelling than
            the one in the level's units, too; PERIOD_STEP, PERIOD_TOO_LONG; PERIOD_OPEN.
        """
        check_registry(self.registry_digest, registry)
        cube = registry.cube(self.cube)
        level = cube.level(self.level)
        period = level.period(self.period)
        if cube.version != self.cube_version:
            raise other_cube()
        if period.spelling != self.period:
            raise InvalidInput(
                "a question's period is not in its one spelling", reasons=("PERIOD_MALFORMED",)
            )
        period.check_closed(now)
        return Wanted(cube=cube, level=level, period=period)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Signed):
    """A question whose every signature and binding verified."""

    policy_serial: int
    """Of the policy under which the asker's node agreed."""
    statement_signature: bytes

    @property
    def signatures(self) -> list[bytes]:
        """What makes its leaves evidence: the user's and the node's."""
        return [self.signature, self.statement_signature]


def other_cube() -> Stale:
    """The error of whoever counts by another registry."""
    return Stale(
        "the cube is not the one of the policy in force here",
        reasons=("CUBE_VERSION",),
        remedy="ask again once every node has the newest policy: fairlead stats list",
    )


def check_registry(digest: bytes, registry: Registry) -> None:
    """:raises Stale: CUBE_VERSION: it is another registry's digest."""
    if digest != registry.digest:
        raise other_cube()


# ── Asking ───────────────────────────────────────────────────────────────────────────────────


def draft_question(
    *,
    federation: str,
    partner_id: str,
    user_certificate: bytes,
    purpose: str,
    cube: Cube,
    registry_digest: bytes,
    level: Level,
    period: Period,
    now: float,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Draft the canonical octets that a user signs.

    :param period: in any units that the level has; it is spelled in the level's own.
    :raises InvalidInput: PERIOD_STEP, PERIOD_TOO_LONG.
    """
    return signing.canonical(
        pb.FiguresQuestion(
            federation=federation,
            question_id=uuid7(now, random),
            partner_id=partner_id,
            user_certificate_digest=signing.digest(user_certificate),
            purpose=purpose,
            cube=cube.id,
            cube_version=cube.version,
            registry_digest=registry_digest,
            level=level.name,
            period=period.at(level.time).spelling,
            issued_at=int(now),
        )
    )


def sign_question(question: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """The user's signature on it."""
    return signing.sign_as_user(key, QUESTION, question)


def make_statement(
    question: bytes,
    signature: bytes,
    user_certificate: bytes,
    *,
    key: Ed25519PrivateKey,
    directory_serial: int,
    policy_serial: int,
    now: float,
) -> pb.SignedFiguresQuestion:
    """A signed question as transmitted: the user's node adds that its own policy agreed.

    :param key: the partner's signing key.
    """
    statement = signing.canonical(
        pb.FiguresStatement(
            question_digest=signing.digest(question),
            partner_id=pb.FiguresQuestion.FromString(question).partner_id,
            policy_serial=policy_serial,
            directory_serial=directory_serial,
            issued_at=int(now),
        )
    )
    return pb.SignedFiguresQuestion(
        question=question,
        signature=signature,
        user_certificate=user_certificate,
        statement=statement,
        statement_signature=signing.sign(key, STATEMENT, statement),
    )


# ── Verifying ────────────────────────────────────────────────────────────────────────────────


def verify_signed(
    question: bytes,
    signature: bytes,
    user_certificate: bytes,
    *,
    directory: Directory,
    deny_lists: DenyLists | None,
    now: float,
    identify: Identify = identity_from_certificate,
) -> Signed:
    """Verify a question as its user's own node does, before it says anything.

    1. It is canonical, well formed, and of this federation.
    2. The user's certificate is the one it names, in force, issued by the user authority of the
       asker, and not denied.
    3. The user signed it.
    4. It is fresh.

    :raises Forged: a signature or binding is wrong. :raises InvalidInput: malformed.
    :raises Stale: outside its window. :raises NotFound: UNKNOWN_PARTNER, ROOT_UNPINNED.
    :raises Unauthenticated: the certificate is not acceptable.
    """
    # 1
    said = _read(pb.FiguresQuestion, question)
    _check_form(said, directory)
    asker = directory.partner(said.partner_id)
    # 2
    if signing.digest(user_certificate) != said.user_certificate_digest:
        raise Forged("a question names another certificate", reasons=("USER_CERTIFICATE",))
    user = identify(user_certificate, directory=directory, now=now)
    if user.kind is not IdentityKind.USER or user.partner_id != said.partner_id:
        raise Forged("a question's certificate is not a user of the asker", reasons=("USER",))
    if deny_lists is not None:
        deny_lists.check(user.spiffe_id, now)
    # 3
    signing.verify_as_user(user.public_key, QUESTION, question, signature)
    # 4
    _check_fresh(said.issued_at, now)
    return Signed(
        question_id=said.question_id,
        directory=directory,
        asker=asker,
        user=user,
        purpose=said.purpose,
        cube=said.cube,
        cube_version=said.cube_version,
        registry_digest=said.registry_digest,
        level=said.level,
        period=said.period,
        issued_at=said.issued_at,
        digest=signing.digest(question),
        signature=signature,
    )


def verify_question(
    signed: pb.SignedFiguresQuestion,
    *,
    directory: Directories,
    deny_lists: DenyLists | None,
    now: float,
    identify: Identify = identity_from_certificate,
) -> Asked:
    """Verify a question as transmitted, in steps:

    1. The statement is canonical and names a directory that is in force, or was until a short
       while ago; everything below is verified under that one.
    2. The user's part verifies (:func:`verify_signed`), and the asker is still a member, with a
       node that is not denied.
    3. The asker's node signed the statement, about this question and freshly.

    :param deny_lists: None only when verifying old evidence offline.
    :raises Forged, InvalidInput, Stale, NotFound, Unauthenticated: see :func:`verify_signed`;
        DIRECTORY_MISMATCH, STATEMENT.
    """
    # 1
    statement = _read(pb.FiguresStatement, signed.statement)
    listed = directory.at(statement.directory_serial)
    # 2
    found = verify_signed(
        signed.question, signed.signature, signed.user_certificate,
        directory=listed, deny_lists=deny_lists, now=now, identify=identify,
    )  # fmt: skip
    if deny_lists is not None:
        check_member(directory.current.partner(found.asker.partner_id), deny_lists, now)
    # 3
    key = found.asker.signing_key
    signing.verify(key, STATEMENT, signed.statement, signed.statement_signature)
    about = (statement.question_digest, statement.partner_id)
    if about != (found.digest, found.asker.partner_id):
        raise Forged("a node's statement is about another question", reasons=("STATEMENT",))
    _check_fresh(statement.issued_at, now)
    own = {name: getattr(found, name) for name in Signed.__dataclass_fields__}
    return Asked(
        **own,
        policy_serial=statement.policy_serial,
        statement_signature=signed.statement_signature,
    )


def _read(kind: type[Said], data: bytes) -> Said:
    return signing.parse_canonical(kind, data, limit=_LIMIT)


def _check_form(said: pb.FiguresQuestion, directory: Directory) -> None:
    """:raises Forged: of another federation. :raises InvalidInput: misspelt."""
    if said.federation != directory.federation:
        raise Forged("a question is for another federation", reasons=("FEDERATION",))
    check_id(said.question_id)
    check_code(said.purpose)
    check_code(said.cube)
    right = said.cube_version > 0 and len(said.registry_digest) == _DIGEST
    if not right or len(said.level) > MAX_LEVEL or len(said.period) > MAX_PERIOD:
        raise InvalidInput("a question about figures is not well formed", reasons=("MALFORMED",))


def _check_fresh(issued_at: int, now: float) -> None:
    if abs(now - issued_at) > WINDOW_S:
        raise Stale(
            "a question about figures is outside its time window",
            reasons=("QUERY_WINDOW",),
            remedy=CLOCK_REMEDY,
        )
