"""Public tables as CSV, as somebody would have them: `python export.py FOLDER`.

Runs in the referee's environment, whose packages ship the tables: scikit-learn, ISLP, statsmodels
and river (BSD-3-Clause, statsmodels' data in the public domain), lifelines (MIT) and palmerpenguins
(its data CC0).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd
from sklearn import datasets

OF_SKLEARN = {  # the name that the label gets
    "iris": "species",
    "wine": "cultivar",
    "breast_cancer": "diagnosis",
    "digits": "digit",
    "diabetes": "progression",
}
FILES = {
    "penguins": "palmerpenguins/data/penguins.csv",
    "anes96": "statsmodels/datasets/anes96/anes96.csv",
    "fair": "statsmodels/datasets/fair/fair.csv",
    "cancer": "statsmodels/datasets/cancer/cancer.csv",
    "engel": "statsmodels/datasets/engel/engel.csv",
    "randhie": "statsmodels/datasets/randhie/randhie.csv",
    "modechoice": "statsmodels/datasets/modechoice/modechoice.csv",
    "rossi": "lifelines/datasets/rossi.csv",
    "phishing": "river/datasets/phishing.csv.gz",
    "default": "ISLP/data/Default.csv",
    "orange-juice": "ISLP/data/OJ.csv",
    "carseats": "ISLP/data/Carseats.csv",
    "college": "ISLP/data/College.csv",
    "auto": "ISLP/data/Auto.csv",
    "credit": "ISLP/data/Credit.csv",
    "caravan": "ISLP/data/Caravan.csv",
    "wage": "ISLP/data/Wage.csv",
}


def main(folder: Path) -> None:
    """Write all tables, those that are CSV byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, label in OF_SKLEARN.items():
        found = getattr(datasets, f"load_{name}")(as_frame=True)
        table, names = found.data, found.get("target_names")
        classes = None if names is None else dict(enumerate(names))
        table[label] = found.target.map(classes) if classes else found.target
        table.to_csv(folder / f"{name.replace('_', '-')}.csv", index=False)
    for name, file in FILES.items():
        package, _, rest = file.partition("/")
        spec = importlib.util.find_spec(package)
        assert spec and spec.origin
        place = Path(spec.origin).parent / rest
        target = folder / f"{name}.csv"
        if name == "anes96":  # blanks between, names in quotes
            pd.read_csv(place, sep=r"\s+", quotechar="'").to_csv(target, index=False)
        else:
            target.write_bytes(place.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
