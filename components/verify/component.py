"""The face of verify."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def verify(
    edge_model: Input[Model],
    examples: Input[Dataset],
    verification: Output[Artifact],
    verification_report: Output[HTML],
    verification_metrics: Output[Metrics],
    split: str = "eval",
    max_difference: float = -1.0,
    max_changed_decisions: float = -1.0,
    max_metric_drop: float = 0.01,
    decision_threshold: float = 0.0,
    max_p99_ms: float = 0.0,
    max_memory_mb: float = 0.0,
    runtime: str = "litert",
    never_missing: list = [],  # noqa: B006
    requirements: dict = {},  # noqa: B006
    model: Input[Model] = None,
    compiled_model: Input[Model] = None,
) -> NamedTuple("Outputs", [("approved", bool)]):
    """Compare an edge model with its original on every row and on what no row holds.

    Args:
        edge_model: The model converted from the original (edge_model/v1), or an imported one
            (edge_model/v1, onnx_model/v1).
        examples: Raw examples (examples/v1); where they have labels, metrics are compared.
        verification: All numbers, the reasons, and test vectors for the device (verification/v1).
        verification_report: The verdict and its evidence as a page.
        verification_metrics: Differences, metrics, latency and memory.
        split: The split whose rows are compared.
        max_difference: Largest difference of an output, relative above 1; -1: 1e-5 for a float
            model, no limit for a quantised one (a regression without labels, or held to its own
            file: 0.1).
        max_changed_decisions: Largest share of changed decisions; -1: 0 for a float model, no
            limit for a quantised one (without labels, or compared with its own file: 0.05).
        max_metric_drop: How much worse a metric may be on the edge; for an error, relatively.
        decision_threshold: Above this score a binary prediction is a yes; 0: the one that convert
            kept with the edge model, or 0.5.
        max_p99_ms: Limit on the 99th percentile of latency in milliseconds; 0: none.
        max_memory_mb: Limit on the interpreter's peak memory in megabytes; 0: none.
        runtime: What runs a LiteRT edge model: litert, or tflite-runtime in the Python environment
            that EDGELINE_TFLITE_RUNTIME_PYTHON names.
        never_missing: Raw features that always have a value: no missing one is asked, and the
            server of the bundle refuses a row without one.
        requirements: What the devices of this model's target must reach, as the object in a
            requirements.yaml; what it says of the trained model is left to analyze.
        model: The original: the trained model (model/v1), or an imported LiteRT model
            (edge_model/v1) that was converted. Not given: the edge model is an imported file,
            compared with itself as it came, in reference kernels.
        compiled_model: The edge model compiled for a target (compiled_model/v1), verified in
            that target's runtime in the edge model's place; where only the device runs it, the
            edge model answers for it.

    Returns:
        Whether the edge model is approved.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.verify.findings import Limits
    from edgeline.components.verify.verify import verify as work

    result = work(
        model_path=getattr(model, "path", edge_model.path),
        edge_model_path=edge_model.path,
        examples_path=examples.path,
        verification_path=verification.path,
        verification_report_path=verification_report.path,
        limits=Limits(
            max_difference=max_difference,
            max_changed_decisions=max_changed_decisions,
            max_metric_drop=max_metric_drop,
            max_p99_ms=max_p99_ms,
            max_memory_mb=max_memory_mb,
        ),
        split=split,
        decision_threshold=decision_threshold,
        compiled_model_path=getattr(compiled_model, "path", ""),
        runtime=runtime,
        never_missing=never_missing,
        requirements=requirements,
    )
    record(verification, result.metadata, "approved", "max_difference")
    record_metrics(verification_metrics, result.metrics)
    return (result.approved,)
