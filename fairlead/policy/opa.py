"""Decisions by an OPA server, through ``opa-python-client``.

That client alone would not do (FACTS: OPA): an undefined rule comes back as ``{}``, a timeout is
counted from octet to octet, proxies come from the environment, failed calls are repeated,
redirects are followed, and its certificate store is the machine's. Its session is therefore given
:class:`fairlead.policy.transport.Transport`, and what it returns is read as closely as an answer
that nobody expected. Whatever is not a decision is a no, with the code that says why.

The call is synchronous, as into the WebAssembly: it takes a fraction of a millisecond, and a
server that hangs costs three deadlines a second at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from weakref import finalize

import orjson
import requests
from opa_client import OpaClient

from fairlead.errors import PolicyUnavailable
from fairlead.policy.engine import DEADLINE_S, MAX_RESULT, POINTS
from fairlead.policy.transport import Place, Transport, unanswered

FAILURES = 3
"""Calls in a row that nobody answered, until no call is made for a while."""
REST_S = 1.0
"""Seconds for which none is made; the next one finds out whether the server is back."""
NOBODY = frozenset({"OPA_ABSENT", "OPA_SLOW", "OPA_LOST", "OPA_UNTRUSTED"})
"""Failures that cost time, or say that nobody is there."""
SLOW = 0.5
"""Part of the deadline after which every failure has cost time, whatever its code: a server that
errs just before the deadline holds its callers up as one does that hangs."""

NOT_OURS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def refusal(error: requests.HTTPError) -> PolicyUnavailable:
    """What another status than 200 means."""
    refused = error.response is not None and error.response.status_code in NOT_OURS
    return unanswered("OPA_REFUSES" if refused else "OPA_FAILS")


class Client(OpaClient):  # type: ignore[misc]  # untyped
    """``opa-python-client`` with our transport, and nothing from the environment."""

    def __init__(self, place: Place, *, token: str, timeout: float, largest: int) -> None:
        """:param timeout: seconds for one whole call. :param largest: octets of an answer."""
        self._place = place
        self._transport = Transport(place, largest=largest)
        super().__init__(
            host=place.name, port=place.port, ssl=place.ca is not None, token=token, timeout=timeout
        )

    def _init_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.headers.clear()
        session.headers.update({"Host": self._place.name, "Accept-Encoding": "identity"})
        session.headers.update(self.headers or {})
        session.adapters.clear()
        session.mount(self.schema, self._transport)
        return session

    def policies(self) -> dict[str, dict[str, Any]]:
        """Every policy the server holds: id → ``raw`` (its text) and ``ast``. The client's own
        listing asks for another path, from which OPA redirects."""
        response = self._session.get(f"{self.root_url}/policies", timeout=self.timeout)
        response.raise_for_status()
        return {policy["id"]: policy for policy in response.json()["result"]}


@dataclass(slots=True)
class _Rest:
    """After calls in a row that nobody answered, none is made for a moment."""

    failures: int = 0
    until: float = 0.0
    cause: str = ""

    def enter(self, now: float) -> None:
        """:raises PolicyUnavailable: the last cause; no call is to be made now."""
        if now < self.until:
            raise unanswered(self.cause)

    def failed(self, code: str, now: float, *, slow: bool = False) -> None:
        """A call ended without an answer. After a rest the first one decides alone.

        :param slow: it cost time, whatever its code.
        """
        if code in NOBODY or slow:
            self.failures += 1
            self.cause = code if code in NOBODY else "OPA_SLOW"
            if self.failures >= FAILURES:
                self.until = now + REST_S
        else:
            self.answered()

    def answered(self) -> None:
        """Somebody is there."""
        self.failures = 0


class OpaEngine:
    """A policy that an OPA server runs. One evaluation at a time, over one connection."""

    name = "opa"

    def __init__(
        self,
        place: Place,
        *,
        token: str = "",
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """:param release: called once, when the engine is closed or nobody holds it any longer.

        :raises PolicyUnavailable: OPA_CA.
        """
        self._deadline_s = deadline_s
        self._client = Client(place, token=token, timeout=deadline_s, largest=MAX_RESULT)
        self._clock = clock
        self._rest = _Rest()
        self._lock = threading.Lock()
        self._release = finalize(self, release)

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: no answer, or none that is one; the code says why."""
        if point not in POINTS:
            raise unanswered("OPA_POINT")
        if not self._release.alive or not self._lock.acquire(timeout=self._deadline_s):
            raise unanswered("ENGINE_FAILED")
        try:
            self._rest.enter(self._clock())
            return self._answered(point, document)
        finally:
            self._lock.release()

    def _answered(self, point: str, document: Mapping[str, object]) -> bytes:
        began = self._clock()
        try:
            result = self._ask(point, document)
        except PolicyUnavailable as error:
            now = self._clock()
            self._rest.failed(error.code, now, slow=now - began > SLOW * self._deadline_s)
            raise
        self._rest.answered()
        return result

    def _ask(self, point: str, document: Mapping[str, object]) -> bytes:
        try:
            answer = self._client.query_rule(document, f"fairlead.{point}", "decision")
        except requests.HTTPError as error:
            raise refusal(error) from None
        except requests.JSONDecodeError:
            raise unanswered("OPA_GARBAGE") from None
        except (requests.RequestException, TypeError, ValueError):
            raise unanswered("ENGINE_FAILED") from None  # an input that JSON cannot say
        if not isinstance(answer, dict):
            raise unanswered("OPA_GARBAGE")
        if "decision_id" in answer:
            raise unanswered("OPA_LOGS_INPUTS")  # only with a decision log of its own
        if "result" not in answer:
            raise unanswered("OPA_UNDEFINED")
        if answer.keys() != {"result"}:
            raise unanswered("OPA_GARBAGE")
        try:
            return orjson.dumps(answer["result"])
        except orjson.JSONEncodeError:
            raise unanswered("OPA_GARBAGE") from None

    def close(self) -> None:
        """Give the server up; later evaluations are unavailable."""
        if self._release.alive:
            self._client.close_connection()
        self._release()
