"""The face of `validate`."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def validate(
    examples: Input[Dataset],
    statistics: Output[Artifact],
    schema: Output[Artifact],
    anomalies: Output[Artifact],
    validation_report: Output[HTML],
    schema_uri: str = "",
    baseline_uri: str = "",
    skew_threshold: float = 0.1,
    drift_threshold: float = 0.1,
    on_anomalies: str = "fail",
    environment: str = "",
    comparison_rows: int = 500,
    infer_ranges: bool = False,
    beam_options: list = [],  # noqa: B006
    label: str = "",
) -> NamedTuple("Outputs", [("valid", bool)]):
    """Compute statistics of examples and check them against a schema and a baseline.

    A schema is a tensorflow_metadata Schema, as TFX writes it, and verdicts are TFDV's: a column
    must be there if presence asks for it, and features that are PLANNED, ALPHA, DEPRECATED,
    DISABLED or DEBUG_ONLY are not looked at. But whole numbers may stand for FLOAT, and infinity is
    found. What the schema says and the data were not checked for stands under 'Not checked' in the
    report, each with its reason, and in anomalies.json.

    Args:
        examples: Examples of the ingest step.
        statistics: Statistics per split and feature, as tensorflow_metadata protos.
        schema: The schema in force, as a tensorflow_metadata proto, and the raw features.
        anomalies: What is wrong, one record each, and the skew and drift measured.
        validation_report: Distributions, missing values, anomalies, the label and pictures.
        schema_uri: Frozen schema: a schema artifact folder or a .pbtxt file, here or in a store.
            Empty: inferred from the training split.
        baseline_uri: Statistics artifact folder or file of an earlier run, here or in a store, to
            measure drift. Empty: drift is not measured.
        skew_threshold: Greatest distance (L-infinity or Jensen-Shannon, 0 to 1) of a split
            from the training split.
        drift_threshold: Greatest distance (0 to 1) of a split from the baseline's.
        on_anomalies: fail: the task fails when the data are not valid; flag: the output
            valid tells.
        environment: Environment of the schema in which the data are, for example SERVING. Empty:
            every feature of the schema is asked for.
        comparison_rows: Rows of a split below which skew and drift are judged only where the
            schema has a comparator.
        infer_ranges: Whether an inferred schema has ranges of numbers: what was seen, wider by its
            width, but not across zero.
        beam_options: Options of Apache Beam, such as --job_endpoint=host:8099; in a cluster the
            task then needs the image train. Empty: counted in this process.
        label: What is predicted, for the report: its classes, and what each column says of it.

    Returns:
        valid: Whether there is no anomaly of severity ERROR.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.validate.validate import validate as work

    result = work(
        examples_path=examples.path,
        statistics_path=statistics.path,
        schema_path=schema.path,
        anomalies_path=anomalies.path,
        validation_report_path=validation_report.path,
        schema_uri=schema_uri,
        baseline_uri=baseline_uri,
        skew_threshold=skew_threshold,
        drift_threshold=drift_threshold,
        on_anomalies=on_anomalies,
        environment=environment,
        comparison_rows=comparison_rows,
        infer_ranges=infer_ranges,
        beam_options=beam_options,
        label=label,
        statistics_uri=statistics.uri,
    )
    record(statistics, result.statistics)
    record(schema, result.schema, "features", "inferred")
    record(anomalies, result.anomalies, "errors", "warnings", "not_checked")
    return (result.valid,)
