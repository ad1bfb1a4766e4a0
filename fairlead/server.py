"""The server that gateway and node share: every call is masked, identified and authorised.

Two interceptors, outermost first. :class:`_Mask` lets no exception's text out. :class:`_Door`
says who calls and whether that RPC is for them; it tells the audit log of every refusal before
the caller hears of it, keeps looking at the identity while a stream is open, and decodes the
request only after all that, so that a stranger's octets are never parsed.

Authorisation is data: one row per RPC. An RPC without a row does not start, an unknown RPC is
refused. See PROTOCOL §1 and HOUSE §5.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from fairlead.certificates import Identity, IdentityKind, Role, SpiffeId, der_of
from fairlead.errors import FairleadError, InvalidInput, Misconfigured, Refused, Unauthenticated

REASON_KEY = "fairlead-reason"
REMEDY_KEY = "fairlead-remedy"
CORRELATION_KEY = "fairlead-correlation"
RECHECK_S = 1.0
"""Seconds between two looks at the identity behind an open stream."""

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Any, Context], Awaitable[Any]]
Handler = grpc.RpcMethodHandler[Any, Any]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

_identity: ContextVar[Identity] = ContextVar("fairlead_identity")
_log = logging.getLogger("fairlead.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Who may call one RPC: kinds of identity, and for users the roles (any one of them)."""

    kinds: frozenset[IdentityKind]
    roles: frozenset[Role] = frozenset()

    def __post_init__(self) -> None:
        """:raises Misconfigured: nobody is allowed, or users without roles, or roles alone."""
        if not self.kinds or (IdentityKind.USER in self.kinds) != bool(self.roles):
            raise Misconfigured("an authorisation row is incomplete", reasons=("RPC_ROW",))

    def check(self, identity: Identity) -> None:
        """:raises Refused: KIND_NOT_ALLOWED or ROLE_NOT_ALLOWED."""
        if identity.kind not in self.kinds:
            raise Refused(
                "this call is not for this kind of participant", reasons=("KIND_NOT_ALLOWED",)
            )
        if identity.kind is IdentityKind.USER and not self.roles & identity.roles:
            raise Refused(
                "this call needs another role",
                reasons=("ROLE_NOT_ALLOWED",),
                remedy="ask your partner's user authority for the role",
            )

    def admits(self) -> frozenset[str]:
        """Everybody this row lets in: ``gateway``, ``node``, ``user:<role>``."""
        others = {str(kind) for kind in self.kinds if kind is not IdentityKind.USER}
        return frozenset(others | {f"user:{role}" for role in self.roles})


Authorisation = Mapping[str, Row]
"""``/package.Service/Method`` → who may call it."""

GATEWAYS = Row(kinds=frozenset({IdentityKind.GATEWAY}))
NODES = Row(kinds=frozenset({IdentityKind.NODE}))
ANYBODY_IDENTIFIED = Row(kinds=frozenset(IdentityKind), roles=frozenset(Role))


