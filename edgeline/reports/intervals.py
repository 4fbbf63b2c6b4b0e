"""Values with their intervals on one axis, which begins where they differ and not at zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgeline.reports.report import number

WIDTH, HEIGHT = 240, 22
EDGE = 6  # beside the ends, so that a dot there is whole
ROOM = 0.08  # of the axis, beyond the least and the largest value


@dataclass(frozen=True)
class Mark:
    """A line across the axis: a bound, a baseline, all rows."""

    value: float
    name: str
    colour: str = "var(--grey)"


@dataclass(frozen=True)
class Axis:
    """From where to where values are drawn."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Pixels from the left; a value beyond an end stands at it."""
        share = (value - self.low) / (self.high - self.low)
        return EDGE + (WIDTH - 2 * EDGE) * min(max(share, 0.0), 1.0)


def axis(values: Iterable[float | None]) -> Axis:
    """An axis for some values, those that are None or not finite left out."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = (high - low) * ROOM or abs(high) * ROOM or 1.0
    return Axis(low - room, high + room)


def draw(
    on: Axis,
    value: float,
    lower: float | None,
    upper: float | None,
    marks: Sequence[Mark] = (),
    colour: str = "var(--blue)",
) -> Markup:
    """A dot at the value, a bar over its interval, and marks, each of which tells what it is."""
    middle = HEIGHT / 2
    parts = [
        f'<path d="M{EDGE} {middle}H{WIDTH - EDGE}" stroke="var(--line)" stroke-width="2"/>',
        *(_mark(on, mark) for mark in marks),
    ]
    told = number(value)
    if lower is not None and upper is not None:
        left, right = on.at(lower), on.at(upper)
        told += f", 95 % interval {number(lower)} to {number(upper)}"
        parts.append(
            f'<rect x="{left:.1f}" y="{middle - 3}" width="{max(right - left, 1):.1f}" height="6" '
            f'rx="3" fill="{colour}" fill-opacity=".35"/>'
        )
    parts.append(f'<circle cx="{on.at(value):.1f}" cy="{middle}" r="5" fill="{colour}"/>')
    title = f"<title>{escape(told)}</title>"
    return Markup(
        f'<svg class="interval" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img"><g>{title}{"".join(parts[:1])}{"".join(parts[1 + len(marks) :])}</g>'
        f"{''.join(parts[1 : 1 + len(marks)])}</svg>"
    )


def _mark(on: Axis, mark: Mark) -> str:
    at = on.at(mark.value)
    told = escape(f"{mark.name}: {number(mark.value)}")
    return (
        f'<g><title>{told}</title><path d="M{at:.1f} 2V{HEIGHT - 2}" stroke="{mark.colour}" '
        f'stroke-width="2" stroke-dasharray="3 2"/>'
        f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="transparent" stroke-width="10"/></g>'
    )
