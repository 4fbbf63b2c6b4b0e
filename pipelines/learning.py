"""What the pipelines that train have in common up to a model that is analyzed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.components.faces import analyze, train, transform, validate


@dataclass(frozen=True)
class Learned:
    """Outputs of tasks: the rows, the model and its evaluation, and whether it is blessed."""

    examples: Any
    model: Any
    evaluation: Any
    blessed: Any


def learn(
    examples: Any,
    *,
    validation: Mapping[str, Any],
    transformation: Mapping[str, Any],
    training: Mapping[str, Any],
    analysis: Mapping[str, Any],
) -> Learned:
    """Validate, transform, train, analyze.

    Args:
        examples: the output of ingest.
        validation: arguments of `validate`; the others of `transform`, `train` and `analyze`.
    """
    checked = validate(examples=examples, **validation)
    made = transform(examples=examples, schema=checked.outputs["schema"], **transformation)
    trained = train(
        transformed_examples=made.outputs["transformed_examples"],
        transform_graph=made.outputs["transform_graph"],
        **training,
    )
    model = trained.outputs["model"]
    analyzed = analyze(examples=examples, model=model, **analysis)
    return Learned(examples, model, analyzed.outputs["evaluation"], analyzed.outputs["blessed"])
