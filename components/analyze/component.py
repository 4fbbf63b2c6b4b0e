"""The face of `analyze`."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def analyze(
    examples: Input[Dataset],
    model: Input[Model],
    evaluation: Output[Artifact],
    evaluation_metrics: Output[Metrics],
    classification: Output[ClassificationMetrics],
    evaluation_report: Output[HTML],
    eval_config: dict = {},  # noqa: B006
    split: str = "eval",
    baseline_model_uri: str = "",
    beam_options: list = [],  # noqa: B006
    confidence_intervals: bool = True,
    seed: int = 0,
    decision_goal: str = "",
    requirements: dict = {},  # noqa: B006
    fairness: dict = {},  # noqa: B006
) -> NamedTuple("Outputs", [("blessed", bool), ("decision_threshold", float)]):
    """Evaluate a model slice by slice and decide whether it is good enough.

    Args:
        examples: Raw rows (examples/v1).
        model: The trained model (model/v1), with its signature `evaluate`; or an imported LiteRT
            or ONNX model (edge_model/v1, onnx_model/v1).
        evaluation: Metrics of every slice, the verdict and TFMA's result files (evaluation/v1).
        evaluation_metrics: The metrics of all rows.
        classification: ROC curve and confusion matrix of all rows.
        evaluation_report: HTML page: verdict and reasons, metrics, slices from the worst on, plots.
        eval_config: TFMA's EvalConfig as an object: metrics, slices, thresholds, example weights;
            metrics default by task, weights are those that the model was trained with.
        split: Which split of the examples to evaluate.
        baseline_model_uri: What change thresholds compare with: a model/v1 folder, here or in a
            store, or what is published: DESTINATION/NAME/VERSION, with latest or approved for the
            newest. Where nothing is published under the name yet, there is none. Empty: none.
        beam_options: Options of Apache Beam, such as --job_endpoint=host:8099: TFMA runs on Beam;
            empty: vectorised in this process.
        confidence_intervals: Whether to bootstrap 95 % intervals.
        seed: Seed of the bootstrap.
        decision_goal: By which the threshold of a binary decision is chosen on the split: f1,
            recall>=0.9 (the highest precision with at least that recall), precision>=0.8, or
            cost:false_negative=10,false_positive=1; empty: 0.5.
        requirements: What the model must reach, as the object in a requirements.yaml; what it says
            of devices is left to verify.
        fairness: Between which groups decisions are compared, and what is done about a difference:
            group (a raw column), and perhaps mitigation (none, reweighing, penalty or thresholds),
            criterion (equalised_odds, equal_opportunity or demographic_parity), weight,
            max_accuracy_drop, min_rows and compare; empty: not looked at.

    Returns:
        blessed: Whether every threshold of eval_config and every requirement holds, the goal is
            reached, and nothing speaks against it beside a published baseline: labels that
            contradict that one, columns without values, a model that is surely worse.
        decision_threshold: Above this score a binary prediction is a yes.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.analyze.analyze import analyze as work

    result = work(
        examples_path=examples.path,
        model_path=model.path,
        evaluation_path=evaluation.path,
        evaluation_report_path=evaluation_report.path,
        eval_config=eval_config,
        split=split,
        baseline_model_uri=baseline_model_uri,
        beam_options=beam_options,
        confidence_intervals=confidence_intervals,
        seed=seed,
        decision_goal=decision_goal,
        requirements=requirements,
        fairness=fairness,
        evaluation_uri=evaluation.uri,
    )
    record(evaluation, result.metadata, "blessed")
    record_metrics(evaluation_metrics, result.overall)
    result.log(classification)
    return (result.blessed, result.decision_threshold)
