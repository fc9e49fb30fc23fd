"""Training metrics as rows with a small drawn course each."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.wording import number
from service.db.records import MetricSeries

_WIDTH, _HEIGHT = 120.0, 24.0
"""Of the drawing, in the units of its view box."""


@dataclass(frozen=True)
class MetricRow:
    """One metric: where it stands and how it got there."""

    stage: str
    name: str
    step: int
    latest: str
    path: str | None
    """SVG path of its course; None for a single point."""


def metric_rows(series: Sequence[MetricSeries]) -> list[MetricRow]:
    """A row for each metric with at least one point."""
    rows = []
    for one in series:
        if one.points:
            step, value = one.points[-1]
            rows.append(MetricRow(one.stage, one.name, step, significant(value), course(one.points)))
    return rows


def significant(value: float) -> str:
    """About four significant digits, without turning everyday numbers into exponents or counts into fractions."""
    if 10 <= abs(value) < 1e9 and value == round(value):
        return number(value, 0)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return number(value, 4 if abs(value) < 10 else 1)
    return f"{value:.2e}".replace("-", "\N{MINUS SIGN}")


def course(points: Sequence[tuple[int, float]]) -> str | None:
    """The points as an SVG path, from the lowest value at the bottom to the highest at the top."""
    if len(points) < 2:
        return None
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, span = min(values), max(values) - min(values)
    across = max(steps[-1] - steps[0], 1)
    drawn = [
        f"{_WIDTH * (step - steps[0]) / across:.1f} {_HEIGHT * (1 - ((value - low) / span if span else 0.5)):.1f}"
        for step, value in points
    ]
    return "M" + "L".join(drawn)
