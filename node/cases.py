"""The case register of one partner: why a group of users may ask, and until when."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.query import Random
from fairlead.errors import Conflict, FairleadError, InvalidInput, NotFound, Refused
from fairlead.leaves import LeafWriter
from fairlead.names import check_case_id, check_code
from fairlead.v1 import asking_pb2 as pb

MIGRATIONS = (
    """
    CREATE TABLE cases (
        case_id TEXT PRIMARY KEY,
        purpose TEXT NOT NULL,
        legal_basis TEXT NOT NULL,
        schemes TEXT NOT NULL,
        members TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        opened_by TEXT NOT NULL,
        nonce BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)
MAX_LIFETIME_S = 366 * 24 * 3600
MAX_MEMBERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case; times in unix seconds. ``nonce`` keys the commitment other partners see, so
    that two queries of one case can be told to belong together and nothing else."""

    case_id: str
    purpose: str
    legal_basis: str
    schemes: tuple[str, ...]
    members: tuple[str, ...]
    opened_at: int
    expires_at: int
    opened_by: str
    nonce: bytes

    def to_wire(self) -> pb.Case:
        """Wire form, without the nonce."""
        return pb.Case(
            case_id=self.case_id,
            purpose=self.purpose,
            legal_basis=self.legal_basis,
            schemes=self.schemes,
            members=self.members,
            opened_at=self.opened_at,
            expires_at=self.expires_at,
            opened_by=self.opened_by,
        )


class CaseRegister:
    """Cases kept in the node's own state; opening one is a leaf of its audit log."""

    def __init__(
        self,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        clock: Callable[[], float],
        random: Random = os.urandom,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._random = random

    async def open(self, asked: pb.Case, opener: Identity) -> Case:
        """Open a case. Repeating the same request returns the case as it stands.

        :raises InvalidInput: a name is misspelt or a limit is broken.
        :raises Refused: the approver would be a member of the case.
        :raises Conflict: the reference is taken by a different case.
        """
        try:
            return await self._open(asked, opener)
        except FairleadError as error:
            leaf = self._leaves.refusal(
                error, subject="AskingService.OpenCase", user=opener.spiffe_id
            )
            await self._log.append(leaf)
            raise

    async def _open(self, asked: pb.Case, opener: Identity) -> Case:
        now = int(self._clock())
        case = self._validate(asked, opener, now)
        try:
            known = self.get(case.case_id)
        except NotFound:
            pass
        else:
            same = (known.purpose, known.legal_basis, known.schemes, known.members) == (
                case.purpose,
                case.legal_basis,
                case.schemes,
                case.members,
            )
            if same:
                return known
            raise Conflict(
                "this case reference is taken by another case",
                reasons=("CASE_EXISTS",),
                remedy="fairlead cases list",
            )
        leaf = self._leaves.case(
            subject="case-opened",
            user=opener.spiffe_id,
            purpose=case.purpose,
            commits_to=case.case_id.encode(),
        )
        await self._log.append(leaf, also=lambda connection: _insert(connection, case))
        return case

    def _validate(self, asked: pb.Case, opener: Identity, now: int) -> Case:
        if not 0 < len(asked.members) <= MAX_MEMBERS or not asked.schemes:
            raise InvalidInput(
                "a case needs at least one member and one scheme",
                reasons=("CASE_INCOMPLETE",),
                remedy="fairlead cases open --help",
            )
        if opener.name in asked.members:
            raise Refused(
                "nobody opens a case for themselves",
                reasons=("CASE_SELF_ASSIGNED",),
                remedy="ask another approver",
            )
        if not now < asked.expires_at <= now + MAX_LIFETIME_S:
            raise InvalidInput(
                "a case must expire in the future, within a year",
                reasons=("CASE_EXPIRY",),
                remedy="fairlead cases open … --expires 90d",
            )
        return Case(
            case_id=check_case_id(asked.case_id),
            purpose=check_code(asked.purpose),
            legal_basis=check_code(asked.legal_basis),
            schemes=tuple(sorted({check_code(scheme) for scheme in asked.schemes})),
            members=tuple(sorted({check_code(member) for member in asked.members})),
            opened_at=now,
            expires_at=asked.expires_at,
            opened_by=opener.name,
            nonce=self._random(32),
        )

    def get(self, case_id: str) -> Case:
        """:raises NotFound: no such case."""
        for row in self._log.read("SELECT * FROM cases WHERE case_id = ?", (case_id,)):
            return _case(row)
        raise NotFound(
            "no such case at this node",
            reasons=("UNKNOWN_CASE",),
            remedy="fairlead cases list, or ask an approver for: fairlead cases open",
        )

    def visible_to(self, user: Identity) -> tuple[Case, ...]:
        """Every case for an approver or auditor; the own ones for anybody else."""
        cases = map(_case, self._log.read("SELECT * FROM cases ORDER BY case_id", ()))
        if {"approver", "auditor"} & {str(role) for role in user.roles}:
            return tuple(cases)
        return tuple(case for case in cases if user.name in case.members)

    def assigned(self, case_id: str, user: Identity) -> Case:
        """The open case ``user`` is assigned to.

        :raises Refused: unknown, expired or not assigned; which of them is not told apart.
        """
        try:
            case = self.get(case_id)
        except NotFound:
            case = None
        if case is None or self._clock() >= case.expires_at or user.name not in case.members:
            raise Refused(
                "no open case of that reference is assigned to you",
                reasons=("CASE_NOT_ASSIGNED",),
                remedy="fairlead cases list, or ask an approver for: fairlead cases open",
            )
        return case


def _insert(connection: sqlite3.Connection, case: Case) -> None:
    taken = connection.execute("SELECT 1 FROM cases WHERE case_id = ?", (case.case_id,))
    if taken.fetchone() is not None:
        raise Conflict("this case was opened meanwhile", reasons=("CASE_EXISTS",))
    connection.execute(
        "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            case.case_id,
            case.purpose,
            case.legal_basis,
            json.dumps(case.schemes),
            json.dumps(case.members),
            case.opened_at,
            case.expires_at,
            case.opened_by,
            case.nonce,
        ),
    )


def _case(row: tuple[object, ...]) -> Case:
    case_id, purpose, basis, schemes, members, opened_at, expires_at, opened_by, nonce = row
    return Case(
        case_id=str(case_id),
        purpose=str(purpose),
        legal_basis=str(basis),
        schemes=tuple(json.loads(str(schemes))),
        members=tuple(json.loads(str(members))),
        opened_at=int(str(opened_at)),
        expires_at=int(str(expires_at)),
        opened_by=str(opened_by),
        nonce=bytes(nonce),  # type: ignore[call-overload]
    )
