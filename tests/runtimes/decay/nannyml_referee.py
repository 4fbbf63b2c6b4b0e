"""What NannyML estimates of chunks of scores, with the map that it is given.

Runs in the environment of build_referees.sh. Its argument is an `.npz` file: `scores` [rows], `yes`
[rows], `truth` of the first `reference` rows, the map's `places` and `values`, and `chunk` rows.
Prints JSON: `accuracy` and `auc` of each chunk of the other rows, and `isotonic`, what scikit-learn
makes of the reference's rows at `asked`.
"""

from __future__ import annotations

import json
import sys

import nannyml
import numpy as np
import pandas as pd
from nannyml.calibration import Calibrator
from sklearn.isotonic import IsotonicRegression


class GivenMap(Calibrator):
    """The map that was fitted elsewhere."""

    def __init__(self, places, values):
        self.places, self.values = places, values

    def fit(self, y_pred_proba, y_true, *_args, **_more):
        """It is fitted already."""

    def calibrate(self, y_pred_proba, *_args, **_more):
        return np.interp(np.asarray(y_pred_proba), self.places, self.values)


given = np.load(sys.argv[1])
first, chunk = int(given["reference"]), int(given["chunk"])
rows = pd.DataFrame({"score": given["scores"], "yes": given["yes"].astype(int)})
known = rows[:first].assign(truth=given["truth"].astype(int))
estimator = nannyml.CBPE(
    y_pred_proba="score",
    y_pred="yes",
    y_true="truth",
    problem_type="classification_binary",
    metrics=["accuracy", "roc_auc"],
    chunk_size=chunk,
    calibrator=GivenMap(given["places"], given["values"]),
)
estimator.fit(known)
estimator.needs_calibration = True  # it decides by itself else whether a map is of use
found = estimator.estimate(rows[first:].reset_index(drop=True)).filter(period="analysis").to_df()
own = IsotonicRegression(out_of_bounds="clip").fit(given["scores"][:first], given["truth"])
print(
    json.dumps(
        {
            "accuracy": found["accuracy"]["value"].tolist(),
            "auc": found["roc_auc"]["value"].tolist(),
            "isotonic": own.predict(given["asked"]).tolist(),
        }
    )
)
