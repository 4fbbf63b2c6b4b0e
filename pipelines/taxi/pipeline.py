"""`taxi`: the generic pipeline with its module, data and thresholds."""

from typing import Any

from edgeline.pipelines.tabular.graph import specialise


def _for_all_rows(lower_bound: float) -> list[dict[str, Any]]:
    """A threshold on all rows together; one on each slice would let a few trips decide."""
    threshold = {"value_threshold": {"lower_bound": lower_bound}}
    return [{"slicing_specs": [{}], "threshold": threshold}]


# the majority class alone reaches an accuracy of 0.775 and an AUC of 0.5
EVALUATION = {
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": "AUC",
                    "per_slice_thresholds": _for_all_rows(lower_bound=0.92),
                },
                {
                    "class_name": "BinaryAccuracy",
                    "per_slice_thresholds": _for_all_rows(lower_bound=0.85),
                },
                {"class_name": "AUCPrecisionRecall"},
                {"class_name": "Precision"},
                {"class_name": "Recall"},
                {"class_name": "BinaryCrossentropy"},
                {"class_name": "Calibration"},
                {"class_name": "ExampleCount"},
                {"class_name": "FairnessIndicators", "config": '{"thresholds": [0.5]}'},
            ]
        }
    ],
    "slicing_specs": [{}, {"feature_keys": ["trip_start_hour"]}],
}

pipeline = specialise(
    "taxi",
    "Chicago taxi trips: will the tip exceed a fifth of the fare?",
    data="package://edgeline.pipelines.taxi/taxi.csv",
    module="edgeline.pipelines.taxi.module",
    label="big_tip",
    model_name="taxi",
    destination="edgeline-models",
    evaluation={"eval_config": EVALUATION},
)
