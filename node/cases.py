"""The case register of one partner: why a group of users may ask, and until when."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.query import Instrument, Random
from fairlead.errors import Conflict, FairleadError, InvalidInput, NotFound, Refused, Stale
from fairlead.leaves import LeafWriter
from fairlead.names import check_case_id, check_code
from fairlead.policy.words import Words
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1.handling_pb2 import Pap, Tlp

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
    """
    ALTER TABLE cases ADD COLUMN closed_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cases ADD COLUMN tlp INTEGER NOT NULL DEFAULT 3;
    ALTER TABLE cases ADD COLUMN pap INTEGER NOT NULL DEFAULT 3;
    ALTER TABLE cases ADD COLUMN retention_days INTEGER NOT NULL DEFAULT 365;
    """,
    "ALTER TABLE cases ADD COLUMN instrument TEXT NOT NULL DEFAULT 'null'",
)
_FIELDS = (
    "case_id, purpose, legal_basis, schemes, members, opened_at, expires_at, opened_by, nonce, "
    "closed_at, tlp, pap, retention_days, instrument"
)
_CASE = f"SELECT {_FIELDS} FROM cases WHERE case_id = ?"  # noqa: S608  fixed names
_CASES = f"SELECT {_FIELDS} FROM cases ORDER BY case_id"  # noqa: S608  fixed names
_INSERT = (
    f"INSERT INTO cases ({_FIELDS}) "  # noqa: S608  fixed names
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
MAX_LIFETIME_S = 366 * 24 * 3600
MAX_MEMBERS = 256
MAX_REFERENCE = 200
MAX_VALIDITY_S = 10 * 366 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInstrument:
    """The legal instrument of a case: words of the registry, the reference under which whoever
    issued it knows it, and until when it is valid (unix seconds, exclusive)."""

    kind: str
    authority: str
    reference: str
    valid_until: int

    def to_wire(self) -> pb.CaseInstrument:
        """Wire form, for the partner's own users."""
        return pb.CaseInstrument(
            kind=self.kind,
            authority=self.authority,
            reference=self.reference,
            valid_until=self.valid_until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case; times in unix seconds. ``nonce`` keys the commitment other partners see, so
    that two queries of one case can be told to belong together and nothing else. ``closed_at`` 0
    is open; ``tlp`` and ``pap`` are wire numbers, the default handling of its questions."""

    case_id: str
    purpose: str
    legal_basis: str
    schemes: tuple[str, ...]
    members: tuple[str, ...]
    opened_at: int
    expires_at: int
    opened_by: str
    nonce: bytes
    closed_at: int = 0
    tlp: int = Tlp.TLP_AMBER
    pap: int = Pap.PAP_AMBER
    retention_days: int = 365
    instrument: CaseInstrument | None = None

    def vouched(self) -> Instrument | None:
        """What the node vouches for of its legal instrument: its reference as a commitment."""
        if self.instrument is None:
            return None
        return Instrument(
            kind=self.instrument.kind,
            authority=self.instrument.authority,
            valid_until=self.instrument.valid_until,
            commitment=signing.commit(self.nonce, self.instrument.reference.encode()),
        )

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
            closed_at=self.closed_at,
            tlp=self.tlp,  # type: ignore[arg-type]
            pap=self.pap,  # type: ignore[arg-type]
            retention_days=self.retention_days,
            instrument=self.instrument.to_wire() if self.instrument else None,
        )

    def open_at(self, now: float) -> bool:
        """Neither closed nor expired."""
        return not self.closed_at and now < self.expires_at


class CaseRegister:
    """Cases kept in the node's own state; every change is a leaf of its audit log.

    :param words: the registry of the policy in force now, which a new case must use.
    """

    def __init__(
        self,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        words: Callable[[], Words],
        clock: Callable[[], float],
        random: Random = os.urandom,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._words = words
        self._clock = clock
        self._random = random
        self.on_change: list[Callable[[], None]] = []
        """Called after a case was closed, or its members came or went."""

    async def open(self, asked: pb.Case, opener: Identity) -> Case:
        """Open a case. Repeating the same request returns the case as it stands.

        :raises InvalidInput: a name is misspelt or a limit is broken.
        :raises Refused: the approver would be a member of the case.
        :raises Conflict: the reference is taken by a different case.
        """
        return await self._recorded(self._open(asked, opener), "OpenCase", opener)

    async def assign(
        self, case_id: str, approver: Identity, *, add: Sequence[str], remove: Sequence[str]
    ) -> Case:
        """Add members to an open case and remove others; nothing to change changes nothing.

        :raises NotFound: no such case. :raises Refused: the approver would be a member.
        :raises Stale: the case is closed or has expired. :raises InvalidInput: a limit is broken.
        """
        work = self._assign(case_id, approver, frozenset(add), frozenset(remove))
        return await self._recorded(work, "AssignCase", approver)

    async def close(self, case_id: str, approver: Identity) -> Case:
        """Close a case for good; again changes nothing.

        :raises NotFound: no such case.
        """
        return await self._recorded(self._close(case_id, approver), "CloseCase", approver)

    async def _recorded(self, work: Awaitable[Case], rpc: str, user: Identity) -> Case:
        try:
            return await work
        except FairleadError as error:
            leaf = self._leaves.refusal(error, subject=f"AskingService.{rpc}", user=user.spiffe_id)
            await self._log.append(leaf)
            raise

    async def _assign(
        self, case_id: str, approver: Identity, add: frozenset[str], remove: frozenset[str]
    ) -> Case:
        case = self.get(check_case_id(case_id))
        if not case.open_at(self._clock()):
            raise Stale(
                "this case is closed or has expired",
                reasons=("CASE_CLOSED",),
                remedy="fairlead cases open NEW-REFERENCE …",
            )
        if approver.name in add:
            raise _self_assigned()
        members = ({*case.members} | {check_code(name) for name in add}) - remove
        if not 0 < len(members) <= MAX_MEMBERS:
            raise InvalidInput(
                "a case has 1 to 256 members",
                reasons=("CASE_MEMBERS",),
                remedy="fairlead cases close REFERENCE, when nobody is to ask under it any more",
            )
        changed = replace(case, members=tuple(sorted(members)))
        if changed != case:
            await self._change(changed, "case-assigned", approver)
        return changed

    async def _close(self, case_id: str, approver: Identity) -> Case:
        case = self.get(check_case_id(case_id))
        if case.closed_at:
            return case
        closed = replace(case, closed_at=int(self._clock()))
        await self._change(closed, "case-closed", approver)
        return closed

    async def _change(self, case: Case, subject: str, approver: Identity) -> None:
        leaf = self._leaves.case(
            subject=subject,
            user=approver.spiffe_id,
            purpose=case.purpose,
            commits_to=case.case_id.encode(),
        )
        row = (json.dumps(case.members), case.closed_at, case.case_id)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE cases SET members = ?, closed_at = ? WHERE case_id = ?", row)

        await self._log.append(leaf, also=change)
        for tell in self.on_change:
            tell()

    async def _open(self, asked: pb.Case, opener: Identity) -> Case:
        now = int(self._clock())
        case = self._validate(asked, opener, now)
        try:
            known = self.get(case.case_id)
        except NotFound:
            pass
        else:
            like = replace(
                known,
                opened_at=case.opened_at,
                expires_at=case.expires_at,
                opened_by=case.opened_by,
                nonce=case.nonce,
                instrument=_until(known.instrument, case.instrument),
            )
            if like == case:
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
            raise _self_assigned()
        if not now < asked.expires_at <= now + MAX_LIFETIME_S:
            raise InvalidInput(
                "a case must expire in the future, within a year",
                reasons=("CASE_EXPIRY",),
                remedy="fairlead cases open … --expires 90d",
            )
        case_id = check_case_id(asked.case_id)
        purpose, legal_basis = check_code(asked.purpose), check_code(asked.legal_basis)
        schemes = tuple(sorted({check_code(scheme) for scheme in asked.schemes}))
        self._words().check_case(purpose, legal_basis, schemes)
        check_handling(asked.tlp, asked.pap)
        longest = self._words().retention_days
        if not 0 <= asked.retention_days <= longest:
            raise InvalidInput(
                "answers are kept for longer than policy allows",
                reasons=("CASE_RETENTION",),
                remedy="fairlead cases open … --retention 90d",
            )
        return Case(
            case_id=case_id,
            purpose=purpose,
            legal_basis=legal_basis,
            schemes=schemes,
            members=tuple(sorted({check_code(member) for member in asked.members})),
            opened_at=now,
            expires_at=asked.expires_at,
            opened_by=opener.name,
            nonce=self._random(32),
            tlp=asked.tlp or Tlp.TLP_AMBER,
            pap=asked.pap or Pap.PAP_AMBER,
            retention_days=asked.retention_days or longest,
            instrument=self._instrument(asked, now),
        )

    def _instrument(self, asked: pb.Case, now: int) -> CaseInstrument | None:
        """:raises InvalidInput: not of the registry, without a reference, or not valid now."""
        if not asked.HasField("instrument"):
            return None
        wanted = asked.instrument
        kind, authority = check_code(wanted.kind), check_code(wanted.authority)
        self._words().check_instrument(kind, authority)
        if not 0 < len(wanted.reference.strip()) <= MAX_REFERENCE:
            raise InvalidInput(
                "a legal instrument has a reference of 1 to 200 characters",
                reasons=("INSTRUMENT_REFERENCE",),
                remedy="fairlead cases open … --instrument-ref REFERENCE",
            )
        if not now < wanted.valid_until <= now + MAX_VALIDITY_S:
            raise InvalidInput(
                "a legal instrument is valid from now on, for ten years at most",
                reasons=("INSTRUMENT_EXPIRED",),
                remedy="fairlead cases open … --instrument-until 90d",
            )
        return CaseInstrument(
            kind=kind,
            authority=authority,
            reference=wanted.reference.strip(),
            valid_until=wanted.valid_until,
        )

    def get(self, case_id: str) -> Case:
        """:raises NotFound: no such case."""
        for row in self._log.read(_CASE, (case_id,)):
            return _case(row)
        raise NotFound(
            "no such case at this node",
            reasons=("UNKNOWN_CASE",),
            remedy="fairlead cases list, or ask an approver for: fairlead cases open …",
        )

    def visible_to(self, user: Identity) -> tuple[Case, ...]:
        """Every case for an approver or auditor; the own ones for anybody else."""
        cases = map(_case, self._log.read(_CASES, ()))
        if {"approver", "auditor"} & {str(role) for role in user.roles}:
            return tuple(cases)
        return tuple(case for case in cases if user.name in case.members)

    def assigned(self, case_id: str, user: Identity) -> Case:
        """The open case ``user`` is assigned to.

        :raises Refused: unknown, closed, expired or not assigned; which of them is not told apart.
        """
        try:
            case = self.get(case_id)
        except NotFound:
            case = None
        if case is None or not case.open_at(self._clock()) or user.name not in case.members:
            raise Refused(
                "no open case of that reference is assigned to you",
                reasons=("CASE_NOT_ASSIGNED",),
                remedy="fairlead cases list, or ask an approver for: fairlead cases open …",
            )
        return case


def _until(known: CaseInstrument | None, asked: CaseInstrument | None) -> CaseInstrument | None:
    """The known instrument, ending when the asked one would: a span ends later every second."""
    if known is None or asked is None:
        return known
    return replace(known, valid_until=asked.valid_until)


def _insert(connection: sqlite3.Connection, case: Case) -> None:
    taken = connection.execute("SELECT 1 FROM cases WHERE case_id = ?", (case.case_id,))
    if taken.fetchone() is not None:
        raise Conflict("this case was opened meanwhile", reasons=("CASE_EXISTS",))
    connection.execute(
        _INSERT,
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
            case.closed_at,
            case.tlp,
            case.pap,
            case.retention_days,
            json.dumps(case.instrument and asdict(case.instrument)),
        ),
    )


def check_handling(tlp: int, pap: int) -> None:
    """:raises InvalidInput: TLP or PAP: no number of the vocabulary."""
    for value, kind, code in ((tlp, Tlp, "TLP"), (pap, Pap, "PAP")):
        if value not in kind.values():
            raise InvalidInput("no such handling", reasons=(code,), remedy="fairlead ask --help")


def _self_assigned() -> Refused:
    return Refused(
        "nobody opens a case for themselves",
        reasons=("CASE_SELF_ASSIGNED",),
        remedy="ask another approver",
    )


def _case(row: tuple[object, ...]) -> Case:
    case_id, purpose, basis, schemes, members, opened_at, expires_at, opened_by, nonce = row[:9]
    closed_at, tlp, pap, retention_days = (int(str(value)) for value in row[9:13])
    instrument = json.loads(str(row[13]))
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
        closed_at=closed_at,
        tlp=tlp,
        pap=pap,
        retention_days=retention_days,
        instrument=instrument and CaseInstrument(**instrument),
    )
