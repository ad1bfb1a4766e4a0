"""A watch: a blind query that stands, what is known of it, and when it is over. No I/O.

Active → must be renewed (an epoch, a class or a policy is over, or a partner never answered) →
active again under a new order, or ended; ended is for good. News come on the way, and a watch
never turns blind without one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from fairlead.envelope.query import Scope
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.blinded import Looked, Usable

DAY_S = 86_400
MAX_NEWS = 4_096
"""News kept of one watch; the oldest go."""
UNANSWERED = "UNANSWERED"
EPOCH_OVER, CLASS_OVER, POLICY_CHANGED = "EPOCH_OVER", "CLASS_OVER", "POLICY_CHANGED"
PARTNER_LEFT, OUTPUTS_LOST = "PARTNER_LEFT", "OUTPUTS_LOST"
ENTRY = "ENTRY"
"""The owner's entry does not open: its doing."""
TIME_OVER, CASE_OVER, SUSPENDED = "TIME_OVER", "CASE_OVER", "USER_SUSPENDED"

APPEARED = pb.WATCH_NEWS_KIND_APPEARED
CHANGED = pb.WATCH_NEWS_KIND_CHANGED
DISAPPEARED = pb.WATCH_NEWS_KIND_DISAPPEARED
MUST_RENEW = pb.WATCH_NEWS_KIND_MUST_RENEW
ENDED = pb.WATCH_NEWS_KIND_ENDED

