"""A published release: what may be seen of one cube at one level for one unit of time.

Its octets are canonical protobuf, so that two who have the same release have the same octets. They
do not repeat what the registry says: the cells are those of the level, in their canonical order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fairlead import signing
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from fairlead.v1 import statistics_pb2 as pb

DOMAIN = "published"
MAX_VALUE = 2**62
MAX_PARTNERS = 1024
MAX_VERSION = 2**32 - 1
MAX_METHOD = 2_000
"""Characters of a note on the method."""
MAX_MOMENT = 2**40
"""Unix seconds; some time after the year 30,000."""


class Shown(StrEnum):
    """How a cell is shown."""

    VALUE = "value"
    ZERO = "zero"
    """A figure of nought, or one that noise and rounding left at or below it."""
    PARTIAL = "partial"
    """The total of those parts that are released; others are not."""
    SUPPRESSED = "suppressed"
    NOT_REPORTED = "not-reported"

    @property
    def is_number(self) -> bool:
        """Whether there is a figure."""
        return self in _FIGURES


_FIGURES = frozenset({Shown.VALUE, Shown.ZERO, Shown.PARTIAL})
_WIRE: dict[Shown, int] = {
    Shown.VALUE: pb.SHOWN_VALUE,
    Shown.ZERO: pb.SHOWN_ZERO,
    Shown.PARTIAL: pb.SHOWN_PARTIAL,
    Shown.SUPPRESSED: pb.SHOWN_SUPPRESSED,
    Shown.NOT_REPORTED: pb.SHOWN_NOT_REPORTED,
}
_READ = {number: shown for shown, number in _WIRE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """One cell of one measure. ``value``, rounded and with noise, and ``error``, by which the true
    one is off at most (95 %), are whole; of a median or a rate, tenths (:func:`decimals`).

    :raises InvalidInput: PUBLISHED_FORM: a number where none is shown, or one out of range.
    """

    codes: tuple[str, ...]
    shown: Shown
    value: int = 0
    error: int = 0

    def __post_init__(self) -> None:
        right = 0 <= self.value <= MAX_VALUE and 0 <= self.error <= MAX_VALUE
        match self.shown:
            case Shown.VALUE:
                right &= self.value > 0
            case Shown.ZERO:
                right &= self.value == 0
            case Shown.SUPPRESSED | Shown.NOT_REPORTED:
                right &= self.value == self.error == 0
        _require(right)

    @classmethod
    def of(
        cls, codes: tuple[str, ...], figure: int | None, error: int = 0, *, partial: bool = False
    ) -> PublishedCell:
        """A cell that was decided: withheld without a figure; nothing is ever below nought."""
        if figure is None:
            return cls(codes=codes, shown=Shown.SUPPRESSED)
        shown = Shown.PARTIAL if partial else Shown.VALUE if figure > 0 else Shown.ZERO
        return cls(codes=codes, shown=shown, value=max(0, figure), error=error)

    def said(self, places: int) -> str:
        """For a person: ``1,250 ± 15``, ``0 ± 15``, ``suppressed``, ``not reported``."""
        match self.shown:
            case Shown.SUPPRESSED:
                return "suppressed"
            case Shown.NOT_REPORTED:
                return "not reported"
        off = f" ± {spoken(self.error, places)}" if self.error else ""
        part = " in part" if self.shown is Shown.PARTIAL else ""
        return f"{spoken(self.value, places)}{off}{part}"


def decimals(measure: Measure) -> int:
    """Decimal places of a measure's figures."""
    return 1 if measure.kind in {MeasureKind.MEDIAN, MeasureKind.RATE} else 0


def spoken(value: int, places: int) -> str:
    """``1,250`` or ``12.5``, for a person.

    :param value: in units of the last place, not below nought.
    """
    return _written(value, places, "{:,}")


def plain(value: int, places: int) -> str:
    """``1250`` or ``12.5``, for a program."""
    return _written(value, places, "{}")


