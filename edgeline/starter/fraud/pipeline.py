"""An imbalanced problem: which card payments are fraud? Some 3 % are."""

from pathlib import Path

from edgeline.pipelines.tabular.graph import specialise

HERE = Path(__file__).parent

# accuracy would be 97 % for a model that never says fraud, so it is not what is measured
EVALUATION = {
    "metrics_specs": [
        {"metrics": [{"class_name": "AUC"}, {"class_name": "AUCPrecisionRecall"},
                     {"class_name": "ExampleCount"}]}
    ],
    "slicing_specs": [{}, {"feature_keys": ["shop"]}],
}  # fmt: skip

pipeline = specialise(
    "fraud",
    "Which card payments are fraud?",
    data=str(HERE / "payments.csv"),
    module=str(HERE / "module.py"),
    label="fraud",
    model_name="fraud",
    destination=str(HERE / "models"),
    # each split gets its share of the rare class
    splits={"split_by": {"stratify": "fraud"}},
    training={"steps": 600, "batch_size": 64, "class_weights": "balanced"},
    # what a missed fraud costs beside a call to a customer who did pay
    evaluation={
        "eval_config": EVALUATION,
        "decision_goal": "cost:false_negative=20,false_positive=1",
    },
)
