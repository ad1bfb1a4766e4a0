"""What a process decides under, from the folders where its policy lies to decision points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.errors import FairleadError
from fairlead.officers import Officer
from fairlead.policy.bundle import Bundle, load_bundle, verify_files
from fairlead.policy.engine import EngineMaker, wasm_engine
from fairlead.policy.live import points_of
from fairlead.policy.manifest import MANIFEST, Kind, parse_manifest
from fairlead.policy.points import PolicyPoints
from fairlead.policy.store import Shelf
from fairlead.policy.validity import Validity
from fairlead.telemetry import Event, get_logger


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process keeps policy, and whom it believes.

    :param folder: ``policy_dir``. :param kept: every release that was in force here.
    :param own: the folder of the partner's own bundle, and who signs it.
    :param make: starts the engines.
    """

    folder: Path
    kept: Path
    officers: Callable[[], Sequence[Officer]]
    own: Path | None = None
    own_officers: tuple[Officer, ...] = ()
    make: EngineMaker = wasm_engine

    def federation(self, *, now: float, minimum: int = 0) -> Bundle:
        """The federation's bundle as it lies there.

        :raises PolicyUnavailable: see :func:`load_bundle`.
        """
        before = self._before(now)
        return load_bundle(self.folder, self.officers(), minimum, now, before=before)

    def local(self, *, now: float, minimum: int = 0) -> Bundle | None:
        """The partner's own; None where it has none.

        :raises PolicyUnavailable: see :func:`load_bundle`.
        """
        if self.own is None:
            return None
        return load_bundle(self.own, self.own_officers, minimum, now, local=True)

    def _before(self, now: float) -> Bundle | None:
        """The release before the one that lies there, for an emergency to be compared with."""
        try:
            named = parse_manifest((self.folder / MANIFEST).read_bytes()).manifest
            if named.kind is not Kind.EMERGENCY:
                return None
            return self.kept_release(named.serial - 1, now=now)
        except (FairleadError, OSError):
            return None

    def kept_release(self, serial: int, *, now: float) -> Bundle | None:
        """A release that was in force here, verified as of the time it was issued."""
        files = Shelf(self.kept).files(serial)
        if files is None:
            return None
        manifest = parse_manifest(files[MANIFEST]).manifest
        emergency = manifest.kind is Kind.EMERGENCY
        before = self.kept_release(serial - 1, now=now) if emergency else None
        issued = min(now, manifest.issued_at)
        return verify_files(files, officers=self.officers(), now=issued, before=before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Verified bundles and the points that decide under them. ``since``: Unix seconds."""

    bundle: Bundle
    own: Bundle | None
    points: PolicyPoints
    validity: Validity
    since: float


def load(
    place: Place,
    bundle: Bundle,
    own: Bundle | None,
    *,
    now: float,
    confirmed: float = 0,
    lenient: bool = False,
) -> Loaded:
    """Start the engines of verified bundles; half a second, not on the event loop.

    :param confirmed: when somebody last said that the release is current (Unix s).
    :param lenient: see :meth:`Bundle.layers`.
    :raises Misconfigured: the agreements are wrong. :raises PolicyUnavailable: no engine starts.
    """
    validity = Validity(bundle.manifest, since=confirmed)
    points = points_of(
        bundle, own, validity=validity, alarm=alarm, make=place.make, lenient=lenient
    )
    return Loaded(bundle=bundle, own=own, points=points, validity=validity, since=now)


def alarm(point: str, code: str) -> None:
    """What the operator's log says of a decision that could not be made."""
    get_logger().error(Event.POLICY_UNAVAILABLE, point=point, code=code)
