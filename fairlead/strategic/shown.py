"""Every measure of a release as it is shown: what adds up first, then what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairlead.cubes.cube import Measure, MeasureKind
from fairlead.published import Figures, PublishedCell, codes_of
from fairlead.strategic import medians, rates
from fairlead.strategic.books import Kept
from fairlead.strategic.case import Case
from fairlead.strategic.errors import noise_of
from fairlead.strategic.layout import additive


def figures_of(case: Case, kept: Mapping[str, Kept]) -> tuple[Figures, ...]:
    """Every measure of the cube, in its order; a median stands on the cube's first count."""
    codes = codes_of(case.level, case.unit)
    measures = additive(case.cube)
    shown = {measure.id: _cells(measure, kept[measure.id], codes) for measure in measures}
    first = next((shown[m.id] for m in measures if m.kind is MeasureKind.COUNT), None)
    found = []
    for measure in case.cube.measures:
        match measure.kind:
            case MeasureKind.RATE:
                cells = rates.cells_of(measure, shown)
            case MeasureKind.MEDIAN:
                bars, by = case.words.bars(measure), case.words.contributing(measure)
                noise = noise_of(case.cube, measure, case.participants)
                cells = medians.cells_of(measure, codes, bars, by, first, case.rules, noise=noise)
            case _:
                cells = shown[measure.id]
        found.append(Figures(measure=measure, cells=cells))
    return tuple(found)


def _cells(
    measure: Measure, kept: Kept, codes: Sequence[tuple[str, ...]]
) -> tuple[PublishedCell, ...]:
    partial = {*kept.partial}
    found = []
    for at, (code, figure) in enumerate(zip(codes, kept.figures, strict=True)):
        if figure is None:
            found.append(PublishedCell.of(code, None))
            continue
        value, error = figure * measure.step, kept.errors[at]
        found.append(PublishedCell.of(code, value, error, partial=at in partial))
    return tuple(found)
