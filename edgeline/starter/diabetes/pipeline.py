"""Regression: how far will a patient's diabetes have progressed in a year?"""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

pipeline = specialise(
    "diabetes",
    "How far will a patient's diabetes have progressed in a year?",
    data=str(HERE / "diabetes.csv"),
    module=str(HERE / "module.py"),
    label="progression",
    model_name="diabetes",
    destination=str(HERE / "models"),
    training={"task": "regression", "steps": 600, "batch_size": 32},
    # always saying the mean is off by 77
    edge={"requirements": {"metrics": [{"metric": "root_mean_squared_error", "at_most": 70}]}},
)
