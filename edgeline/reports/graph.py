"""A graph of boxes as they are joined, drawn as SVG: a model's operators, a network's layers.

What a box shows only in part stands whole in its `<title>`, which browsers show as a tooltip
without any script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from edgeline.reports import graph_layout as layout
from edgeline.reports import report
from edgeline.reports.report import BLUE, GREEN, GREY, ORANGE, RED

MOST_DRAWN = 3000  # boxes; beyond, a drawing helps nobody and the page grows heavy
TINTS = {  # of the page's style, for light and dark
    BLUE: "var(--info-tint)",
    GREEN: "var(--good-tint)",
    RED: "var(--bad-tint)",
    ORANGE: "var(--warn-tint)",
    GREY: "var(--tint)",
}
NAME_LETTERS, LEFT_LETTERS, RIGHT_LETTERS = 19, 16, 10  # that a box has room for
STYLE = (
    ".ops{overflow:auto;max-height:62rem;border:1px solid var(--line);border-radius:.4rem;"
    "margin-bottom:.8rem}"
    # larger than a screen: with bars that are there before one scrolls
    ".ops::-webkit-scrollbar{width:.7rem;height:.7rem}"
    ".ops::-webkit-scrollbar-thumb{background:var(--grey);border-radius:.4rem}"
    ".ops svg{display:block;max-width:none}.ops text{font-size:10px;fill:var(--ink)}"
    ".ops .soft{font-size:9px;fill:var(--soft)}.ops g:hover rect,.ops .picked rect{stroke-width:3}"
    ".key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.9rem;margin:.4rem 0}"
    ".key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;"
    "border:1.5px solid;margin-right:.4rem;vertical-align:-.1rem}"
    "summary{cursor:pointer;font-weight:600;margin:.6rem 0 .3rem}"
)


@dataclass(frozen=True)
class Box:
    """What computes.

    Attributes:
        number: its own, of the boxes.
        name: its first line.
        left, right: its second line.
        colour: one of `TINTS`.
        told: the lines of its tooltip.
    """

    number: int
    name: str
    left: str
    right: str
    colour: str
    told: Sequence[str]


@dataclass(frozen=True)
class End:
    """A tensor that the graph takes or gives.

    Attributes:
        name: its first line.
        below: its second line.
        told: its tooltip.
    """

    name: str
    below: str
    told: str


def draw(nodes: Sequence[Box | End], edges: Sequence[tuple[int, int]], what: str) -> Markup:
    """The drawing.

    Args:
        nodes: so numbered by their places that every edge goes from a lower to a higher one.
        edges: pairs of nodes, without repetition.
        what: the boxes are called.
    """
    plan = layout.arrange(len(nodes), edges)
    lines = Markup("").join(_path(points) for points in plan.lines)
    size = Markup('width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}"').format(
        plan.width, plan.height
    )
    drawn = Markup("").join(
        _box(node, at) if isinstance(node, Box) else _end(node, at)
        for node, at in zip(nodes, plan.boxes, strict=True)
    )
    count = sum(isinstance(node, Box) for node in nodes)
    return Markup(
        '<div class="ops" tabindex="0"><svg xmlns="http://www.w3.org/2000/svg" {} role="img" '
        'aria-label="{} {}">{}{}</svg></div>'
    ).format(size, count, what, lines, drawn)


def key(boxes: Iterable[tuple[str, str]]) -> Markup:
    """What each colour means, with how many boxes have it.

    Args:
        boxes: colour and meaning of each.
    """
    items = [
        Markup('<span><i style="border-color:{};background:{}"></i>{} {}</span>').format(
            report.THEME[colour], TINTS[colour], report.number(count), words
        )
        for (colour, words), count in Counter(boxes).items()
    ]
    return Markup('<div class="key">{}</div>').format(Markup("").join(items))


def style() -> Markup:
    """The rules of both, once a page."""
    return Markup("<style>{}</style>").format(Markup(STYLE))


def shape(sizes: Iterable[int | None]) -> str:
    """A shape for people: `?` is a size that is known only when the model runs."""
    return "×".join("?" if size is None or size < 0 else str(size) for size in sizes)


def _box(box: Box, at: layout.Point) -> Markup:
    left, top = at[0] - layout.BOX_WIDTH / 2, at[1] - layout.BOX_HEIGHT / 2
    return Markup(
        '<g class="op" data-operator="{}"><title>{}</title><rect x="{:.0f}" y="{:.0f}" '
        'width="{:.0f}" height="{:.0f}" rx="4" fill="{}" stroke="{}" stroke-width="1.5"/>'
        '<text x="{:.0f}" y="{:.0f}">{}</text><text class="soft" x="{:.0f}" y="{:.0f}">{}</text>'
        '<text class="soft" x="{:.0f}" y="{:.0f}" text-anchor="end">{}</text></g>\n'
    ).format(
        box.number,
        "\n".join(box.told),
        left,
        top,
        layout.BOX_WIDTH,
        layout.BOX_HEIGHT,
        TINTS[box.colour],
        report.THEME[box.colour],
        left + 6,
        top + 15,
        _cut(box.name, NAME_LETTERS),
        left + 6,
        top + 29,
        _cut(box.left, LEFT_LETTERS),
        left + layout.BOX_WIDTH - 6,
        top + 29,
        _cut(box.right, RIGHT_LETTERS),
    )


def _end(end: End, at: layout.Point) -> Markup:
    left, top = at[0] - layout.BOX_WIDTH / 2, at[1] - layout.BOX_HEIGHT / 2
    return Markup(
        '<g class="end"><title>{}</title><rect x="{:.0f}" y="{:.0f}" width="{:.0f}" '
        'height="{:.0f}" rx="18" fill="var(--paper)" stroke="var(--grey)"/>'
        '<text x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text>'
        '<text class="soft" x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text></g>\n'
    ).format(
        end.told,
        left,
        top,
        layout.BOX_WIDTH,
        layout.BOX_HEIGHT,
        at[0],
        top + 15,
        _cut(end.name, NAME_LETTERS),
        at[0],
        top + 29,
        end.below,
    )


def _path(points: Sequence[layout.Point]) -> Markup:
    """A smooth line where it goes down, a straight one where it goes round a column."""
    parts = [f"M{points[0][0]:.0f} {points[0][1]:.0f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if to_y <= y or to_x == x:
            parts.append(f"L{to_x:.0f} {to_y:.0f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}")
    return Markup('<path d="{}" fill="none" stroke="var(--grey)"/>').format("".join(parts))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
