"""Pictures in the report: examples of each class, and pairs of splits that are nearly the same."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgeline.components.validate import pictures
from edgeline.components.validate.pictures import AlikePair, Looked
from edgeline.reports import pictures as images
from edgeline.reports import report
from edgeline.reports.report import Section, number

MOST_CLASSES = 40
MOST_PAIRS = 24


def sections(column: str, looked: Sequence[Looked]) -> list[Section]:
    """A grid, and near-duplicates where there are several splits.

    Args:
        column: that has the pictures.
        looked: of each split, that of reference first.
    """
    return [_grid(column, looked[0]), *(_pairs(column, looked[0], each) for each in looked[1:])]


def _grid(column: str, looked: Looked) -> Section:
    classes = list(pictures.by_class(looked))
    rows = [
        (name or "all", number(count), _beside(looked, name or column, places))
        for name, count, places in classes[:MOST_CLASSES]
    ]
    note = f"Of {_how_many(looked)}, those of each class that lie evenly over it."
    if len(classes) > MOST_CLASSES:
        note += f" The {MOST_CLASSES} commonest of {number(len(classes))} classes are shown."
    return Section(f"Pictures: {column}", report.table(["Class", "Pictures", "Some"], rows), note)


def _beside(looked: Looked, name: str, places: Sequence[int]) -> Markup:
    return images.row([images.image(looked.shown[at], name) for at in places])


def _pairs(column: str, first: Looked, second: Looked) -> Section:
    found = pictures.nearly_same(first, second)
    title = f"Nearly the same {column} in {first.split} and {second.split}"
    note = f"Looked for among {_how_many(first)} and {_how_many(second)}."
    if not found:
        return Section(title, report.text("None."), note)
    odd = sum(pair.disagree for pair in found)
    told = f"{number(len(found))} of {second.split} are in {first.split} nearly the same"
    told += f", {number(odd)} of them with another label." if odd else "."
    note += f" The correlation of their grey pictures is {pictures.ALIKE} or more."
    if len(found) > MOST_PAIRS:
        note += f" {MOST_PAIRS} are shown."
    table = report.table(
        [first.split, second.split, "Labels", "Correlation"], map(_pair, found[:MOST_PAIRS])
    )
    return Section(title, report.text(told) + table, note)


def _pair(pair: AlikePair) -> tuple[object, ...]:
    labels = pair.first.labels[pair.at], pair.second.labels[pair.beside]
    shown = [
        images.image(looked.shown[at], f"{looked.split}: {label}")
        for looked, at, label in (
            (pair.first, pair.at, labels[0]),
            (pair.second, pair.beside, labels[1]),
        )
    ]
    told: object = labels[0]
    if pair.disagree:
        told = Markup('{} and {} <span class="badge warn">differ</span>').format(*labels)
    return *shown, told, f"{pair.correlation:.4f}"


def _how_many(looked: Looked) -> str:
    shown = len(looked.labels)
    of = f" of {number(looked.of)}" if shown < looked.of else ""
    return f"{number(shown)}{of} of {looked.split}"
