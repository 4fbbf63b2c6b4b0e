"""The rows on which a model is most wrong, with what they hold, for people who look for a reason.

Of a classifier these are its most confident errors, of a regression its largest ones. Labels that
are wrong, columns that hold something else than one thinks, and rows of another kind lie there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from edgeline.artifacts.features import to_numpy
from edgeline.formats.dtypes import Array
from edgeline.reports import pictures
from edgeline.reports import report as html
from edgeline.reports.report import Section

MOST = 24  # of a label that are looked for: the threshold is known later
SHOWN = 16
PIECE = 1 << 18  # rows that are looked at at once
VALUES = 16  # of a row that are shown
LETTERS = 40  # of a value


@dataclass(frozen=True)
class WrongRow:
    """A row that is far off.

    Attributes:
        row: its place in the split, from 0.
        label: a number, or the index of a class.
        prediction: a number; of two classes the score of the second, of several the best one's
            index.
        score: of a classifier that of the class that it says, 0 to 1; of a number the distance.
        baseline: what the baseline says, as `prediction`; None where there is none.
    """

    row: int
    label: float
    prediction: float
    score: float
    baseline: float | None = None


def find(
    task: str, label: Array, predictions: Mapping[str, npt.NDArray[np.float32]], first: int = 0
) -> list[WrongRow]:
    """The rows that are furthest off, these first; of two classes `MOST` of each label.

    Args:
        task: one of `edgeline.artifacts.models.TASKS`.
        label: [rows].
        predictions: by model name, the candidate first, then the baseline: [rows] or
            [rows, classes].
        first: the place in the split of the first of these rows.
    """
    pieces = []
    for start in range(0, len(label), PIECE):
        here = slice(start, start + PIECE)
        piece = [values[here] for values in predictions.values()]
        pieces.append(_of_piece(task, label[here], piece, first + start))
    return merged(pieces, task)


def merged(pieces: Iterable[Sequence[WrongRow]], task: str) -> list[WrongRow]:
    """Of what `find` gives for parts of a split, what it gives for the whole of it, in any order of
    the parts."""
    found = [each for piece in pieces for each in piece]
    found.sort(key=lambda each: (-each.score, each.row))
    if task != "binary_classification":
        return found[:MOST]
    kept = [[each for each in found if each.label == side][:MOST] for side in (0, 1)]
    return sorted(kept[0] + kept[1], key=lambda each: (-each.score, each.row))


def _of_piece(
    task: str, label: Array, predictions: Sequence[npt.NDArray[np.float32]], start: int
) -> list[WrongRow]:
    """The furthest of some rows, of which `start` is the first."""
    given, *other = predictions
    before = other[0] if other else None
    if task == "multiclass_classification":
        said = given.argmax(1)
        scores = given[np.arange(len(given)), said]
        places = _largest(np.where(said != label, scores, -np.inf))
        before = None if before is None else before.argmax(1)
        values = said
    elif task == "binary_classification":
        values, scores = given, np.where(label == 1, 1 - given, given)
        places = np.concatenate(
            [_largest(np.where(label == side, scores, -np.inf)) for side in (0, 1)]
        )
    else:
        values, scores = given, np.abs(given - label)
        places = _largest(scores)
    return [
        WrongRow(
            start + int(at),
            float(label[at]),
            float(values[at]),
            float(scores[at]),
            None if before is None else float(before[at]),
        )
        for at in places
    ]


def section(
    parts: Sequence[Path],
    rows: Sequence[WrongRow],
    classes: Sequence[str],
    threshold: float,
    columns: Sequence[str],
) -> list[Section]:
    """A table of rows, with their pictures where they have some.

    Args:
        parts: the Parquet files that the rows are in.
        rows: as `find` gives them.
        classes: class names, empty for a regression.
        threshold: of a score of two classes, above which it is a yes.
        columns: those that the model takes, which are shown first.
    """
    binary = len(classes) == 2
    wrong = [each for each in rows if not binary or _wrong(each, threshold)][:SHOWN]
    title = "Most confident errors" if classes else "Largest errors"
    if not wrong:
        return [Section(title, html.text("None: every row is right."))]
    compared = wrong[0].baseline is not None
    head = ["Row", "Label", "Prediction", "Score" if classes else "Off by"]
    head += [*(["Baseline"] if compared else []), "What it holds"]
    shown = held(parts, [each.row for each in wrong], columns)
    lines = []
    for each, (images, text) in zip(wrong, shown, strict=True):
        line: list[object] = [f"{each.row:,}", _named(each.label, classes)]
        line += _said(each, classes, threshold)
        if compared:
            line.append(_before(each, classes, threshold))
        lines.append([*line, images + text])
    note = (
        "Where a label is wrong, or a column holds something else than one thinks, it shows here."
    )
    note += " Rows count from 0, in the order of the split."
    return [Section(title, html.table(head, lines), note)]


def _largest(scores: Array) -> npt.NDArray[np.int64]:
    """Places of the largest finite values, these first; of equal ones the first rows."""
    places = np.flatnonzero(np.isfinite(scores))
    if len(places) > MOST:
        least = np.partition(scores[places], -MOST)[-MOST]
        places = places[scores[places] >= least]  # all that are equal: a partition takes any
    return np.asarray(places[np.lexsort((places, -scores[places]))][:MOST])


def _wrong(each: WrongRow, threshold: float) -> bool:
    return (each.prediction > threshold) != (each.label == 1)


def _named(value: float, classes: Sequence[str]) -> str:
    return classes[int(value)] if classes else html.number(value)


def _said(each: WrongRow, classes: Sequence[str], threshold: float) -> list[str]:
    """The prediction, and how sure the model is of it or how far off."""
    if len(classes) == 2:
        return [classes[each.prediction > threshold], f"{each.prediction:.4f}"]
    if classes:
        return [classes[int(each.prediction)], f"{each.score:.4f}"]
    return [html.number(each.prediction), html.number(each.score)]


def _before(each: WrongRow, classes: Sequence[str], threshold: float) -> str:
    assert each.baseline is not None
    if len(classes) == 2:
        return f"{classes[each.baseline > threshold]}, score {each.baseline:.4f}"
    return _named(each.baseline, classes)


def held(
    parts: Sequence[Path], rows: Sequence[int], columns: Sequence[str]
) -> list[tuple[Markup, Markup]]:
    """Of some rows of Parquet files, numbered over all of them, the pictures and the other values.

    Args:
        columns: those that are shown first.
    """
    schema = pq.read_schema(parts[0])
    drawn = pictures.picture_columns(schema)
    plain = [name for name in schema.names if name not in {each.name for each in drawn}]
    plain.sort(key=lambda name: name not in columns)
    more, plain = len(plain) - VALUES, plain[:VALUES]
    table = read_rows(parts, sorted(rows), [*(each.name for each in drawn), *plain])
    [batch] = table.combine_chunks().to_batches()
    images = {}
    for each in drawn:
        raw = to_numpy(batch, [each])[each.name]
        images[each.name] = pictures.to_bytes(pictures.shrunk(raw), pictures.span(raw))
    found = {}
    for place, row in enumerate(sorted(rows)):
        seen = [pictures.image(images[each.name][place], each.name) for each in drawn]
        words = [_value(name, batch.column(name)[place].as_py()) for name in plain]
        if more > 0:
            words.append(Markup('<span class="note">and {} more columns</span>').format(more))
        found[row] = pictures.row(seen) if seen else Markup(""), Markup(" · ").join(words)
    return [found[row] for row in rows]


def read_rows(parts: Sequence[Path], rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Some rows of Parquet files, whose places are sorted, of which only their groups are read."""
    found, start = [], 0
    wanted = np.asarray(rows, np.int64)
    for part in parts:
        with pq.ParquetFile(part) as file:
            for place in range(file.metadata.num_row_groups):
                end = start + file.metadata.row_group(place).num_rows
                here = wanted[(wanted >= start) & (wanted < end)] - start
                start = end
                if len(here):
                    found.append(file.read_row_group(place, columns=columns).take(pa.array(here)))
    return pa.concat_tables(found)


def _value(name: str, value: Any) -> Markup:
    if value is None:
        text = "–"
    elif isinstance(value, bytes):
        text = f"{len(value):,} bytes"
    elif isinstance(value, float):
        text = html.number(value)
    elif isinstance(value, list):
        text = f"{len(value):,} values" if len(value) > 4 else ", ".join(map(str, value))
    else:
        text = str(value)
    text = text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
    return Markup('<span class="note">{}</span> {}').format(name, text)
