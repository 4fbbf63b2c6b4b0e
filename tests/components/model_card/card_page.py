"""What a test reads out of a page: the boxes of its drawings, the rows of its tables."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from edgeline.reports.report import THEME

DATA = Path(__file__).parents[2] / "data"
CORAL = DATA / "coral"
BOX = re.compile(
    r'<g class="op" data-operator="(\d+)"><title>(.*?)</title><rect[^>]*stroke="(var[^"]+)"',
    re.DOTALL,
)
COLOURS = {themed: colour for colour, themed in THEME.items()}


@dataclass(frozen=True)
class Box:
    """An operator in a page: its number, its tooltip's lines, its colour."""

    operator: int
    told: list[str]
    colour: str


def boxes(page: str) -> list[list[Box]]:
    """The operators of each drawing of a page, in their order."""
    return [
        [Box(int(n), html.unescape(t).split("\n"), COLOURS[c]) for n, t, c in BOX.findall(drawing)]
        for drawing in page.split('<div class="ops"')[1:]
    ]


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading, the head's left out."""
    body = page.split(f"<h2>{html.escape(title)}</h2>")[1].split("<tbody>")[1].split("</tbody>")[0]
    return [
        [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)]
        for row in body.split("</tr>")
        if row
    ]
