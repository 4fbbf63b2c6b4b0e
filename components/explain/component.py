"""The face of explain."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def explain(
    edge_model: Input[Model],
    examples: Input[Dataset],
    explanation: Output[Artifact],
    explanation_report: Output[HTML],
    explanation_metrics: Output[Metrics],
    explained_rows: int = 500,
    explained_slices: list = [],  # noqa: B006
    split: str = "eval",
    background_split: str = "train",
    background_rows: int = 100,
    gradient_baseline: str = "mean",
    min_agreement: float = -1.0,
    decision_threshold: float = 0.0,
    max_seconds: int = 600,
    seed: int = 0,
    model: Input[Model] = None,
    compiled_model: Input[Model] = None,
) -> NamedTuple("Outputs", [("agrees", bool)]):
    """Tell what predictions rest on, and whether the cloud and the edge model agree on it.

    The edge model is explained from its answers alone (permutation SHAP, occlusion of pictures),
    whatever its quantisation or target; the cloud model in the same way, and by integrated
    gradients, whose completeness is checked. Importance has intervals, single rows have
    counterfactuals, and a feature that carries nearly all is named.

    Args:
        edge_model: The model converted from the original (edge_model/v1), or an imported one
            (edge_model/v1, onnx_model/v1).
        examples: Raw examples (examples/v1).
        explanation: All numbers, and what each feature adds to each row (explanation/v1).
        explanation_report: What counts, how far both models agree on it, and single rows, as a
            page.
        explanation_metrics: Agreement, completeness, and the shares of the first ten features.
        explained_rows: How many rows of the split are explained, evenly spread; of models that take
            pictures alone at most 12, of very large rows as many as fit into 256 MiB.
        explained_slices: Columns by whose values the importance is told, too; not of models that
            take pictures alone.
        split: The split whose rows are explained.
        background_split: The split whose rows stand for unknown values.
        background_rows: How many of them; more give a smoother estimate in more time.
        gradient_baseline: Where integrated gradients begin: mean (of the background, in the
            transformed space) or missing (a row of missing values).
        min_agreement: The least median rank correlation of cloud and edge, 1 being the same order
            of features in each row; -1: any.
        decision_threshold: Above this score a binary prediction is a yes; 0: the one that convert
            kept with the edge model, or 0.5.
        max_seconds: After which no more rows are explained; the page says how many were.
        seed: Seed of orders and resamples.
        model: The original: the trained model (model/v1), or an imported LiteRT model
            (edge_model/v1); left out, an imported edge model is compared with its own file.
        compiled_model: The edge model compiled for a target (compiled_model/v1), explained in its
            place, where its target has a runtime.

    Returns:
        agrees: Whether the agreement is at least min_agreement.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.explain.explain import ExplainPlan
    from edgeline.components.explain.explain import explain as work

    result = work(
        model_path=getattr(model, "path", None),
        edge_model_path=edge_model.path,
        examples_path=examples.path,
        explanation_path=explanation.path,
        explanation_report_path=explanation_report.path,
        plan=ExplainPlan(
            explained_rows=explained_rows,
            background_rows=background_rows,
            explained_slices=tuple(explained_slices),
            gradient_baseline=gradient_baseline,
            min_agreement=min_agreement,
            max_seconds=max_seconds,
            seed=seed,
        ),
        split=split,
        background_split=background_split,
        decision_threshold=decision_threshold,
        compiled_model_path=getattr(compiled_model, "path", ""),
    )
    record(explanation, result.metadata, "agrees", "agreement")
    record_metrics(explanation_metrics, result.metrics)
    return (result.agrees,)
