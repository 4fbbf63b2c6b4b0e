"""The pipeline: edgeline's generic one with this project's data, module and requirements."""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

# what is measured; how good the model must be is in requirements.yaml
EVALUATION = {
    "metrics_specs": [
        {
            "metrics": [
                {"class_name": "AUC"},
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
    edge={"requirements": HERE / "requirements.yaml"},
)
