"""The owner's half of a blind query: elements evaluated under its keys, nothing looked up.

What is computed depends on the number of elements alone. Whether a term is held shows nowhere at
its owner: the entries lie with the asker already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fairlead import blinding
from fairlead.blinding import PrivateKey
from fairlead.envelope.blinded import BlindedTerms, EvaluatedTerms
from fairlead.envelope.manifest import Manifest
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError, Refused
from fairlead.policy.decision import Audience, Reason


class Answerable(Protocol):
    """What is published, as far as evaluation needs it."""

    @property
    def manifest(self) -> Manifest: ...


class Publications(Protocol):
    """What this owner publishes; see :class:`node.publication.publisher.Publisher`."""

    def published(self, audience: bytes, epoch: int, scheme: str) -> Answerable:
        """:raises Stale: ``EPOCH_OVER`` or ``CLASS_OVER``."""
        ...

    def key_of(self, manifest: Manifest) -> PrivateKey:
        """:raises Stale: ``EPOCH_OVER``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """The elements of one scheme, the key that answers them, and the manifest it stands in."""

    blinded: BlindedTerms
    key: PrivateKey
    manifest: Manifest


class Evaluation:
    """Finds keys and evaluates. A key is kept in memory as long as it answers."""

    def __init__(self, publications: Publications, *, clock: Callable[[], float]) -> None:
        self._publications = publications
        self._clock = clock
        self._keys: dict[bytes, tuple[PrivateKey, int]] = {}

    def keyed(self, query: Query, blinded: Sequence[BlindedTerms]) -> tuple[Keyed, ...]:
        """The key for each scheme asked.

        1. Something is published for the class that is named, in that epoch and scheme, and the
           class is of the policy in force.
        2. The asking partner is of that class.
        3. The purpose is of that class.

        :raises Stale: ``EPOCH_OVER`` or ``CLASS_OVER``. :raises Refused: ``BLIND_CLASS``.
        """
        self.forget()
        return tuple(self._keyed(query, item) for item in blinded)

    def forget(self) -> None:
        """Drop the keys whose time is over: their seeds are erased too."""
        now = self._clock()
        for public in [p for p, (_, until) in self._keys.items() if now >= until]:
            del self._keys[public]

    def _keyed(self, query: Query, item: BlindedTerms) -> Keyed:
        # 1
        found = self._publications.published(item.audience, item.epoch, item.scheme)
        audience = found.manifest.audience
        # 2 and 3
        if (
            query.asker.partner_id not in audience.partners
            or query.purpose not in audience.purposes
        ):
            raise Refused("a class does not hold this question", reasons=("BLIND_CLASS",))
        return Keyed(blinded=item, key=self._key(found.manifest), manifest=found.manifest)

    def _key(self, manifest: Manifest) -> PrivateKey:
        if manifest.public_key not in self._keys:
            key = self._publications.key_of(manifest)
            self._keys[manifest.public_key] = key, manifest.answers_until
        return self._keys[manifest.public_key][0]


def evaluate(keyed: Sequence[Keyed]) -> list[EvaluatedTerms]:
    """Evaluate and prove, for a thread of its own: about 130 µs an element.

    :raises InvalidInput: ``POINT``: an element is the identity or not canonical.
    """
    return [
        EvaluatedTerms(
            evaluation=blinding.evaluate(item.key, item.blinded.elements),
            manifest=item.manifest.digest,
        )
        for item in keyed
    ]


def reason_of(error: FairleadError) -> Reason:
    """Why nothing is evaluated; it depends on no record."""
    return Reason(code=error.code, audience=Audience.REQUESTER)
