"""Logistic or linear regression on the rows and columns of one of our runs.

    python referee.py task label columns.json train.csv eval.csv

Runs in the referee's environment. Numbers are filled with their mean and scaled, words are one-hot,
by scikit-learn with its defaults. Prints JSON: AUC and accuracy of two classes, accuracy of
several, RMSE of a number.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def main(task: str, label: str, columns: str, train: str, evaluation: str) -> None:
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
    if regression:
        error = model.predict(asked) - answers
        found = {"rmse": float((error**2).mean() ** 0.5)}
    else:
        found = {"accuracy": float(model.score(asked, answers))}
        if len(model.classes_) == 2:
            found["auc"] = float(roc_auc_score(answers, model.predict_proba(asked)[:, 1]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
