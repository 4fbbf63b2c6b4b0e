"""The face of train_candidate."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def train_candidate(
    examples: Input[Dataset],
    schema: Input[Artifact],
    transform_graph: Input[Artifact],
    transformed_examples: Input[Dataset],
    candidate: Output[Model],
    candidate_report: Output[HTML],
    candidate_metrics: Output[Metrics],
    name: str,
    module: str,
    label: str,
    training: str,
    place: str = "0",
    own_module: str = "",
    rows: str = "",
    beam_options: list = [],  # noqa: B006
    analyzer_cache: str = "",
    weight_column: str = "",
    eval_config: dict = {},  # noqa: B006
    baseline_model_uri: str = "",
    decision_goal: str = "",
    requirements: dict = {},  # noqa: B006
    quantisation: str = "float",
    representative_rows: int = 500,
    max_difference: float = -1.0,
    max_changed_decisions: float = -1.0,
    max_metric_drop: float = 0.01,
    never_missing: list = [],  # noqa: B006
):
    """Train one of several candidates, evaluate, convert and verify it, or say why it failed.

    What fails is the candidate and not the task: the others of the loop go on, and `choose` takes
    the best. A failure comes from a cache as other results do: another cache_name tries it again.

    Args:
        examples: Raw rows (examples/v1), on which all candidates are evaluated and verified.
        schema: Their schema (schema/v1).
        transform_graph: The graph that the run's own module made (transform_graph/v1).
        transformed_examples: What it gives (transformed_examples/v1). A candidate with a module or
            rows of its own makes its own of both.
        candidate: The model, the edge model, the evaluation and the verification, as far as it came
            (candidate/v1).
        candidate_report: What became of it, with the pages of all steps.
        candidate_metrics: The metrics of all rows, and the size of the edge model.
        name: What the candidate is called.
        module: The run's module: an import path, or a .py file, a folder or a .zip, here or in a
            store.
        label: The output of preprocessing_fn that is to be predicted.
        training: What train takes, as an object in JSON that the component settings hands on.
        place: Its place in the run's list, from 0.
        own_module: The candidate's own module; empty: that of the run.
        rows: The rows of the training split to learn from, as an object in JSON: {"column": "when",
            "from": 1767225600000000}; empty: all.
        beam_options: Of transform and analyze: options of Apache Beam; empty runs in this task.
        analyzer_cache: Of transform: a folder that keeps what was learnt of growing data.
        weight_column: Of transform: the raw column that says how much a row counts.
        eval_config: Of analyze: TFMA's EvalConfig as an object.
        baseline_model_uri: Of analyze: what change thresholds compare with.
        decision_goal: Of analyze: by which the threshold of a binary decision is chosen.
        requirements: What the model must reach, as the object in a requirements.yaml.
        quantisation: Of convert: float, fp16, dynamic, int8, int16x8, a recipe or auto.
        representative_rows: Of convert: rows for calibrating integer models.
        max_difference: Of verify: largest difference of an output; -1: its default.
        max_changed_decisions: Of verify: largest share of changed decisions; -1: its default.
        max_metric_drop: Of verify: how much worse a metric may be on the edge.
        never_missing: Of verify: raw features that always have a value.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.train_candidate.train_candidate import (
        AskedOfAll,
        SharedInputs,
        of_texts,
    )
    from edgeline.components.train_candidate.train_candidate import train_candidate as work
    from edgeline.components.verify.findings import Limits

    facts = work(
        candidate=of_texts(
            name=name,
            place=place,
            module=module,
            own_module=own_module,
            training=training,
            rows=rows,
        ),
        given=SharedInputs(
            examples_path=examples.path,
            schema_path=schema.path,
            transform_graph_path=transform_graph.path,
            transformed_examples_path=transformed_examples.path,
        ),
        asked=AskedOfAll(
            label=label,
            beam_options=beam_options,
            analyzer_cache=analyzer_cache,
            weight_column=weight_column,
            eval_config=eval_config,
            baseline_model_uri=baseline_model_uri,
            decision_goal=decision_goal,
            requirements=requirements,
            quantisation=quantisation,
            representative_rows=representative_rows,
            never_missing=never_missing,
        ),
        limits=Limits(
            max_difference=max_difference,
            max_changed_decisions=max_changed_decisions,
            max_metric_drop=max_metric_drop,
        ),
        candidate_path=candidate.path,
        candidate_report_path=candidate_report.path,
        candidate_uri=candidate.uri,
    )
    record(candidate, facts, "name", "state")
    record_metrics(candidate_metrics, {**facts["metrics"], "size_bytes": facts["size"]})
