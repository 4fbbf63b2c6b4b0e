"""How good a model is on rows whose labels came late: its metrics, with intervals at 95 %.

Accuracy has E. Wilson's interval (Probable inference, the law of succession, and statistical
inference, JASA 22, 1927), the AUC that of Hanley and McNeil (see `edgeline.runtimes.estimated`),
mean errors that of the normal distribution, the root of a mean square by the delta method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.formats.dtypes import Array
from edgeline.runtimes.estimated import Interval, Z, auc_variance
from edgeline.runtimes.metric_names import ACCURACY, AUC
from edgeline.runtimes.metrics import metric

MAE, RMSE = "mean_absolute_error", "root_mean_squared_error"
ERRORS = (MAE, RMSE)  # the larger the worse


def right(task: str, decided: Array, truth: Array) -> Array:
    """Which decisions of a classification are right: bool [rows].

    Args:
        decided: the class's index, of a binary model whether it is yes, [rows].
        truth: the label, float [rows].
    """
    return np.asarray((decided != 0) == (truth > 0.5) if task == BINARY else decided == truth)


def measure(task: str, scores: Array, decided: Array, truth: Array) -> Mapping[str, Interval]:
    """The metrics of labelled rows, by name; empty of no row.

    Args:
        task: of `edgeline.artifacts.models.TASKS`.
        scores: of a binary model the positive class's, of a regression the values; [rows].
        decided, truth: see `right`.
    """
    rows = len(truth)
    if not rows:
        return {}
    if task not in (BINARY, MULTICLASS):
        return _errors(np.abs(scores.astype(np.float64) - truth))
    found = {ACCURACY: _share(int(right(task, decided, truth).sum()), rows)}
    if task == BINARY:
        positives = int((truth > 0.5).sum())
        counted = metric(task, 0.5)
        counted.add(scores[:, None], truth)
        auc = counted.result()[AUC]
        if auc is not None:
            variance = auc_variance(auc, positives, rows - positives)
            found[AUC] = Interval.around(auc, variance)
    return found


def _share(hits: int, rows: int) -> Interval:
    share = hits / rows
    middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2)) * Z / (1 + Z**2 / rows)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def _errors(errors: Array) -> dict[str, Interval]:
    """Of absolute errors [rows], which count as 0 where they are not finite, as in `metrics`."""
    errors, rows = np.where(np.isfinite(errors), errors, 0.0), len(errors)
    squares = errors**2
    mean, root = float(errors.mean()), math.sqrt(float(squares.mean()))
    variance = float(squares.var()) / rows / (4 * root**2) if root else 0.0
    return {
        MAE: Interval.around(mean, float(errors.var()) / rows, most=math.inf),
        RMSE: Interval.around(root, variance, most=math.inf),
    }
