"""Transfer learning: four symbols from 240 pictures, with a network that knows digits."""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

pipeline = specialise(
    "symbols",
    "Which symbol is drawn?",
    data=str(HERE / "pictures"),
    module=str(HERE / "module.py"),
    label="symbol",
    model_name="symbols",
    destination=str(HERE / "models"),
    schema={"images": {"image": [28, 28, 1]}, "columns": {"path": False}},
    splits={"split_by": {"stratify": "label"}},
    training={
        "task": "multiclass_classification",
        "label_vocabulary": "symbol",
        "steps": 400,
        "batch_size": 16,
        "hyperparameters": {"backbone": str(HERE / "digits.keras"), "frozen_steps": 200},
    },
)
