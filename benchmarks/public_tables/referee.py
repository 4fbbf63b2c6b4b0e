"""Logistic or linear regression on the rows and columns of one of our runs.

    python referee.py task label columns.json train.csv eval.csv answers.csv

Runs in the referee's environment. Numbers are filled with their mean and scaled, words are one-hot,
by scikit-learn with its defaults. Prints JSON: AUC and accuracy of two classes, accuracy of
several, RMSE of a number; and `lead`, the 95 % interval by which the answers of answers.csv, a
column `answer` with our score of a yes, class or number for each row of eval.csv, are better than
these: in AUC, accuracy, or a share of the RMSE, by a paired bootstrap of the rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

RESAMPLES = 1000


def main(task: str, label: str, columns: str, train: str, evaluation: str, ours: str) -> None:
    """Fit on one file and judge on the other."""
    taken = json.loads(Path(columns).read_text())
    rows = [
        pd.read_csv(file, keep_default_na=False, na_values=[""]) for file in (train, evaluation)
    ]
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="", missing_values=np.nan),
        OneHotEncoder(handle_unknown="ignore"),
    )
    made = ColumnTransformer(
        [("numbers", numbers, taken["numbers"]), ("words", words, taken["words"])]
    )
    regression = task == "regression"
    model = make_pipeline(
        made, LinearRegression() if regression else LogisticRegression(max_iter=5000)
    )
    (known, truth), (asked, answers) = ((each.drop(columns=label), each[label]) for each in rows)
    model.fit(known, truth)
    answer = pd.read_csv(ours, keep_default_na=False)["answer"].to_numpy()
    if regression:
        predicted = model.predict(asked)
        found: dict[str, Any] = {"rmse": _rmse(predicted, answers)}
        found["lead"] = _lead(answer, predicted, answers, _rmse, relative=True)
    else:
        found = {"accuracy": float(model.score(asked, answers))}
        if len(model.classes_) == 2:
            scores = model.predict_proba(asked)[:, 1]
            found["auc"] = float(roc_auc_score(answers, scores))
            truth = answers == model.classes_[1]
            answer = 1 - answer if taken["positive"] == model.classes_[0] else answer
            found["lead"] = _lead(answer, scores, truth, lambda x, y: float(roc_auc_score(y, x)))
        else:
            ours_right, theirs_right = (
                each.astype(str) == answers.astype(str) for each in (answer, model.predict(asked))
            )
            found["lead"] = _lead(ours_right, theirs_right, answers, lambda x, _: float(x.mean()))
    print(json.dumps(found))


def _rmse(predicted: Any, truth: Any) -> float:
    return float(((predicted - truth) ** 2).mean() ** 0.5)


def _lead(
    ours: Any, theirs: Any, truth: Any, metric: Callable[[Any, Any], float], relative: bool = False
) -> list[float]:
    """Between what the first are better than the second, in 95 % of resamples of the rows."""
    leads: list[float] = []
    random = np.random.default_rng(0)
    ours, theirs, truth = (np.asarray(each) for each in (ours, theirs, truth))
    while len(leads) < RESAMPLES:
        rows = random.integers(0, len(truth), len(truth))
        if len(np.unique(truth[rows])) < 2:
            continue  # of one class alone there is no AUC
        first, second = metric(ours[rows], truth[rows]), metric(theirs[rows], truth[rows])
        leads.append((second - first) / second if relative else first - second)
    return [round(float(each), 5) for each in np.quantile(leads, (0.025, 0.975))]


if __name__ == "__main__":
    main(*sys.argv[1:])
