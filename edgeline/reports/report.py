"""One self-contained HTML page a task: no script, font, style or picture from outside.

The Kubeflow UI shows the page in a sandboxed frame, often without a network. The page's own script
(`report.js`) sorts and searches; without it everything can be read, too.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edgeline.artifacts import write_text
from edgeline.reports.document import HERE, document, fill
from edgeline.reports.document import text as file_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 0.6  # smaller, the words of a figure cannot be read
MOST_BESIDE = 4  # columns of a table that fit beside each other in Kubeflow's panel
MOST_SHOWN = 200  # rows of a table that are drawn before they are asked for
BLUE, ORANGE, GREEN, RED, GREY = "#2563eb", "#ea580c", "#16a34a", "#dc2626", "#64748b"
THEME = {  # colours that matplotlib draws with, as the page's style has them for light and dark
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    GREY: "var(--grey)",
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    "#e2e8f0": "var(--line)",
    "#cbd5e1": "var(--line)",
    "#f1f5f9": "var(--tint)",
}
_TAG = re.compile(r"<[^<>]+>")  # what stands between tags are names and values
_COLOUR = re.compile("|".join(THEME))


@dataclass(frozen=True)
class Fact:
    """One number at the head of a report, with what it is; `good` colours it."""

    name: str
    value: str
    good: bool | None = None


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it (see `table`, `figure`, `text`)."""

    title: str
    body: Markup
    note: str = ""


def write(path: str | Path, title: str, facts: Sequence[Fact], sections: Sequence[Section]) -> None:
    """Write a report page, beside its place and then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page(title, facts, sections))


def page(title: str, facts: Sequence[Fact], sections: Sequence[Section]) -> str:
    """The HTML of a report page. Everything but `Markup` is escaped."""
    body = fill(HERE, "report.html", title=title, facts=facts, sections=sections)
    return document(title, body, file_text(HERE, "report.js"))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; numbers stand right, cells that are `Markup` stay as they are.

    Where no column has a name, there is no head. On a small screen a row of more than `MOST_BESIDE`
    cells is shown as a list, each cell with its column's name. Of more than `MOST_SHOWN` rows, the
    later ones are in folded parts, which a browser draws when they are opened or searched. The
    page's script sorts and searches the rows of all parts.
    """
    wide = any(head) and len(head) > MOST_BESIDE
    names = [f' data-name="{html.escape(name)}"' if wide else "" for name in head]
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    top = f"<thead><tr>{cells}</tr></thead>" if any(head) else ""
    lines = ["<tr>" + "".join(map(_cell, row, names)) + "</tr>" for row in rows]
    parts = []
    for first in range(0, max(len(lines), 1), MOST_SHOWN):
        some = lines[first : first + MOST_SHOWN]
        inner = f"<table{' class=wide' if wide else ''}>{top}<tbody>{''.join(some)}</tbody></table>"
        part = f'<div class="scroll">{inner}</div>'
        if first:
            span = f"{first + 1:,} to {first + len(some):,} of {len(lines):,}"
            part = f"<details><summary>{span}</summary>{part}</details>"
        parts.append(part)
    return Markup(f'<div class="rows">{"".join(parts)}</div>')


def panels(count: int, height: float) -> tuple[Figure, list[Any]]:
    """A matplotlib figure of some panels, two beside each other, which a phone has room for.

    Args:
        height: of a row of panels, in inches.
    """
    from matplotlib.figure import Figure

    columns, rows = min(count, 2), -(-count // 2)
    drawing = Figure(figsize=(9, height * rows), layout="constrained")
    found = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axes in found[count:]:
        axes.set_axis_off()
    return drawing, list(found[:count])


def figure(drawing: Figure) -> Markup:
    """A matplotlib figure as inline SVG, the same bytes for the same figure.

    On a small screen it shrinks to `LEAST` of its size, and scrolls; in Kubeflow's panel it fits.
    """
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "edgeline", "svg.fonttype": "none"}):
        drawing.savefig(
            stream, format="svg", bbox_inches="tight", metadata={"Date": None}, transparent=True
        )
    svg = _TAG.sub(lambda tag: _COLOUR.sub(lambda each: THEME[each[0]], tag[0]), stream.getvalue())
    width = LEAST * 72 * drawing.get_figwidth()
    svg = f'<svg style="min-width:{width:.0f}pt"' + svg[svg.index("<svg") + 4 :]
    return Markup('<div class="figure">' + svg + "</div>")


def text(paragraph: str) -> Markup:
    """A paragraph, escaped."""
    return Markup("<p>") + paragraph + Markup("</p>")


def framed(page: str) -> Markup:
    """A whole HTML page within another, folded up, in a sandbox of its own as the Kubeflow UI's."""
    return Markup(
        '<details><summary>report</summary><iframe class="report" sandbox="allow-scripts" '
        'loading="lazy" srcdoc="{}"></iframe></details>'
    ).format(page)


def badge(label: str, good: bool) -> Markup:
    """A coloured word: blessed, anomaly, ..."""
    return Markup('<span class="badge {}">{}</span>').format("good" if good else "bad", label)


def bar(share: float, colour: str = BLUE) -> Markup:
    """A small horizontal bar for a share between 0 and 1, for table cells."""
    width = 100 * min(max(share, 0.0), 1.0)
    return Markup('<span class="bar"><i style="width:{:.1f}%;background:{}"></i></span>').format(
        width, THEME.get(colour, colour)
    )


def number(value: float | int | None, digits: int = 4) -> str:
    """A number for people: 15,002, 0.9312, 1.2e-07, or a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def size(count: int) -> str:
    """Bytes for people, decimal units: 93.2 kB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _cell(value: object, name: str) -> str:
    """A cell; `name` is the attribute with its column's name, or nothing."""
    if isinstance(value, Markup):
        return f"<td{name}><div>{value}</div></td>" if name else f"<td>{value}</td>"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'<td class="n"{name}>{number(value)}</td>'
    text = "–" if value is None else str(value)
    width = " class=s" if len(text) <= 14 else " class=l" if len(text) > 60 else ""
    return f"<td{width}{name}>{html.escape(text)}</td>"
