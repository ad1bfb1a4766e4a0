"""The door of every server: each call is masked, identified and authorised before it runs.

Two interceptors, outermost first. :class:`Mask` lets no exception's text out. :class:`Door`
says who calls and whether that RPC is for them; it tells the audit log of every refusal before
the caller hears of it, keeps looking at the identity while a stream is open, and decodes the
request only after all that, so that a stranger's octets are never parsed. See PROTOCOL §1.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
import grpc.aio
from cryptography import x509
from google.protobuf.message import DecodeError, Message

from fairlead.authorisation import Authorisation
from fairlead.certificates import Identity, SpiffeId, der_of
from fairlead.errors import FairleadError, InvalidInput, Overloaded, Refused, Unauthenticated

REASON_KEY = "fairlead-reason"
REMEDY_KEY = "fairlead-remedy"
CORRELATION_KEY = "fairlead-correlation"
if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
    Call = Callable[[Any, Context], Awaitable[Any]]
    Handler = grpc.RpcMethodHandler[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

_identity: ContextVar[Identity] = ContextVar("fairlead_identity")
_log = logging.getLogger("fairlead.server")


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


def _as_call(handler: Handler) -> Call:
    """One coroutine for all four shapes, from request to octets.

    Responses are serialised here, under the mask; streamed ones are written to the context.
    """
    serialise = handler.response_serializer or _octets
    behaviour = cast(
        "Callable[[Any, Context], Any]",
        handler.stream_stream
        or handler.stream_unary
        or handler.unary_stream
        or handler.unary_unary,
    )

    async def call(request: Any, context: Context) -> bytes | None:
        result = behaviour(request, context)
        if hasattr(result, "__aiter__"):
            async with aclosing(result):
                async for message in result:
                    await context.write(_checked(serialise(message)))
            return None
        response = await result
        return None if handler.response_streaming else _checked(serialise(response))

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
    """For what has been serialised, and for what a handler writes to the context itself."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def _checked(octets: object) -> bytes:
    if not isinstance(octets, bytes):
        raise TypeError
    return octets


class UnknownRpc(Refused):
    """No row, no RPC. UNIMPLEMENTED is what foreign clients know how to fall back from."""

    status = "UNIMPLEMENTED"
    default_code = "RPC_UNKNOWN"


async def _unknown(_request: Any, _context: Context) -> NoReturn:
    raise UnknownRpc("this server offers no such call")


_UNKNOWN: Handler = grpc.stream_stream_rpc_method_handler(_unknown)


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


class Mask(_Interceptor):
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
            InternalFailure(method=method, correlation=correlation, exception=type(error).__name__)
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
    await context.abort(grpc.StatusCode[error.status], error.message, tuple(metadata))


def _ascii(text: str) -> str:
    """Printable ASCII, as metadata must be (gRPC over HTTP/2, "Custom-Metadata")."""
    plain = text.replace("…", "...")
    return "".join(c if " " <= c <= "~" else "?" for c in plain[:512])