def _written(value: int, places: int, form: str) -> str:
    whole, rest = divmod(value, 10**places)
    return form.format(whole) + (f".{rest:0{places}d}" if places else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The cells of one measure, in the canonical order of the level's."""

    measure: Measure
    cells: tuple[PublishedCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A release. ``figures``: of every measure of the cube, in its order. ``version`` counts from
    1; it is 0 where too few took part and nothing is reported, and such a one is never frozen.

    :raises InvalidInput: PUBLISHED_FORM: these are not figures of the cube's cells, or it was
        released before its unit of time was over.
    """

    cube: Cube
    registry_digest: bytes
    level: Level
    unit: Unit
    version: int
    participants: int
    expected: int
    figures: tuple[Figures, ...]
    released_at: int
    rules_digest: bytes
    method: str

    def __post_init__(self) -> None:
        _require(self.level in self.cube.levels and self.unit.step is self.level.time)
        _require(0 <= self.version <= MAX_VERSION)
        _require(0 <= self.participants <= self.expected <= MAX_PARTNERS)
        _require(self.unit.ends <= self.released_at <= MAX_MOMENT)
        _require(len(self.registry_digest) == len(self.rules_digest) == 32)
        _require(len(self.method) <= MAX_METHOD and self.method.isprintable())
        _require(tuple(each.measure for each in self.figures) == self.cube.measures)
        codes = codes_of(self.level, self.unit)
        for each in self.figures:
            _require(tuple(cell.codes for cell in each.cells) == codes)
        shown = {cell.shown for each in self.figures for cell in each.cells}
        _require((self.version == 0) == (shown == {Shown.NOT_REPORTED}))

    @classmethod
    def parse(
        cls, data: bytes, registries: Iterable[Registry], *, same: Cube | None = None
    ) -> Published:
        """Read a release's octets. Total.

        :param registries: those that it may be of, known by their digests.
        :param same: a cube that a release of any other registry may be of, in this very version: no
            later registry has another cube under it (:mod:`fairlead.cubes.succession`).
        :raises InvalidInput: not one (PUBLISHED_FORM or why it is not canonical), or of a registry,
            a cube or a level that is not there (PUBLISHED_REGISTRY, CUBE_UNKNOWN, LEVEL_UNKNOWN).
        """
        said = signing.parse_canonical(pb.PublishedRelease, data)
        if same is not None and (said.cube, said.cube_version) == (same.id, same.version):
            cube = same
        else:
            cube = _named(said.registry_digest, registries).cube(said.cube)
        level, unit = cube.level(said.level), parse_unit(said.unit)
        _require(cube.version == said.cube_version and unit.step is level.time)
        codes = codes_of(level, unit)
        _require(len(said.figures) == len(cube.measures))
        return cls(
            cube=cube,
            registry_digest=said.registry_digest,
            level=level,
            unit=unit,
            version=said.version,
            participants=said.participants,
            expected=said.expected,
            figures=tuple(
                _figures(each, measure, codes)
                for each, measure in zip(said.figures, cube.measures, strict=True)
            ),
            released_at=said.released_at,
            rules_digest=said.rules_digest,
            method=said.method,
        )

    def to_bytes(self) -> bytes:
        """Its octets; no other release has them."""
        return signing.canonical(
            pb.PublishedRelease(
                cube=self.cube.id,
                cube_version=self.cube.version,
                registry_digest=self.registry_digest,
                level=self.level.name,
                unit=self.unit.spelling,
                version=self.version,
                participants=self.participants,
                expected=self.expected,
                figures=[_message(each) for each in self.figures],
                released_at=self.released_at,
                rules_digest=self.rules_digest,
                method=self.method,
            )
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the octets under their domain."""
        return signing.digest(signing.preimage(DOMAIN, self.to_bytes()))

    def of(self, measure: str) -> tuple[PublishedCell, ...]:
        """The cells of one measure.

        :raises InvalidInput: MEASURE_UNKNOWN.
        """
        wanted = self.cube.measure(measure)
        return next(each.cells for each in self.figures if each.measure == wanted)

    def counted(self) -> dict[Shown, int]:
        """How many figures are shown in each way, over all measures."""
        found = dict.fromkeys(Shown, 0)
        for each in self.figures:
            for cell in each.cells:
                found[cell.shown] += 1
        return found


def codes_of(level: Level, unit: Unit) -> tuple[tuple[str, ...], ...]:
    """The codes of a level's cells in one unit of time, in canonical order."""
    return tuple(cell.codes for cell in level.cells(Period(unit, unit)))


def _named(digest: bytes, registries: Iterable[Registry]) -> Registry:
    for registry in registries:
        if registry.digest == digest:
            return registry
    raise InvalidInput(
        "a release is of a registry that is not here",
        reasons=("PUBLISHED_REGISTRY",),
        remedy="use the policy release under which the figures were counted",
    )


def _figures(
    said: pb.PublishedFigures, measure: Measure, codes: Sequence[tuple[str, ...]]
) -> Figures:
    _require(said.measure == measure.id)
    _require(len(said.shown) == len(said.values) == len(said.errors) == len(codes))
    rows = zip(codes, said.shown, said.values, said.errors, strict=True)
    return Figures(measure=measure, cells=tuple(_cell(*row) for row in rows))


def _cell(codes: tuple[str, ...], shown: int, value: int, error: int) -> PublishedCell:
    _require(shown in _READ)
    return PublishedCell(codes=codes, shown=_READ[shown], value=value, error=error)


def _message(figures: Figures) -> pb.PublishedFigures:
    return pb.PublishedFigures(
        measure=figures.measure.id,
        shown=[_WIRE[cell.shown] for cell in figures.cells],  # type: ignore[misc]
        values=[cell.value for cell in figures.cells],
        errors=[cell.error for cell in figures.cells],
    )


def _require(right: bool) -> None:
    """:raises InvalidInput: PUBLISHED_FORM."""
    if not right:
        raise InvalidInput(
            "these are not the figures of a release",
            reasons=("PUBLISHED_FORM",),
            remedy="ask for the release again",
        )
