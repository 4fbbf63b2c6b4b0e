"""The pipeline: edgeline's generic one with this project's data, module and thresholds."""

from pathlib import Path

from edgeline.pipelines.tabular.pipeline import specialise

HERE = Path(__file__).parent

# the model is converted and published only when it is at least this good on unseen rows
EVALUATION = {
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": "AUC",
                    "threshold": {"value_threshold": {"lower_bound": 0.85}},
                },
                {"class_name": "BinaryAccuracy"},
                {"class_name": "Precision"},
                {"class_name": "Recall"},
                {"class_name": "ExampleCount"},
            ]
        }
    ],
    "slicing_specs": [{}],
}

pipeline = specialise(
    "$name",
    "Will a cold-storage room fail within a day?",
    data=str(HERE / "data.csv"),
    module=str(HERE / "module.py"),
    label="fault",
    model_name="$name",
    destination=str(HERE / "models"),
    training={"steps": 150},
    evaluation={"eval_config": EVALUATION},
)