class Door(_Interceptor):
    """Identity, authorisation and decoding, before anything of the service runs."""

    def __init__(
        self,
        *,
        authorisation: Authorisation,
        identity_check: Callable[[bytes], Identity],
        on_refusal: OnRefusal,
        recheck_s: float,
        share: int,
    ) -> None:
        """:param share: calls that one identity may have open at a time."""
        super().__init__(frozenset(authorisation))
        self._authorisation = authorisation
        self._identity_check = identity_check
        self._on_refusal = on_refusal
        self._recheck_s = recheck_s
        self._share = share
        self._open: Counter[str] = Counter()

    def surround(self, method: str, inner: Handler) -> Call:
        call = _as_call(inner)
        decode = _decoder(method, inner)
        streams = inner.request_streaming or inner.response_streaming

        async def through(request: Any, context: Context) -> Any:
            pem, identity = await self._enter(method, context)
            _identity.set(identity)
            self._open[identity.spiffe_id] += 1
            try:
                return await inside(pem, request, context)
            finally:
                self._open[identity.spiffe_id] -= 1

        async def inside(pem: bytes, request: Any, context: Context) -> Any:
            if inner.request_streaming:
                message: Any = _decoded(request, decode)
            else:
                message = await self._decode(method, pem, request, decode)
            if streams:
                return await self._watched(method, pem, call, message, context)
            return await call(message, context)

        return through

    async def _decode(
        self, method: str, pem: bytes, request: bytes, decode: Callable[[bytes], Any]
    ) -> Any:
        """Decode a request; octets that are none are a refusal like any other."""
        try:
            return decode(request)
        except FairleadError as error:
            await self._record(method, pem, error)
            raise

    async def _enter(self, method: str, context: Context) -> tuple[bytes, Identity]:
        """Let a call in, or refuse it on the record.

        1. The connection is TLS 1.3 with a client certificate.
        2. The certificate is somebody's, now.
        3. The RPC exists, has a row, the row names this caller, and the caller does not hold its
           share of open calls already.
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
                raise UnknownRpc("this server offers no such call")
            row.check(identity)
            if self._open[identity.spiffe_id] >= self._share:
                raise Overloaded(
                    "this caller has too many calls open", remedy="end some of them first"
                )
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
            result = await call(message, context)
        except (asyncio.CancelledError, Exception):
            if watch.verdict is None:
                raise
        finally:
            watch.stop()
        if watch.verdict is None:
            return result
        await self._record(method, pem, watch.verdict)
        raise watch.verdict


class StrangersDoor(_Interceptor):
    """For the one server whose callers have no certificate yet: TLS 1.3, a row, decoding.

    Refusals here are not recorded: nobody stands behind them, and a log is not a stranger's to
    fill.
    """

    def __init__(self, authorisation: Authorisation) -> None:
        super().__init__(frozenset(authorisation))
        self._authorisation = authorisation

    def surround(self, method: str, inner: Handler) -> Call:
        call = _as_call(inner)
        decode = _decoder(method, inner)

        async def through(request: Any, context: Context) -> Any:
            if list(context.auth_context().get("ssl_tls_version", ())) != [b"TLSv1.3"]:
                raise Unauthenticated("only TLS 1.3 is spoken here", reasons=("TLS_VERSION",))
            row = self._authorisation.get(method)
            if row is None or not row.strangers:
                raise UnknownRpc("this server offers no such call")
            return await call(decode(request), context)

        return through


class _Watch:
    """Looks at an open stream's identity again and again; a failure cancels its task."""

    __slots__ = ("_cancels", "_check", "_every_s", "_task", "_timer", "verdict")

    def __init__(self, check: Callable[[], Identity], every_s: float) -> None:
        self._check = check
        self._every_s = every_s
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancels = 0
        self.verdict: FairleadError | None = None

    def start(self) -> None:
        self._task = asyncio.current_task()
        self._arm()

    def stop(self) -> None:
        """No more looks; our own cancellations are taken back, so that the refusal can be sent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            for _ in range(self._cancels):
                self._task.uncancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def _look(self) -> None:
        if self.verdict is None:
            self.verdict = self._judge()
        if self.verdict is not None and self._task is not None:
            self._task.cancel()
            self._cancels += 1
        self._arm()

    def _judge(self) -> FairleadError | None:
        try:
            self._check()
        except FairleadError as error:
            return error
        except Exception:  # noqa: BLE001 - a check that breaks is a no
            return Unauthenticated("an identity could not be checked", reasons=("IDENTITY_CHECK",))
        return None


def _peer_certificate(context: Context) -> bytes:
    """:raises Unauthenticated: NO_CERTIFICATE, or TLS_VERSION for anything but TLS 1.3."""
    peer = context.auth_context()
    if list(peer.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
        raise Unauthenticated("only TLS 1.3 is spoken here", reasons=("TLS_VERSION",))
    certificates = list(peer.get("x509_pem_cert", ()))
    if len(certificates) != 1:
        raise Unauthenticated("a client certificate is required", reasons=("NO_CERTIFICATE",))
    return bytes(certificates[0])


def _claimed(pem: bytes) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        return str(SpiffeId.parse(uris[0])) if len(uris) == 1 else ""
    except Exception:  # noqa: BLE001 - a claim that cannot be read is none; the refusal stands
        return ""


def _digest(pem: bytes) -> bytes:
    try:
        return hashlib.sha256(der_of(pem)).digest()
    except Unauthenticated:
        return b""


def _decoder(method: str, handler: Handler) -> Callable[[bytes], Any]:
    deserialise = handler.request_deserializer or (lambda data: data)
    ours = method.startswith("/fairlead.")

    def decode(data: bytes) -> Any:
        try:
            message = deserialise(data)
        except (DecodeError, ValueError, RecursionError):
            raise InvalidInput("a request cannot be decoded", reasons=("MALFORMED",)) from None
        if ours and isinstance(message, Message):
            size = message.ByteSize()
            message.DiscardUnknownFields()  # type: ignore[attr-defined, unused-ignore]
            if message.ByteSize() != size:
                raise InvalidInput("a request has unknown fields", reasons=("UNKNOWN_FIELDS",))
        return message

    return decode


async def _decoded(
    requests: AsyncIterator[bytes], decode: Callable[[bytes], Any]
) -> AsyncIterator[Any]:
    async for data in requests:
        yield decode(data)
