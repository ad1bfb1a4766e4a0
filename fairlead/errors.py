"""The error tree, grouped by who must act.

::

    FairleadError
    ├── CallerError                the caller must change the request
    │   ├── InvalidInput           INVALID_ARGUMENT      malformed, oversized, mistyped
    │   ├── Unauthenticated        UNAUTHENTICATED       no, alien, expired or denied identity
    │   ├── Refused                PERMISSION_DENIED     a policy or a rule of the protocol says no
    │   ├── NotFound               NOT_FOUND
    │   ├── Conflict               ALREADY_EXISTS        same id, other content
    │   └── Stale                  FAILED_PRECONDITION   right once, too old or too new now
    ├── PeerError                  the other organisation's evidence does not verify
    │   ├── Forged                 PERMISSION_DENIED     a signature, digest or binding is wrong
    │   └── Forked                 ABORTED               two logs that cannot both be true
    ├── OwnerError                 the owner of a source must act
    │   └── SourceUnusable         FAILED_PRECONDITION
    └── OperatorError              whoever runs this process must act
        ├── Misconfigured          FAILED_PRECONDITION
        ├── NotEnrolled            FAILED_PRECONDITION
        ├── PolicyUnavailable      UNAVAILABLE           no valid policy, no decision
        ├── LogUnavailable         UNAVAILABLE           the audit log cannot be written
        ├── Unreachable            UNAVAILABLE           the other side does not respond
        └── Overloaded             RESOURCE_EXHAUSTED

An error's message is fixed text: it never carries a term, a name, a key or another
exception's words, because messages cross trust boundaries and enter logs. What varies goes
into ``reasons`` (stable upper-case codes) and ``remedy`` (the next command to run).
"""

from __future__ import annotations

from typing import ClassVar


class FairleadError(Exception):
    """Base of every error this product raises on purpose.

    :param message: fixed text, safe to show to anybody.
    :param reasons: stable codes, most important first; empty means the class's own code.
    :param remedy: what to do next, preferably a command.

    ``status`` is the name of a gRPC status: who only asks for ``--help`` need not load gRPC.
    """

    status: ClassVar[str] = "INTERNAL"
    default_code: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, reasons: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reasons = reasons or (self.default_code,)
        self.remedy = remedy

    @property
    def code(self) -> str:
        """The first reason: what a program should branch on."""
        return self.reasons[0]

    def diagnostics(self) -> str:
        """The whole story for a person: message, codes, next command."""
        lines = [f"{self.message} [{', '.join(self.reasons)}]"]
        if self.remedy:
            lines.append(f"next: {self.remedy}")
        return "\n".join(lines)


class CallerError(FairleadError):
    """The caller must change the request."""


class InvalidInput(CallerError):
    """The request cannot be read, or breaks a stated limit."""

    status = "INVALID_ARGUMENT"
    default_code = "INVALID_INPUT"
    exit_code = 2


class Unauthenticated(CallerError):
    """No usable identity: missing, alien, expired or on the deny list."""

    status = "UNAUTHENTICATED"
    default_code = "UNAUTHENTICATED"
    exit_code = 4


class Refused(CallerError):
    """A policy, or a rule of the protocol, says no."""

    status = "PERMISSION_DENIED"
    default_code = "REFUSED"
    exit_code = 5


class NotFound(CallerError):
    """The named thing does not exist, or is not the caller's to see."""

    status = "NOT_FOUND"
    default_code = "NOT_FOUND"
    exit_code = 2


class Conflict(CallerError):
    """The same identifier came with another content."""

    status = "ALREADY_EXISTS"
    default_code = "CONFLICT"
    exit_code = 2


class Stale(CallerError):
    """Valid once, but expired, not yet valid, or overtaken."""

    status = "FAILED_PRECONDITION"
    default_code = "STALE"
    exit_code = 2


class PeerError(FairleadError):
    """The other organisation's evidence does not verify."""

    exit_code = 8


class Forged(PeerError):
    """A signature, a digest or a binding is wrong."""

    status = "PERMISSION_DENIED"
    default_code = "FORGED"


class Forked(PeerError):
    """Two signed log heads that cannot both be true."""

    status = "ABORTED"
    default_code = "CHECKPOINT_FORK"


class OwnerError(FairleadError):
    """The owner of a source must act."""

    status = "FAILED_PRECONDITION"
    exit_code = 3


class SourceUnusable(OwnerError):
    """A source cannot be read as its mapping says."""

    default_code = "SOURCE_UNUSABLE"


class OperatorError(FairleadError):
    """Whoever runs this process must act."""

    exit_code = 3


class Misconfigured(OperatorError):
    """A configuration file or its environment is wrong."""

    status = "FAILED_PRECONDITION"
    default_code = "MISCONFIGURED"


class NotEnrolled(OperatorError):
    """This machine holds no identity yet."""

    status = "FAILED_PRECONDITION"
    default_code = "NOT_ENROLLED"
    exit_code = 4


class PolicyUnavailable(OperatorError):
    """No valid policy, hence no decision, hence no."""

    status = "UNAVAILABLE"
    default_code = "POLICY_UNAVAILABLE"


class LogUnavailable(OperatorError):
    """The audit log cannot be written, so nothing may be answered."""

    status = "UNAVAILABLE"
    default_code = "LOG_UNAVAILABLE"


class Unreachable(OperatorError):
    """The other side does not respond."""

    status = "UNAVAILABLE"
    default_code = "UNREACHABLE"
    exit_code = 7


class Overloaded(OperatorError):
    """A stated capacity is used up; try again later."""

    status = "RESOURCE_EXHAUSTED"
    default_code = "OVERLOADED"
    exit_code = 7
