"""fairlearn's differences between groups, of decisions that come as a .npz.

Runs in the environment of build_referees.sh. Prints a JSON object: of each metric its value without
and with weights.
"""

from __future__ import annotations

import json
import sys

import fairlearn.metrics
import numpy as np

METRICS = {
    "demographic_parity_difference": fairlearn.metrics.demographic_parity_difference,
    "demographic_parity_ratio": fairlearn.metrics.demographic_parity_ratio,
    "equalised_odds_difference": fairlearn.metrics.equalized_odds_difference,
    "equal_opportunity_difference": fairlearn.metrics.equal_opportunity_difference,
}


def main():
    rows = np.load(sys.argv[1])
    given = {
        name: [
            float(
                metric(
                    rows["label"],
                    rows["yes"],
                    sensitive_features=rows["group"],
                    sample_weight=weight,
                )
            )
            for weight in (None, rows["weight"])
        ]
        for name, metric in METRICS.items()
    }
    print(json.dumps(given))


main()
