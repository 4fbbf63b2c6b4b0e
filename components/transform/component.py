"""The face of `transform`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def transform(
    examples: Input[Dataset],
    schema: Input[Artifact],
    module: str,
    transform_graph: Output[Artifact],
    transformed_examples: Output[Dataset],
    features_report: Output[HTML],
    analyze_split: str = "train",
    beam_options: list = [],  # noqa: B006
    analyzer_cache: str = "",
    label: str = "",
    weight_column: str = "",
    fairness: dict = {},  # noqa: B006
):
    """Turn raw examples into model features with the user's preprocessing_fn (tf.Transform).

    Args:
        examples: Raw examples (examples/v1).
        schema: Their schema (schema/v1).
        module: The user's module: an import path, or a .py file, a folder or a .zip, here or in a
            store.
        transform_graph: The graph, for training and serving (transform_graph/v1).
        transformed_examples: The model features (transformed_examples/v1).
        features_report: What each feature is made from and how it is spread.
        analyze_split: The split that vocabularies, means and quantiles are learnt from.
        beam_options: Options of Apache Beam, such as --job_endpoint=host:8099; empty runs in this
            process.
        analyzer_cache: A folder that keeps what was learnt of each part of growing data.
        label: An output of preprocessing_fn that there must be: a wrong name is told before any
            row is read; empty: not looked at.
        weight_column: The raw column that says how much a row counts, for train and analyze:
            numbers of at least 0. preprocessing_fn does not get it; empty: each row counts once.
        fairness: As of analyze. Where its mitigation changes the training, the groups go beside the
            model features.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.transform.transform import transform as work

    graph_metadata, examples_metadata = work(
        examples_path=examples.path,
        schema_path=schema.path,
        module=module,
        transform_graph_path=transform_graph.path,
        transformed_examples_path=transformed_examples.path,
        features_report_path=features_report.path,
        analyze_split=analyze_split,
        beam_options=beam_options,
        analyzer_cache=analyzer_cache,
        label=label,
        weight_column=weight_column,
        transformed_examples_uri=transformed_examples.uri,
        fairness=fairness,
    )
    record(transform_graph, graph_metadata, "rows_analyzed")
    record(transformed_examples, examples_metadata)
