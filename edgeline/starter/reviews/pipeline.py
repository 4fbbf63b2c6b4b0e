"""Text classification: what is a review about?"""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

pipeline = specialise(
    "reviews",
    "What is a review about?",
    data=str(HERE / "reviews.csv"),
    module=str(HERE / "module.py"),
    label="topic",
    model_name="reviews",
    destination=str(HERE / "models"),
    training={
        "task": "multiclass_classification",
        "label_vocabulary": "topic",
        "steps": 300,
    },
)
