"""The taxi pipeline from ingest to analyze, with its parameters: what the benchmarks run."""

# no `from __future__ import annotations`: kfp reads the annotations
from kfp import dsl

from edgeline.components.analyze.component import analyze
from edgeline.components.ingest.component import ingest
from edgeline.components.train.component import train
from edgeline.components.transform.component import transform
from edgeline.components.validate.component import validate
from edgeline.pipelines.taxi.pipeline import pipeline as taxi

INPUTS = {name: given.default for name, given in taxi.component_spec.inputs.items()}
TAXI = INPUTS | {  # and the fields of its objects
    name: value
    for object_ in ("with_splits", "with_schema", "with_training", "with_evaluation")
    for name, value in INPUTS[object_].items()
}


def _without_fairness(config: dict) -> dict:
    """TFMA alone does not know FairnessIndicators, an addon: neither side computes it."""
    [specs] = config["metrics_specs"]
    kept = [metric for metric in specs["metrics"] if metric["class_name"] != "FairnessIndicators"]
    return {**config, "metrics_specs": [{"metrics": kept}]}


EVALUATION = _without_fairness(TAXI["eval_config"])


@dsl.pipeline(name="taxi-to-analyze")
def pipeline(data: str = TAXI["data"], module: str = TAXI["module"]):
    """From raw rows to an evaluated model.

    Args:
        data: The rows as CSV.
        module: The taxi pipeline's own.
    """
    read = ingest(data=data, split_ratios=TAXI["split_ratios"])
    checked = validate(examples=read.outputs["examples"], on_anomalies=TAXI["on_anomalies"])
    made = transform(
        examples=read.outputs["examples"], schema=checked.outputs["schema"], module=module
    )
    trained = train(
        transformed_examples=made.outputs["transformed_examples"],
        transform_graph=made.outputs["transform_graph"],
        module=module,
        label=TAXI["label"],
        task=TAXI["task"],
        steps=TAXI["steps"],
        batch_size=TAXI["batch_size"],
    )
    analyze(
        examples=read.outputs["examples"],
        model=trained.outputs["model"],
        eval_config=EVALUATION,
    )
