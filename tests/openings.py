"""What the tests of openings share: an auditor, a query in a log, and honest oversights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.federation import UserSpec
from fairlead import merkle, receipts, ristretto, signing
from fairlead.certificates import Role
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.blinded import BlindedTerms
from fairlead.envelope.elements import Place, blind_for
from fairlead.envelope.owned import owned_detail
from fairlead.envelope.question import open_part
from fairlead.leaves import LeafWriter
from fairlead.opening.filtering import Filtered, Given, read_shares, sift
from fairlead.opening.matches import Matches, take_matches
from fairlead.opening.opened import Opened, open_leaf
from fairlead.opening.request import (
    DOMAIN,
    Auditor,
    Request,
    Subject,
    make_request,
    verify_request,
)
from fairlead.opening.share import Kept, Oversight, Released, own_shares, release, take
from fairlead.opening.sought import sought
from fairlead.v1 import audit_pb2, opening_pb2
from tests.oversights import seed_of
from tests.walks import NOW, OWNER, PaperLog, Walk, World, make_world

AUDITOR = ("police", "u-p09")
MORE_USERS = {AUDITOR[0]: [UserSpec(pseudonym=AUDITOR[1], roles=(Role.AUDITOR,))]}
GROUND, REFERENCE = "court-order", "ROT 26/417"
SEED, AUDIENCE = bytes(range(32)), b"a" * 32
Change = Callable[[opening_pb2.AskedDetail], object]


def auditors_world(folder: Path) -> World:
    """Four partners, one of whom has an auditor."""
    return make_world(folder, more_users=MORE_USERS)


def auditor(world: World, who: tuple[str, str] = AUDITOR) -> Auditor:
    """A user's certificate and key."""
    key = signing.load_user_key(world.opened.layout.user(*who) / "user.key")
    return Auditor(certificate=world.certificate(*who), key=key)


def blind_walk(world: World, *terms: tuple[str, str], **changes: object) -> Walk:
    """A blind query whose elements follow from :data:`SEED`."""
    places = [Place(scheme=s, audience=AUDIENCE, epoch=7) for s in sorted({s for s, _ in terms})]
    made = blind_for(OWNER, seed=SEED, chunk=0, terms=terms, places=places)
    blinded: Sequence[BlindedTerms] = [asked for asked, _ in made]
    assert sum(len(item.elements) for item in blinded) % ristretto.SIZE == 0
    settings: dict[str, object] = {"blinded": blinded, "blind_seed": SEED, **changes}
    return world.walk(*terms, **settings)  # type: ignore[arg-type]


@dataclass(slots=True, kw_only=True)
class Logged:
    """A log on paper with the INTENT leaves of some queries, and their details."""

    world: World
    found: list[tuple[opening_pb2.Sought, bytes]] = field(default_factory=list)

    @classmethod
    def at_gateway(cls, *walks: Walk) -> Logged:
        """The gateway's log, with the askers' details."""
        world = walks[0].world
        writer = LeafWriter(log="gateway/gw-1", clock=lambda: NOW)
        paper = PaperLog(world)
        for walk in walks:
            leaf, _ = writer.intent(walk.verify(), rules=(), policy_serial=1, commits_to=b"")
            paper.append(leaf)
        receipts = [paper.receipt(place) for place in range(len(walks))]
        return cls(world=world).with_receipts(receipts, [walk.detail for walk in walks])

    def with_receipts(
        self, receipts: Sequence[audit_pb2.Receipt], details: Sequence[bytes]
    ) -> Logged:
        """The same with these leaves."""
        pairs = zip(receipts, details, strict=True)
        self.found += [(sought(receipt, detail), detail) for receipt, detail in pairs]
        return self

    def ask(self, **changes: object) -> Asked:
        """An auditor's request for all of them."""
        settings: dict[str, object] = {
            "auditor": auditor(self.world), "directories": [self.world.directory],
            "ground": GROUND, "reference": REFERENCE, "now": NOW, **changes,
        }  # fmt: skip
        signed, kept = make_request(self.found, **settings)  # type: ignore[arg-type]
        return Asked(world=self.world, signed=signed, secret=kept)

    def search(self, subject: Subject, **changes: object) -> Asked:
        """An auditor's request for a search of the hour."""
        period = {"since": int(NOW) - 3600, "until": int(NOW) + 3600}
        return self.ask(subject=subject, **period, **changes)


