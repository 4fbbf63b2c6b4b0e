"""The labels that are most likely wrong, for people who review them: on the page, and as files.

See `confident_learning`. Scores have to come from a model that was not trained on the rows, so only
the evaluated split is looked at.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from edgeline.artifacts import write_json
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.analyze import fiftyone_dataset, worst_rows
from edgeline.components.analyze.confident_learning import DoubtfulLabel, find
from edgeline.components.analyze.vectorised_engine import Columns
from edgeline.reports import pictures
from edgeline.reports import report as html
from edgeline.reports.report import Section

FOLDER = "doubtful_labels"  # of the FiftyOne dataset


@dataclass(frozen=True)
class DoubtfulRows:
    """What was looked for in a split.

    Attributes:
        listed, total: as `find` gives them.
        rows: of the split; 0 where Beam's workers evaluated, which look for none.
        parts: the Parquet files that they are in.
    """

    listed: Sequence[DoubtfulLabel]
    total: int
    rows: int
    parts: Sequence[Path]


def look(columns: Columns | None, classes: Sequence[str], parts: Sequence[Path]) -> DoubtfulRows:
    """The doubtful labels of an evaluated split; none of a regression.

    Args:
        columns: the evaluated rows, the candidate's predictions first.
        classes: class names; empty of a regression.
        parts: the Parquet files that the rows are in.
    """
    if columns is None or not classes:
        return DoubtfulRows([], 0, 0, parts)
    scores = next(iter(columns.predictions.values()))
    return DoubtfulRows(*find(columns.label, scores, classes), len(columns.label), parts)


def write(folder: Path, doubts: DoubtfulRows) -> None:
    """Write `doubtful_labels.json` into an evaluation's folder, and beside it the data set
    `FOLDER` of the first column of pictures, where there is one."""
    if not doubts.rows:
        return
    write_json(
        folder / "doubtful_labels.json",
        {"total": doubts.total, "listed": [each.to_json() for each in doubts.listed]},
    )
    if images := _images(doubts):
        fiftyone_dataset.write(folder / FOLDER, "doubtful-labels", doubts.listed, images)


def sections(doubts: DoubtfulRows, columns: Sequence[str], classes: Sequence[str]) -> list[Section]:
    """The rows with what they hold, and their pictures where they have some.

    Args:
        columns: those that the model takes, which are shown first.
        classes: class names; empty of a regression, which has no such labels.
    """
    title = "Most doubtful labels"
    if not classes:
        return []
    if not doubts.rows:
        said = "Not looked for: Beam's workers evaluated. Leave out beam_options to have them."
        return [Section(title, html.text(said))]
    if not doubts.listed:
        said = "None: of no row another class is likelier than the label."
        return [Section(title, html.text(said))]
    held = worst_rows.held(doubts.parts, [each.row for each in doubts.listed], columns)
    lines = [
        [
            *(f"{each.row:,}", each.label, f"{each.label_score:.4f}"),
            *(each.likely, f"{each.likely_score:.4f}", images + text),
        ]
        for each, (images, text) in zip(doubts.listed, held, strict=True)
    ]
    head = ["Row", "Label", "its score", "Likelier", "its score", "What it holds"]
    note = (
        f"{len(doubts.listed)} of {doubts.total:,} labels (of {doubts.rows:,} rows) that confident "
        "learning doubts, the most doubtful first. The label may be right, and the model wrong: "
        "look at it. Rows count from 0, in the order of the split. The list is in "
        "doubtful_labels.json"
    )
    with_pictures = bool(_pictured(doubts))
    note += f", and as a FiftyOne dataset in the folder {FOLDER}." if with_pictures else "."
    return [Section(title, html.table(head, lines), note)]


def _pictured(doubts: DoubtfulRows) -> list[Feature]:
    return pictures.picture_columns(pq.read_schema(doubts.parts[0]))[:1]


def _images(doubts: DoubtfulRows) -> list[bytes]:
    """The pictures of the rows as PNG files, in their order; none where there are none."""
    columns = _pictured(doubts)
    if not (columns and doubts.listed):
        return []
    wanted = sorted(each.row for each in doubts.listed)
    table = worst_rows.read_rows(doubts.parts, wanted, [columns[0].name])
    [batch] = table.combine_chunks().to_batches()
    raw = to_numpy(batch, columns)[columns[0].name]
    values = pictures.to_bytes(raw, pictures.span(raw))
    found = {row: _png(values[place]) for place, row in enumerate(wanted)}
    return [found[each.row] for each in doubts.listed]


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    values: Any = picture[..., 0] if picture.shape[2] == 1 else picture
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()
