"""Pictures of a search as inline SVG, which tell a trial under the mouse without a script."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.outcome import COMPLETE, INFEASIBLE, TrialOutcome
from edgeline.reports import report
from edgeline.reports.drawn import drawn

WIDTH, HEIGHT = 520, 320  # of the drawing; a phone shrinks it to two thirds
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 42
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#475569;paint-order:stroke;stroke:#fff;"
    "stroke-width:3px}"
    ".t{cursor:default}.t:hover{stroke:#0f172a;stroke-width:3;opacity:1}"
)


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` to places from `start` to `end`; logarithmic over decades."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> Scale:
        low, high = min(values), max(values)
        log = low > 0 and high / low > 100
        if low == high:
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        elif not log:
            low, high = low - (high - low) * 0.05, high + (high - low) * 0.05
        else:
            low, high = low / 1.2, high * 1.2
        return cls(low, high, start, end, log)

    def place(self, value: float) -> float:
        low, high, x = (map(math.log, (self.low, self.high, value)) if self.log
                        else (self.low, self.high, value))  # fmt: skip
        return self.start + (x - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """A few round numbers between the ends."""
        if self.log:
            first = math.ceil(math.log10(self.low))
            last = math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)] or [self.low, self.high]
        rough = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = unit * min((1, 2, 5, 10), key=lambda each: abs(each * unit - rough))
        count = math.floor(self.high / step) - math.ceil(self.low / step)
        first_tick = math.ceil(self.low / step)
        return [(first_tick + index) * step for index in range(count + 1)]


def front(
    trials: Sequence[TrialOutcome],
    objectives: Sequence[Objective],
    best: Sequence[int],
    chosen: int,
) -> Markup:
    """Trials by two objectives: a point each, the front as a line of steps."""
    across, up = objectives[1], objectives[0]
    shown = [each for each in trials if each.values]
    x = Scale.of([each.values[across.name] for each in shown], LEFT, WIDTH - RIGHT)
    y = Scale.of([each.values[up.name] for each in shown], HEIGHT - BOTTOM, TOP)
    parts = [_axes(x, y, across.name, up.name)]
    corners = sorted(
        (x.place(each.values[across.name]), y.place(each.values[up.name]))
        for each in shown
        if each.number in best
    )
    if len(objectives) == 2:
        parts.append(_path([f"{a:.1f} {b:.1f}" for a, b in corners], report.BLUE, dash="4 3"))
    for each in shown:
        place = x.place(each.values[across.name]), y.place(each.values[up.name])
        parts.append(_point(place, each, best, chosen, objectives))
    return _svg(parts, f"{up.name} and {across.name} of each trial")


def progress(trials: Sequence[TrialOutcome], objective: Objective, chosen: int) -> Markup:
    """One objective, trial by trial, and the best up to there as a line of steps."""
    shown = [each for each in trials if each.values]
    x = Scale.of([float(each.number) for each in shown], LEFT, WIDTH - RIGHT)
    y = Scale.of([each.values[objective.name] for each in shown], HEIGHT - BOTTOM, TOP)
    parts = [_axes(x, y, "trial", objective.name)]
    better = max if objective.is_maximized else min
    best, steps = math.nan, list[str]()
    for each in shown:
        if each.state != COMPLETE:
            continue
        value = each.values[objective.name]
        at = x.place(each.number)
        if steps:
            steps.append(f"{at:.1f} {y.place(best):.1f}")
        best = value if math.isnan(best) else better(best, value)
        steps.append(f"{at:.1f} {y.place(best):.1f}")
    parts.append(_path(steps, report.BLUE, dash="4 3"))
    for each in shown:
        place = x.place(each.number), y.place(each.values[objective.name])
        parts.append(_point(place, each, (), chosen, [objective]))
    return _svg(parts, f"{objective.name} trial by trial")


def curves(trials: Sequence[TrialOutcome], chosen: int) -> Markup:
    """The validation loss of each trial by epoch; nothing where no trial has one."""
    name = "val_loss"
    shown = [each for each in trials if each.curve.get(name)]
    values = [x for each in shown for x in each.curve[name] if math.isfinite(x)]
    if not values:
        return Markup("")
    longest = max(len(each.curve[name]) for each in shown)
    x = Scale.of([1.0, float(max(longest, 2))], LEFT, WIDTH - RIGHT)
    y = Scale.of(values, HEIGHT - BOTTOM, TOP)
    parts = [_axes(x, y, "epoch", name)]
    for each in sorted(shown, key=lambda each: each.number == chosen):
        points = [
            f"{x.place(index + 1):.1f} {y.place(value):.1f}"
            for index, value in enumerate(each.curve[name])
            if math.isfinite(value)
        ]
        title = f"{_words(each)}, {name} {each.curve[name][-1]:.4g}"
        parts.append(_line(points, title, each, chosen))
        if len(points) == 1:
            at, up = points[0].split()
            parts.append(_dot((float(at), float(up)), 3, _colour(each, chosen), title))
    return _svg(parts, "Validation loss by epoch, a line each trial")


def parallel(
    trials: Sequence[TrialOutcome], objectives: Sequence[Objective], chosen: int
) -> Markup:
    """Each trial as a line through its hyperparameters and its objectives."""
    shown = [each for each in trials if each.values]
    names = list(dict.fromkeys(name for each in shown for name in each.hyperparameters))
    columns: list[tuple[str, Callable[[TrialOutcome], Any]]] = [
        *((name, lambda each, name=name: each.hyperparameters.get(name)) for name in names),
        *((o.name, lambda each, name=o.name: each.values[name]) for o in objectives),
    ]
    width = max(WIDTH, 92 * len(columns))
    places = {index: 46 + (width - 112) * index / max(len(columns) - 1, 1)
              for index in range(len(columns))}  # fmt: skip
    parts, words, located = [], list[Markup](), []
    for index, (name, value_of) in enumerate(columns):
        at, label = places[index], _cut(name, 13)
        ticks, place = _axis([value_of(each) for each in shown])
        located.append((at, value_of, place))
        parts.append(
            Markup('<path d="M{:.1f} {}V{}" stroke="#94a3b8" fill="none"/>').format(
                at, TOP + 20, HEIGHT - BOTTOM
            )
        )
        parts.append(_text(at, TOP + 4, label, "middle", name))
        words += [_text(at + 4, up + 4, _cut(tick, 10), "start", tick) for tick, up in ticks]
    for each in sorted(shown, key=lambda each: each.number == chosen):
        points = [f"{at:.1f} {place(value_of(each)):.1f}" for at, value_of, place in located]
        parts.append(_line(points, _title(each, objectives), each, chosen))
    return _svg(
        [*parts, *words], "Each trial as a line through its hyperparameters and objectives", width
    )


def _axis(
    values: Sequence[Any],
) -> tuple[list[tuple[str, float]], Callable[[Any], float]]:
    """Ticks of a column, with their places, and the place of a value; None is below the others."""
    top, bottom = TOP + 26, HEIGHT - BOTTOM - 20
    given = [each for each in values if each is not None]
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in given)
    none = [("not set", float(HEIGHT - BOTTOM))] if len(given) < len(values) else []
    if numbers and len(set(given)) > 6:
        scale = Scale.of([float(each) for each in given], bottom, top)
        ends = (min(map(float, given)), max(map(float, given)))
        ticks = [(_number(each), scale.place(each)) for each in ends]
        return [*ticks, *none], lambda x: HEIGHT - BOTTOM if x is None else scale.place(float(x))
    known = sorted({json.dumps(each) for each in given}, key=_order)
    step = (bottom - top) / max(len(known) - 1, 1)
    at = {text: bottom - step * index for index, text in enumerate(known)}
    return [*at.items(), *none], lambda x: HEIGHT - BOTTOM if x is None else at[json.dumps(x)]


def _order(text: str) -> tuple[int, float, str]:
    value = json.loads(text)
    number = isinstance(value, (int, float))
    return (0, float(value), "") if number else (1, 0.0, text)


def _axes(x: Scale, y: Scale, across: str, up: str) -> Markup:
    parts = []
    for tick in x.ticks():
        at = x.place(tick)
        parts.append(_grid(f"M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"))
        parts.append(_text(at, HEIGHT - BOTTOM + 16, _number(tick), "middle"))
    for tick in y.ticks():
        at = y.place(tick)
        parts.append(_grid(f"M{LEFT} {at:.1f}H{WIDTH - RIGHT}"))
        parts.append(_text(LEFT - 6, at + 4, _number(tick), "end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, _cut(across, 50), "middle", across))
    turned = Markup(
        '<text transform="translate(12 {:.0f}) rotate(-90)" text-anchor="middle">{}</text>'
    )
    parts.append(turned.format((TOP + HEIGHT - BOTTOM) / 2, _cut(up, 36)))
    return Markup("").join(parts)


def _point(
    place: tuple[float, float],
    each: TrialOutcome,
    best: Sequence[int],
    chosen: int,
    objectives: Sequence[Objective],
) -> Markup:
    size = 7 if each.number == chosen else 5 if each.number in best else 4
    return _dot(place, size, _colour(each, chosen), _title(each, objectives))


def _dot(place: tuple[float, float], size: int, colour: str, title: str) -> Markup:
    return Markup(
        '<circle class="t" cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}" opacity=".85">'
        "<title>{}</title></circle>"
    ).format(*place, size, colour, _drawn(title))


def _line(points: Sequence[str], title: str, each: TrialOutcome, chosen: int) -> Markup:
    main = each.number == chosen
    return Markup(
        '<path class="t" d="M{}" fill="none" stroke="{}" stroke-width="{}" opacity="{}">'
        "<title>{}</title></path>"
    ).format("L".join(points), _colour(each, chosen), 3 if main else 1.5, 1 if main else 0.5,
             _drawn(title))  # fmt: skip


def _path(points: Sequence[str], colour: str, dash: str) -> Markup:
    if len(points) < 2:
        return Markup("")
    return Markup('<path d="M{}" fill="none" stroke="{}" stroke-dasharray="{}"/>').format(
        "L".join(points), colour, dash
    )


def _colour(each: TrialOutcome, chosen: int) -> str:
    if each.number == chosen:
        return report.GREEN
    return {COMPLETE: report.BLUE, INFEASIBLE: report.ORANGE}.get(each.state, report.GREY)


def _title(each: TrialOutcome, objectives: Sequence[Objective]) -> str:
    values = [f"{o.name} {report.number(each.values[o.name])}" for o in objectives]
    given = [f"{name} {json.dumps(value)}" for name, value in each.hyperparameters.items()]
    return "\n".join([_words(each), *values, *given, *([each.reason] if each.reason else [])])


def _words(each: TrialOutcome) -> str:
    return f"trial {each.number}, {each.state}"


def _grid(path: str) -> Markup:
    return Markup('<path d="{}" stroke="#e2e8f0" fill="none"/>').format(path)


def _text(x: float, y: float, words: str, anchor: str, title: str = "") -> Markup:
    whole = Markup("<title>{}</title>").format(_drawn(title)) if title and title != words else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(
        x, y, anchor, _drawn(words), whole
    )


def _number(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.4g}{unit}"
    return f"{value:.4g}"


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _drawn(words: str) -> str:
    return "\n".join(drawn(line).replace("\\$", "$") for line in words.split("\n"))


def _svg(parts: Sequence[Markup], label: str, width: float = WIDTH) -> Markup:
    head = Markup(
        '<div class="figure"><svg role="img" aria-label="{}" viewBox="0 0 {:.0f} {}" '
        'width="{:.0f}"><style>{}</style>'
    ).format(label, width, HEIGHT, 1.25 * width, Markup(STYLE))
    return head + Markup("").join(map(escape, parts)) + Markup("</svg></div>")


def bars(shares: Mapping[str, float]) -> Markup:
    """A table of shares, the largest first."""
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    rows = [(name, report.bar(share), f"{share:.0%}") for name, share in ordered]
    return report.table(("hyperparameter", "", "share"), rows)