def owners_leaf(walk: Walk, *, notice_delay_s: int = 0) -> tuple[bytes, bytes]:
    """The INTENT leaf of the owner of a walk, and its detail, as its node makes both."""
    world, query = walk.world, walk.verify()
    question = open_part(
        walk.parts[OWNER], query, owner=OWNER, key=world.sealing_key(OWNER),
        directory=world.directory,
    )  # fmt: skip
    content, slack = owned_detail(walk.signed, question, (), notice_delay_s=notice_delay_s)
    bound = Bound(query_id=query.query_id, maker=OWNER)
    detail = seal_detail(world.directory, bound, content, slack=slack)
    writer = LeafWriter(log=f"partner/{OWNER}", clock=lambda: NOW)
    leaf, _ = writer.intent(
        query, rules=(), policy_serial=1, commits_to=b"", detail_digest=signing.digest(detail)
    )
    return leaf, detail


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request on its way round the committee."""

    world: World
    signed: bytes
    secret: bytes

    @property
    def request(self) -> Request:
        """As everybody verifies it."""
        return verify_request(self.signed, directories=[self.world.directory], now=NOW)

    @property
    def kept(self) -> Kept:
        """As its auditor has it."""
        return Kept.parse(self.secret, self.request)

    @property
    def committee(self) -> tuple[str, ...]:
        """Who is asked."""
        return tuple(partner for partner, _ in self.request.challenges)

    def oversight(self, member: str) -> Oversight:
        """A member's oversight, with a log key of its own."""
        return Oversight(
            partner_id=member,
            keys=[seed_of(self.world.opened.layout, member)],
            log_key=Ed25519PrivateKey.from_private_bytes(signing.digest(member.encode())),
        )

    def file(self, member: str) -> bytes:
        """What an honest oversight releases."""
        return release(self.request, by=self.oversight(member), leaf=b"leaf")

    def answers(self, *members: str) -> list[Released]:
        """What honest oversights released, as the auditor takes it; of a search as whoever filters
        has it."""
        if self.request.search:
            return [
                Released.of(member, own_shares(self.request, self.oversight(member)), b"leaf")
                for member in members
            ]
        return [take(self.file(member), self.request, self.kept) for member in members]

    def filtered(self, *members: str, files: Sequence[bytes] | None = None) -> Filtered:
        """What the oversight that filters lets out, with these other members' files."""
        request = self.request
        by = self.oversight(request.searcher)
        shares = [self.file(member) for member in members] if files is None else files
        given = Given(
            details=self.kept.details,
            files=tuple((data, read_shares(data, request, by)) for data in shares),
        )
        return sift(request, by=by, given=given, directories=[self.world.directory], leaf=b"leaf")

    def matches(self, *members: str) -> Matches:
        """The same, as the auditor takes it."""
        return take_matches(self.filtered(*members).octets, self.request, self.kept)

    def open(
        self, *members: str, place: int = 0, lies: Mapping[str, bytes] | None = None
    ) -> Opened:
        """Open one leaf with these members' shares, of whom some give another one."""
        released = self.answers(*members)
        for at, answer in enumerate(released):
            lie = (lies or {}).get(answer.partner_id)
            if lie is not None:
                shares = tuple(lie for _ in answer.shares)
                released[at] = Released(
                    partner_id=answer.partner_id, shares=shares, spoilt=frozenset(), leaf=b""
                )
        request, kept = self.request, self.kept
        return open_leaf(
            place, request.sought[place], kept.details[place], released, [self.world.directory]
        )


def owners_receipt(world: World, leaf: bytes) -> audit_pb2.Receipt:
    """A leaf alone in its owner's log."""

    tree = merkle.Tree()
    tree.append(merkle.leaf_hash(leaf))
    origin = f"{world.directory.federation}/partner/{OWNER}"
    note = receipts.sign_checkpoint(
        receipts.Checkpoint(origin=origin, size=1, root=tree.root()), world.signing_key(OWNER)
    )
    return receipts.make_receipt(leaf=leaf, index=0, inclusion=(), checkpoint=note)


def resigned(asked: Asked, change: Callable[[opening_pb2.OpeningRequest], object]) -> bytes:
    """The request with a change, signed by its auditor again."""
    signed = opening_pb2.SignedOpeningRequest.FromString(asked.signed)
    content = opening_pb2.OpeningRequest.FromString(signed.request)
    change(content)
    signed.request = signing.canonical(content)
    key = signing.load_user_key(asked.world.opened.layout.user(*AUDITOR) / "user.key")
    signed.signature = signing.sign_as_user(key, DOMAIN, signed.request)
    return signing.canonical(signed)