Answers = Mapping[int, query_pb2.TermAnswer]
"""Hits by place of their term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One thing noticed; times in unix seconds. ``said`` is a ``pb.WatchNews``, without its time
    and whether it was read."""

    noticed_at: int
    kept_until: int
    unread: bool
    said: pb.WatchNews

    def to_wire(self) -> pb.WatchNews:
        """As its user sees it."""
        told = pb.WatchNews(noticed_at=self.noticed_at, unread=self.unread)
        told.MergeFrom(self.said)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One owner and scheme of a watch. ``over`` is why it is not looked up (a code), else empty;
    ``checked`` the digest of the manifest it was looked up in last; ``days`` for how long its
    owner lets an answer be kept; ``known`` and ``refs`` are the hits of that time."""

    owner: str
    scheme: str
    over: str = UNANSWERED
    audience: bytes = b""
    epoch: int = 0
    policy_serial: int = 0
    ends_at: int = 0
    checked: bytes = b""
    days: int = 0
    known: Answers = field(default_factory=dict)
    refs: tuple[bytes, ...] = ()

    @classmethod
    def begun(cls, looked: Looked, days: int) -> Watched:
        """As its owner's answer found it."""
        manifest = looked.manifest
        found = cls(
            owner=manifest.owner,
            scheme=manifest.scheme,
            over="",
            audience=manifest.audience.name,
            epoch=manifest.epoch,
            policy_serial=manifest.audience.policy_serial,
            ends_at=manifest.ends_at,
            days=days,
        )
        return found.seen(looked)

    def seen(self, looked: Looked) -> Watched:
        """After it was looked up again."""
        return replace(
            self,
            checked=looked.manifest.digest,
            known={answer.index: answer for answer in looked.answers if answer.hit},
            refs=tuple(ref for _, ref in looked.refs),
        )

    def ended(self, why: str) -> Watched:
        """Without anything that was known."""
        return Watched(owner=self.owner, scheme=self.scheme, over=why, ends_at=self.ends_at)

    def over_at(self, now: float, *, newest: Usable | None, policy_serial: int) -> str:
        """Why it must not be looked up any more; empty while it may.

        1. Its epoch has ended. 2. It was made for another policy than is in force here. 3. Its
        owner now publishes another class for it.

        :param newest: what its owner would be asked under now, where that is known.
        """
        if now >= self.ends_at:
            return EPOCH_OVER
        if self.policy_serial != policy_serial:
            return POLICY_CHANGED
        if newest is not None:
            told = newest.manifest
            if (told.audience.name, told.epoch) != (self.audience, self.epoch):
                return CLASS_OVER
        return ""

    # ── At rest ──────────────────────────────────────────────────────────────────────────────

    def to_bytes(self) -> bytes:
        """Everything, to be encrypted."""
        return orjson.dumps(
            {
                "owner": self.owner,
                "scheme": self.scheme,
                "over": self.over,
                "audience": _text(self.audience),
                "epoch": self.epoch,
                "policy_serial": self.policy_serial,
                "ends_at": self.ends_at,
                "checked": _text(self.checked),
                "days": self.days,
                "known": [_text(item.SerializeToString()) for item in self.known.values()],
                "refs": [_text(ref) for ref in self.refs],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Watched:
        """Undo :meth:`to_bytes`; the octets were authenticated when they were decrypted."""
        kept = orjson.loads(data)
        known = [query_pb2.TermAnswer.FromString(_octets(item)) for item in kept["known"]]
        kept |= {
            "audience": _octets(kept["audience"]),
            "checked": _octets(kept["checked"]),
            "known": {item.index: item for item in known},
            "refs": tuple(_octets(ref) for ref in kept["refs"]),
        }
        return cls(**kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A standing query; times in unix seconds. ``ended`` is why it is over, else empty. ``order``
    and ``signature`` are what its user signed last, and stay as evidence."""

    watch_id: bytes
    query_id: bytes
    """Of the query that was asked for it last."""
    user: str
    """The user's SPIFFE id."""
    user_name: str
    case_id: str
    case_commitment: bytes
    purpose: str
    terms: tuple[tuple[str, str], ...]
    scope: Scope
    order: bytes
    signature: bytes
    begun_at: int
    until: int
    kept_until: int
    retention_days: int
    ended: str = ""
    news: tuple[News, ...] = ()

    @classmethod
    def begun(cls, batch: Batch) -> Watch:
        """As its user ordered it, with nothing known yet."""
        order = pb.WatchOrder.FromString(batch.watch)
        return cls(
            watch_id=order.renews or batch.batch_id,
            query_id=batch.batch_id,
            user=batch.user,
            user_name=batch.user_name,
            case_id=batch.case_id,
            case_commitment=batch.content.case_commitment,
            purpose=batch.content.purpose,
            terms=tuple(batch.terms),
            scope=batch.scope,
            order=batch.watch,
            signature=batch.watch_signature,
            begun_at=batch.asked_at,
            until=order.until,
            kept_until=batch.asked_at + batch.case_retention_days * DAY_S,
            retention_days=batch.case_retention_days,
        )

    @property
    def unread(self) -> int:
        """News that nobody read yet."""
        return sum(item.unread for item in self.news)

    def told(self, said: Sequence[pb.WatchNews], now: float, *, days: int | None = None) -> Watch:
        """With more news, kept no longer than owner and case allow."""
        kept = self.retention_days if days is None else min(days, self.retention_days)
        fresh = tuple(
            News(noticed_at=int(now), kept_until=int(now) + kept * DAY_S, unread=True, said=item)
            for item in said
        )
        return replace(self, news=(*self.news, *fresh)[-MAX_NEWS:])

    def read(self) -> Watch:
        """With nothing unread."""
        return replace(self, news=tuple(replace(item, unread=False) for item in self.news))

    def pruned(self, now: float) -> Watch:
        """Without what may be kept no longer."""
        return replace(self, news=tuple(item for item in self.news if item.kept_until > now))

    def over(self, why: str, now: float) -> Watch:
        """Ended for good."""
        if self.ended:
            return self
        said = pb.WatchNews(kind=ENDED, reason=why)
        return replace(self.told([said], now), ended=why)

    def state(self, places: Sequence[Watched]) -> pb.WatchState.ValueType:
        """How it stands."""
        if self.ended:
            return pb.WATCH_STATE_ENDED
        if not places or any(place.over for place in places):
            return pb.WATCH_STATE_MUST_RENEW
        return pb.WATCH_STATE_ACTIVE

    # ── At rest ──────────────────────────────────────────────────────────────────────────────

    def to_bytes(self) -> bytes:
        """Everything, to be encrypted."""
        scope = self.scope
        return orjson.dumps(
            {
                "watch_id": _text(self.watch_id),
                "query_id": _text(self.query_id),
                "user": self.user,
                "user_name": self.user_name,
                "case_id": self.case_id,
                "case_commitment": _text(self.case_commitment),
                "purpose": self.purpose,
                "terms": self.terms,
                "scope": [scope.since, scope.until, scope.events, scope.tlp, scope.pap],
                "order": _text(self.order),
                "signature": _text(self.signature),
                "begun_at": self.begun_at,
                "until": self.until,
                "kept_until": self.kept_until,
                "retention_days": self.retention_days,
                "ended": self.ended,
                "news": [
                    [n.noticed_at, n.kept_until, n.unread, _text(n.said.SerializeToString())]
                    for n in self.news
                ],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Watch:
        """Undo :meth:`to_bytes`; the octets were authenticated when they were decrypted."""
        kept: dict[str, Any] = orjson.loads(data)
        since, until, events, tlp, pap = kept["scope"]
        octets = ("watch_id", "query_id", "case_commitment", "order", "signature")
        kept |= {name: _octets(kept[name]) for name in octets}
        kept |= {
            "terms": tuple((scheme, value) for scheme, value in kept["terms"]),
            "scope": Scope(since=since, until=until, events=tuple(events), tlp=tlp, pap=pap),
            "news": tuple(
                News(
                    noticed_at=at,
                    kept_until=end,
                    unread=unread,
                    said=pb.WatchNews.FromString(_octets(said)),
                )
                for at, end, unread, said in kept["news"]
            ),
        }
        return cls(**kept)


def differences(
    place: Watched, looked: Looked, terms: Sequence[tuple[str, str]]
) -> list[pb.WatchNews]:
    """What a later snapshot says otherwise than what is known, in the order of terms."""
    found = []
    for answer in looked.answers:
        before = place.known.get(answer.index)
        scheme, value = terms[answer.index]
        said = pb.WatchNews(
            partner_id=place.owner, scheme=scheme, term=pb.Term(scheme=scheme, value=value)
        )
        if answer.hit and before is None:
            said.kind = APPEARED
        elif answer.hit and answer != before:
            said.kind = CHANGED
        elif before is not None and not answer.hit:
            said.kind = DISAPPEARED
        else:
            continue
        if answer.hit:
            said.answer.CopyFrom(answer)
        found.append(said)
    return found


def no_more(place: Watched, why: str) -> pb.WatchNews:
    """That nothing is looked up at a place any more."""
    return pb.WatchNews(kind=MUST_RENEW, partner_id=place.owner, scheme=place.scheme, reason=why)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _octets(text: str) -> bytes:
    return base64.b64decode(text)
