"""What a model must not be beside the published one, whatever eval_config says.

A run that nobody watches trains on what has come: labels that are wrong there are wrong in the
evaluation split, too, and a model that has learned them looks good on them. So the published model
is asked about the same rows, file by file, since poisoned rows may be few among many:

- its labels contradict it: it tells the classes apart worse than chance (an AUC below 0.5, less
  accuracy than two independent guesses have in common, a negative correlation), beyond 95 % for
  all files together: the more are judged, the surer it has to be of each (Bonferroni);
- a column that it takes has no value at all;
- the candidate is surely worse, where eval_config says nothing about a change: its whole interval
  lies below the published model's AUC or accuracy by `DROP`, or above its error by that share.

Labels that contradict a model may also be a world that has turned over: a person has to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import reference
from edgeline.artifacts.bundle import read as read_bundle
from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.verdicts import UNJUDGED
from edgeline.components.analyze.evaluation_config import BASELINE, CANDIDATE
from edgeline.components.analyze.vectorised_engine import Columns
from edgeline.formats.dtypes import Array
from edgeline.reports.report import number
from edgeline.runtimes.estimated import Interval, Z
from edgeline.runtimes.measured import ERRORS, measure
from edgeline.runtimes.metric_names import ACCURACY, AUC

DROP = 0.01  # of AUC or accuracy
SHARE = 0.05  # of an error
LEAST_ROWS = 30  # of a file, to judge it
ON_BEAM = f"{UNJUDGED}each file beside the published model, as Beam evaluates"
NO_BUNDLE = (
    f"{UNJUDGED}the model beside a published one, as the baseline is not a published bundle."
)


@dataclass(frozen=True)
class PublishedComparison:
    """Sentences: reasons against the model, and what was not judged."""

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge(
    columns: Columns | None, task: str, parts: Sequence[Path], folder: str, asked: bool
) -> PublishedComparison:
    """Compare with the published model.

    Args:
        columns: the evaluated rows; None where Beam has them.
        task: one of `edgeline.artifacts.models.TASKS`.
        parts: their Parquet files, none of which mixes two files of the data.
        folder: the published bundle's.
        asked: whether eval_config has thresholds on a change, which then decide.
    """
    if columns is None:
        return PublishedComparison(notes=(f"{ON_BEAM}.",))
    bundle = read_bundle(folder)
    name = f"{bundle.name} {bundle.version}"
    truth = columns.label.astype(np.float64).reshape(-1)
    reasons, few, first = list(_empty_columns(parts, Path(folder), name)), 0, 0
    judged = sum(pq.read_metadata(part).num_rows >= LEAST_ROWS for part in parts)
    level = NormalDist().inv_cdf(1 - 0.025 / max(judged, 1))  # standard errors
    for place, part in enumerate(parts):
        last = first + pq.read_metadata(part).num_rows
        rows, first = slice(first, last), last
        if rows.stop - rows.start < LEAST_ROWS:
            few += rows.stop - rows.start
            continue
        against = _against(task, columns.predictions[BASELINE][rows], truth[rows], level)
        if against:
            reasons.append(
                f"The labels of {_file(place, parts)} contradict {name}: {against}. Correct them, "
                "or leave baseline out where the world has turned over."
            )
    if not asked and not reasons:
        reasons += _worse(task, columns, truth, name)
    notes = [f"{UNJUDGED}whether labels contradict {name}, of {few} rows, of files with fewer than "
             f"{LEAST_ROWS}."] if few else []  # fmt: skip
    return PublishedComparison(tuple(reasons), tuple(notes))


def _against(task: str, predictions: Array, truth: Array, level: float) -> str:
    """How labels contradict predictions, [rows, ...], by so many standard errors; "" where they do
    not."""
    found = _measured(task, predictions, truth)
    if task == BINARY:
        auc = found.get(AUC)
        if auc is not None and _high(auc, level) < 0.5:
            return f"its AUC is {number(auc.value)} there, and 0.5 is chance"
    elif task == MULTICLASS:
        decided = _flat(predictions).argmax(axis=1)
        classes = int(max(decided.max(), truth.max())) + 1
        shares = [np.bincount(x.astype(np.int64), minlength=classes) for x in (decided, truth)]
        chance = float(np.dot(*shares)) / len(truth) ** 2
        if _high(found[ACCURACY], level) < chance:
            value = number(found[ACCURACY].value)
            return f"its accuracy is {value} there, and {number(chance)} is chance"
    else:
        values = _flat(predictions)[:, -1].astype(np.float64)
        if values.std() and truth.std():
            correlation = float(np.corrcoef(values, truth)[0, 1])
            if correlation + level / np.sqrt(len(truth)) < 0:
                return f"its correlation with them is {number(correlation)}"
    return ""


def _high(at_95: Interval, level: float) -> float:
    """The upper end of an interval at another level, in standard errors."""
    return at_95.value + (at_95.high - at_95.value) * level / Z


def _worse(task: str, columns: Columns, truth: Array, name: str) -> list[str]:
    both = [_measured(task, columns.predictions[each], truth) for each in (CANDIDATE, BASELINE)]
    metric = {BINARY: AUC, MULTICLASS: ACCURACY}.get(task, ERRORS[1])
    if any(metric not in each for each in both):
        return []
    mine, usual = both[0][metric], both[1][metric].value
    is_error = metric in ERRORS
    worse = mine.low > usual * (1 + SHARE) if is_error else mine.high < usual - DROP
    if not worse:
        return []
    allowed = f"{SHARE:.0%} of it" if is_error else f"{DROP:g}"
    return [
        f"{metric} of all rows is {number(mine.value)}, and {number(usual)} with {name}: surely "
        f"worse by more than {allowed}."
    ]


def _measured(task: str, predictions: Array, truth: Array) -> Mapping[str, Interval]:
    flat = _flat(predictions)
    if task == MULTICLASS:
        return measure(task, flat.max(axis=1), flat.argmax(axis=1), truth)
    scores = flat[:, -1]
    return measure(task, scores, says_yes(scores, None), truth)


def _empty_columns(parts: Sequence[Path], folder: Path, name: str) -> list[str]:
    """Columns that the published model takes, and of which a file has no value."""
    if not (folder / reference.FILE).is_file():
        return []
    known = reference.read(folder / reference.FILE).inputs
    usual = {each for each, column in known.items() if column.missing < column.rows / 2}
    found = []
    for place, part in enumerate(parts):
        with pq.ParquetFile(part) as file:
            if file.metadata.num_rows < LEAST_ROWS:
                continue
            taken = [each for each in file.schema_arrow.names if each in usual]
            empty = [each for each in taken if _is_empty(file.read([each]).column(0))]
        if empty:
            columns = ", ".join(map(repr, empty))
            found.append(
                f"No row of {_file(place, parts)} has a value of {columns}, which {name} takes: "
                "correct the data, or leave baseline out where that is meant."
            )
    return found


def _is_empty(column: Any) -> bool:
    """Whether no value is there: null, or NaN."""
    if column.null_count == len(column):
        return True
    if not pa.types.is_floating(column.type):
        return False
    return bool(np.isnan(column.drop_null().to_numpy()).all())


def _flat(predictions: Array) -> Array:
    return predictions.reshape(len(predictions), -1)


def _file(place: int, parts: Sequence[Path]) -> str:
    return "the data" if len(parts) == 1 else f"part {place + 1} of {len(parts)} of the data"
