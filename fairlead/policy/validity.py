"""How long a release decides: until its end, and while somebody is heard to say it is current.

OPA would go on with the last bundle for ever. Here a process that has not heard from its gateway
for longer than the release's maximum age that this serial is still the current one denies
everything (``POLICY_STALE``): what it has may have been tightened since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fairlead.errors import PolicyUnavailable
from fairlead.policy.engine import PolicyEngine
from fairlead.policy.manifest import Manifest


class Validity:
    """The life of one release in one process; shared by the engines that decide under it.

    :param since: Unix seconds at which it was last known to be the current one.
    """

    def __init__(self, manifest: Manifest, *, since: float) -> None:
        self.not_after = manifest.not_after
        self.max_age_s = manifest.max_age_s
        self.since = max(since, float(manifest.issued_at))

    @property
    def until(self) -> float:
        """When it stops deciding unless it is confirmed again."""
        return min(self.not_after, self.since + self.max_age_s)

    def confirm(self, now: float) -> None:
        """Somebody who knows says that it is current."""
        self.since = max(self.since, now)

    def check(self, now: float) -> None:
        """:raises PolicyUnavailable: POLICY_EXPIRED or POLICY_STALE."""
        if now >= self.not_after:
            raise PolicyUnavailable(
                "the policy has expired",
                reasons=("POLICY_EXPIRED",),
                remedy="two officers sign and publish one: fairlead policy sign DIR --key FILE",
            )
        if now >= self.since + self.max_age_s:
            raise PolicyUnavailable(
                "nobody has confirmed for too long that the policy is current",
                reasons=("POLICY_STALE",),
                remedy="let it reach its gateway; for the gateway: fairlead policy publish DIR",
            )


class ValidEngine:
    """An engine whose decisions end with the validity of its release."""

    def __init__(self, engine: PolicyEngine, validity: Validity) -> None:
        self._engine = engine
        self._validity = validity

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self._engine.name

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: POLICY_EXPIRED, POLICY_STALE, or as the engine inside."""
        now = document.get("now")
        if not isinstance(now, int):
            raise PolicyUnavailable("the policy has expired", reasons=("POLICY_EXPIRED",))
        self._validity.check(now)
        return self._engine.evaluate(point, document)

    def close(self) -> None:
        """Free the engine inside."""
        self._engine.close()


class RefusingEngine:
    """A layer that cannot be computed any more and therefore permits nothing: a partner's own
    policy that does not fit the federation's newest."""

    name = "none"

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:  # noqa: ARG002
        """:raises PolicyUnavailable: LOCAL_POLICY."""
        raise PolicyUnavailable(
            "the partner's own policy does not fit the federation's",
            reasons=("LOCAL_POLICY",),
            remedy="correct it and sign it anew: fairlead policy sign DIR --key FILE",
        )

    def close(self) -> None:
        """Nothing to free."""


def close_engines(engines: Iterable[PolicyEngine]) -> None:
    """Close what is no longer used."""
    for engine in engines:
        engine.close()
