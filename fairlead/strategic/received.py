"""What comes back of a question about figures, checked by the asker's node and by its user alike.

Neither believes the gateway more than the other: a release is the one that was asked for, in the
words of the registry that both know, and a gateway of the directory signed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fairlead import signing
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit
from fairlead.cubes.registry import Registry
from fairlead.errors import Forged
from fairlead.partners import SKEW_S, Directory
from fairlead.published import DOMAIN, Published
from fairlead.receipts import verify_receipt
from fairlead.strategic.question import Signed
from fairlead.strategic.terms import version_at
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb

ASKED = "figures-asked"
"""The subject of the leaf by which a question is on the record."""
RELEASED = "figures-released"
"""The subject of the leaf of a release."""
_REMEDY = "tell your security officer: the gateway's answer is not to be used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked: one release for each unit of ``period``, of one cube at one level."""

    registry: Registry
    cube: Cube
    level: Level
    period: Period
    purpose: str

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units of time, in order."""
        return self.period.units(self.level.time)


@dataclass(slots=True, kw_only=True)
class Received:
    """What has come back so far. ``releases``: by unit of time, each once. Nothing can have
    been released later than ``clock`` says (Unix seconds) when it arrives."""

    request: Request
    directory: Directory
    clock: Callable[[], float]
    releases: dict[Unit, Published] = field(default_factory=dict)

    def take(self, found: pb.ReleasedFigures) -> Published:
        """Check a release, and keep it.

        1. A gateway of the directory signed its octets.
        2. They are canonical, and figures of the registry that was named, or, frozen under an
           earlier one, of the same version of the cube.
        3. It is of the cube and the level, and of one of the units that were asked for; of each,
           once.
        4. It is not from the future, and of a version that could be due when it was released: else
           a figure that is out could become another one by a higher version.
        5. The leaf of exactly this release is in that gateway's log. Of what is not reported
           there is none.

        :raises Forged: not so. :raises InvalidInput: malformed.
        """
        # 1
        check_signed(found, self.directory)
        # 2
        release = Published.parse(found.release, [self.request.registry], same=self.request.cube)
        # 3
        request = self.request
        asked = release.cube == request.cube and release.level == request.level
        other = release.unit not in request.units or release.unit in self.releases
        # 4
        due = version_at(release.unit, release.released_at)
        late = release.released_at > self.clock() + SKEW_S or release.version > due
        if not asked or other or late:
            raise Forged(
                "the gateway released other figures than those asked for",
                reasons=("FIGURES_OTHER",),
                remedy=_REMEDY,
            )
        # 5
        if release.version:
            check_released_leaf(found, release, self.directory)
        self.releases[release.unit] = release
        return release

    def check_whole(self) -> None:
        """:raises Forged: FIGURES_MISSING: of some unit nothing came back."""
        if len(self.releases) != len(self.request.units):
            raise Forged(
                "the gateway ended before it had released everything that was asked for",
                reasons=("FIGURES_MISSING",),
                remedy="ask again: what was released stays as it is",
            )

    def ordered(self) -> Iterator[Published]:
        """The releases in the order of their units."""
        return (self.releases[unit] for unit in self.request.units if unit in self.releases)


def check_signed(found: pb.ReleasedFigures, directory: Directory) -> None:
    """:raises Forged: no gateway of the directory signed this release."""
    gateway = directory.gateways.get(found.gateway)
    if gateway is None:
        raise Forged(
            "a release is signed by no gateway of the directory",
            reasons=("GATEWAY_UNKNOWN",),
            remedy=_REMEDY,
        )
    signing.verify(gateway.signing_key, DOMAIN, found.release, found.signature)


def check_released_leaf(
    found: pb.ReleasedFigures, release: Published, directory: Directory
) -> None:
    """Whether a release is on the record of the gateway that signed it. That the record is the one
    seen before is for whoever keeps its heads.

    :raises Forged: it is not. :raises InvalidInput: malformed.
    """
    if not found.HasField("receipt"):
        raise _unrecorded()
    gateway = directory.gateways[found.gateway]
    bare = audit_pb2.Receipt(leaf=found.receipt.leaf, tlog_proof=found.receipt.tlog_proof)
    verify_receipt(bare, origin=gateway.log_origin, public_key=gateway.log_key, head=None)
    said = signing.parse_canonical(audit_pb2.AuditLeaf, bare.leaf)
    about = said.figures
    if (
        (said.type, said.subject),
        (about.cube, about.cube_version, about.level, about.period, about.version),
        about.statement_digest,
    ) != (
        (audit_pb2.LEAF_TYPE_FIGURES, RELEASED),
        (release.cube.id, release.cube.version, release.level.name, release.unit.spelling,
         release.version),
        release.digest,
    ):  # fmt: skip
        raise _unrecorded()


def _unrecorded() -> Forged:
    return Forged(
        "the gateway has other figures on its record than those it released, or none",
        reasons=("FIGURES_LEAF",),
        remedy=_REMEDY,
    )


def check_asked_leaf(leaf: bytes, asked: Signed) -> None:
    """Whether the leaf that the gateway shows is of this question.

    :raises Forged: it is not. :raises InvalidInput: it is no leaf.
    """
    said = signing.parse_canonical(audit_pb2.AuditLeaf, leaf)
    about = said.figures
    if (
        said.type,
        said.subject,
        said.query_id,
        (said.partner_id, said.user, said.purpose),
        (about.cube, about.cube_version, about.level, about.period),
    ) != (
        audit_pb2.LEAF_TYPE_FIGURES,
        ASKED,
        asked.question_id,
        (asked.asker.partner_id, asked.user.spiffe_id, asked.purpose),
        (asked.cube, asked.cube_version, asked.level, asked.period),
    ):
        raise Forged(
            "the gateway records another question than the one asked",
            reasons=("FIGURES_LEAF",),
            remedy=_REMEDY,
        )
