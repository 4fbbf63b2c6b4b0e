"""A run's graph as SVG: tasks in columns by what they wait for, coloured by state."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from edgeline.local.tasks import TaskResult
from edgeline.reports.report import LEAST

WIDTH, HEIGHT, GAP_X, GAP_Y = 116, 40, 44, 18
ARCH = 44  # room below for the edges that pass under tasks
COLOURS = {  # of the page's style, for light and dark
    "succeeded": ("var(--good-tint)", "var(--good)"),
    "cached": ("var(--info-tint)", "var(--info)"),
    "failed": ("var(--bad-tint)", "var(--bad)"),
    "skipped": ("var(--paper)", "var(--grey)"),
    "canceled": ("var(--warn-tint)", "var(--warn)"),
    "running": ("var(--info-tint)", "var(--blue)"),
    "waiting": ("var(--tint)", "var(--grey)"),
}


def draw(results: Mapping[str, TaskResult]) -> Markup:
    """The graph, each task with its time; dashed lines are conditions."""
    places = _places(results)
    width = max(x for x, _ in places.values()) + WIDTH + 2
    height = max(y for _, y in places.values()) + HEIGHT + ARCH
    edges = Markup("").join(
        _edge(places[before], places[name], before in result.task.gates)
        for name, result in results.items()
        for before in sorted({*result.task.needs, *result.task.gates})
    )
    nodes = Markup("").join(_node(places[name], name, result) for name, result in results.items())
    return Markup(
        '<div class="figure graph">'
        '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
        'viewBox="-1 -1 {w} {h}" style="min-width:{least}px" '
        'font-family="system-ui, sans-serif" font-size="13">'
        "{e}{n}</svg></div>"
    ).format(w=width, h=height, least=int(width * LEAST), e=edges, n=nodes)


def _places(results: Mapping[str, TaskResult]) -> dict[str, tuple[int, int]]:
    columns: dict[str, int] = {}
    for name, result in results.items():  # planned order: what a task waits for comes first
        waits_for = (*result.task.needs, *result.task.gates)
        columns[name] = 1 + max((columns[before] for before in waits_for), default=-1)
    last = max(columns.values(), default=0)
    for name, result in results.items():
        if result.task.exit_handler:
            columns[name] = last + 1
    used: dict[int, int] = {}
    places = {}
    for name, column in columns.items():
        row = used.get(column, 0)
        used[column] = row + 1
        places[name] = (column * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y))
    return places


def _edge(start: tuple[int, int], end: tuple[int, int], conditional: bool) -> Markup:
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT // 2
    x2, y2 = end[0], end[1] + HEIGHT // 2
    bend = max((x2 - x1) // 2, 20)
    colour = "var(--grey)"
    if x2 - x1 > GAP_X and y1 == y2:  # under the tasks between, not through them
        colour = "var(--line)"
        depth = y1 + HEIGHT // 2 + ARCH * min((x2 - x1) / 1000, 1)
        path = (
            f"M{x1} {y1} C{x1 + 24} {y1} {x1} {depth:.0f} {x1 + 40} {depth:.0f} "
            f"L{x2 - 40} {depth:.0f} C{x2} {depth:.0f} {x2 - 24} {y2} {x2} {y2}"
        )
    else:
        path = f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    dash = Markup(' stroke-dasharray="4 3"') if conditional else ""
    return Markup('<path d="{}" fill="none" stroke="{}"{}/>').format(path, colour, dash)


def _node(place: tuple[int, int], name: str, result: TaskResult) -> Markup:
    fill, line = COLOURS.get(result.state, COLOURS["waiting"])
    x, y = place
    below = f"{result.seconds:.1f} s" if result.state in ("succeeded", "failed") else result.state
    return Markup(
        '<a href="#task-{name}"><title>{name}: {below}</title>'
        '<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{fill}" '
        'stroke="{line}"/><text x="{cx}" y="{y1}" text-anchor="middle" font-weight="600" '
        'fill="var(--ink)">{name}</text><text x="{cx}" y="{y2}" text-anchor="middle" fill="{line}" '
        'font-size="11">{below}</text></a>'
    ).format(
        name=name, x=x, y=y, w=WIDTH, h=HEIGHT, fill=fill, line=line, cx=x + WIDTH // 2,
        y1=y + 17, y2=y + 32, below=below,
    )  # fmt: skip