def users(*roles: Role) -> Row:
    """A row for users who hold one of ``roles``.

    :raises Misconfigured: no role.
    """
    return Row(kinds=frozenset({IdentityKind.USER}), roles=frozenset(roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to offer: its descriptor, and how to add it to a server."""

    descriptor: ServiceDescriptor
    register: Callable[[grpc.aio.Server], None]

    def methods(self) -> frozenset[str]:
        """Full names: ``/package.Service/Method``."""
        return _methods(self.descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call refused at the door, for the audit log.

    ``claimed`` is the well-formed SPIFFE id in the certificate that TLS accepted, else empty;
    it is a claim when ``reasons`` says the certificate did not verify.
    """

    method: str
    reasons: tuple[str, ...]
    claimed: str
    certificate_digest: bytes


OnRefusal = Callable[[Refusal], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalFailure:
    """A defect that a caller met, without its text: what the operator can search for."""

    method: str
    correlation: str
    exception: str


def log_internal_failure(failure: InternalFailure) -> None:
    """Write correlation, RPC and exception class, and nothing the exception says."""
    _log.error(
        "internal failure correlation=%s method=%s exception=%s",
        failure.correlation,
        failure.method,
        failure.exception,
    )


def current_identity() -> Identity:
    """Who makes the call being handled.

    :raises Unauthenticated: outside a call.
    """
    try:
        return _identity.get()
    except LookupError:
        raise Unauthenticated("no call is being handled", reasons=("NO_IDENTITY",)) from None


def assert_every_rpc_has_row(
    services: Sequence[Service],
    authorisation: Authorisation,
    expectations: Mapping[str, frozenset[str]] | None = None,
) -> None:
    """Walk the descriptors: each RPC has its row, and each row its RPC.

    :param expectations: for tests: RPC → what :meth:`Row.admits` must say, for every RPC.
    :raises Misconfigured: RPC_WITHOUT_ROW, ROW_WITHOUT_RPC or RPC_EXPECTATION; the remedy names
        the RPC.
    """
    offered = frozenset().union(*(service.methods() for service in services))
    _complain(offered - authorisation.keys(), "an RPC has no authorisation row", "RPC_WITHOUT_ROW")
    _complain(authorisation.keys() - offered, "a row names no RPC", "ROW_WITHOUT_RPC")
    if expectations is not None:
        wrong = {
            method for method in offered if expectations.get(method) != authorisation[method].admits()
        }
        wrong |= expectations.keys() - offered
        _complain(wrong, "an RPC is not authorised as expected", "RPC_EXPECTATION")


def _complain(methods: Sequence[str] | frozenset[str] | set[str], message: str, code: str) -> None:
    if methods:
        raise Misconfigured(message, reasons=(code,), remedy="see " + ", ".join(sorted(methods)))


def _methods(descriptor: ServiceDescriptor) -> frozenset[str]:
    return frozenset(f"/{descriptor.full_name}/{method.name}" for method in descriptor.methods)


def _as_call(handler: Handler) -> Call:
    """One coroutine for all four shapes; streamed responses are written to the context."""
    behaviour: Callable[[Any, Context], Any] = (
        handler.stream_stream or handler.stream_unary or handler.unary_stream or handler.unary_unary
    )

    async def call(request: Any, context: Context) -> Any:
        result = behaviour(request, context)
        if not hasattr(result, "__aiter__"):
            return await result
        async with aclosing(result):
            async for message in result:
                await context.write(message)
        return None

    return call


def _with_call(handler: Handler, call: Call) -> Handler:
    """``handler``'s shape around ``call``, which receives and returns octets."""
    makers: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[handler.request_streaming, handler.response_streaming]
    return make(call, request_deserializer=None, response_serializer=_octets)


def _octets(message: bytes | Message) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


async def _unknown(_request: Any, _context: Context) -> NoReturn:
    raise Refused("this server offers no such call", reasons=("RPC_UNKNOWN",))


_UNKNOWN = grpc.stream_stream_rpc_method_handler(_unknown)


class _Interceptor(grpc.aio.ServerInterceptor):
    """Surrounds each method's call; wraps every offered method once."""

    def __init__(self, offered: frozenset[str]) -> None:
        self._offered = offered
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        method = str(handler_call_details.method)
        inner: Handler = await continuation(handler_call_details) or _UNKNOWN
        known = self._wrapped.get(method)
        if known is not None and known[0] is inner:
            return known[1]
        wrapped = _with_call(inner, self.surround(method, inner))
        if method in self._offered:
            self._wrapped[method] = (inner, wrapped)
        return wrapped

    def surround(self, method: str, inner: Handler) -> Call:
        raise NotImplementedError


class _Mask(_Interceptor):
    """Outermost: an error leaves as its fixed text and codes, or as INTERNAL and a number."""

    def __init__(
        self, offered: frozenset[str], on_internal: Callable[[InternalFailure], None]
    ) -> None:
        super().__init__(offered)
        self._on_internal = on_internal

    def surround(self, method: str, inner: Handler) -> Call:
        call = _as_call(inner)

        async def masked(request: Any, context: Context) -> Any:
            try:
                return await call(request, context)
            except grpc.aio.AbortError:
                raise  # the status has been sent
            except FairleadError as error:
                await _abort(context, error)
            except asyncio.CancelledError as error:
                if _cancelled_from_outside():
                    raise
                await self._abort_internal(method, context, error)
            except Exception as error:  # noqa: BLE001 - nothing may pass
                await self._abort_internal(method, context, error)

        return masked

    async def _abort_internal(self, method: str, context: Context, error: BaseException) -> None:
        correlation = secrets.token_hex(8)
        self._on_internal(
            InternalFailure(
                method=method, correlation=correlation, exception=type(error).__name__
            )
        )
        await context.abort(
            grpc.StatusCode.INTERNAL,
            f"internal error, correlation {correlation}",
            ((REASON_KEY, "INTERNAL"), (CORRELATION_KEY, correlation)),
        )


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _abort(context: Context, error: FairleadError) -> None:
    metadata = [(REASON_KEY, _ascii(reason)) for reason in error.reasons[:16]]
    if error.remedy:
        metadata.append((REMEDY_KEY, _ascii(error.remedy)))
    await context.abort(error.status, error.message, tuple(metadata))


def _ascii(text: str) -> str:
    """Printable ASCII, as metadata must be (gRPC over HTTP/2, "Custom-Metadata")."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:512])


class _Door(_Interceptor):
    """Identity, authorisation and decoding, before anything of the service runs."""

    def __init__(
        self,
        *,
        authorisation: Authorisation,
        identity_check: Callable[[bytes], Identity],
        on_refusal: OnRefusal,
        recheck_s: float,
    ) -> None:
        super().__init__(frozenset(authorisation))
        self._authorisation = authorisation
        self._identity_check = identity_check
        self._on_refusal = on_refusal
        self._recheck_s = recheck_s

    def surround(self, method: str, inner: Handler) -> Call:
        call = _as_call(inner)
        decode = _decoder(method, inner)
        streams = inner.request_streaming or inner.response_streaming

        async def through(request: Any, context: Context) -> Any:
            pem, identity = await self._enter(method, context)
            _identity.set(identity)
            message = _decoded(request, decode) if inner.request_streaming else decode(request)
            if streams:
                return await self._watched(method, pem, call, message, context)
            return await call(message, context)

        return through

    async def _enter(self, method: str, context: Context) -> tuple[bytes, Identity]:
        """Let a call in, or refuse it on the record.

        1. The connection is TLS 1.3 with a client certificate.
        2. The certificate is somebody's, now.
        3. The RPC exists, has a row, and the row names this caller.
        4. A refusal is in the audit log before the caller learns of it.
        """
        pem = b""
        try:
            # 1
            pem = _peer_certificate(context)
            # 2
            identity = self._identity_check(pem)
            # 3
            row = self._authorisation.get(method)
            if row is None:
                raise Refused("this server offers no such call", reasons=("RPC_UNKNOWN",))
            row.check(identity)
        except FairleadError as error:
            # 4
            await self._record(method, pem, error)
            raise
        return pem, identity

    async def _record(self, method: str, pem: bytes, error: FairleadError) -> None:
        await self._on_refusal(
            Refusal(
                method=method if method in self._offered else "",
                reasons=error.reasons,
                claimed=_claimed(pem),
                certificate_digest=_digest(pem),
            )
        )

    async def _watched(
        self, method: str, pem: bytes, call: Call, message: Any, context: Context
    ) -> Any:
        """Run a stream; end it when its identity expires or is denied."""
        watch = _Watch(lambda: self._identity_check(pem), self._recheck_s)
        watch.start()
        try:
            return await call(message, context)
        except asyncio.CancelledError:
            if watch.verdict is None:
                raise
        finally:
            watch.stop()
        await self._record(method, pem, watch.verdict)
        raise watch.verdict


class _Watch:
    """Looks at an open stream's identity again and again; a failure cancels its task."""

    __slots__ = ("_check", "_every_s", "_task", "_timer", "verdict")

    def __init__(self, check: Callable[[], Identity], every_s: float) -> None:
        self._check = check
        self._every_s = every_s
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.verdict: FairleadError | None = None

    def start(self) -> None:
        self._task = asyncio.current_task()
        self._arm()

    def stop(self) -> None:
        """No more looks; a cancellation of ours is taken back, so that the refusal can be sent."""
        if self._timer is not None:
            self._timer.cancel()
        if self.verdict is not None and self._task is not None:
            self._task.uncancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def _look(self) -> None:
        if self._task is None or self._task.done():
            return
        if self.verdict is None:
            try:
                self._check()
            except FairleadError as error:
                self.verdict = error
            except Exception:  # noqa: BLE001 - a check that breaks is a no
                self.verdict = Unauthenticated(
                    "an identity could not be checked", reasons=("IDENTITY_CHECK",)
                )
            if self.verdict is not None:
                self._task.cancel()
        self._arm()
