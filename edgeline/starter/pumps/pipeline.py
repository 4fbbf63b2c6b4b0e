"""Sensors over time: will this pump fail, by its last eight readings?"""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

pipeline = specialise(
    "pumps",
    "Will this pump fail, by its last eight readings?",
    data=str(HERE / "pumps.csv"),
    module=str(HERE / "module.py"),
    label="fails",
    model_name="pumps",
    destination=str(HERE / "models"),
    schema={"column_types": {"when": "timestamp"}, "columns": {"when": False}},
    splits={
        # a row of the examples is a window of the rows of one pump
        "windows": {"size": 8, "time": "when", "key": "pump", "columns": ["pressure", "flow"]},
        # windows of one pump share rows, so each pump is in one split
        "split_key": "pump",
        "split_ratios": {"train": 3, "eval": 1},
    },
    training={"steps": 300},
    evaluation={"decision_goal": "f1"},
)
