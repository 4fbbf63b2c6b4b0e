"""The face of model_card."""

from typing import List  # noqa: UP035

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def model_card(
    edge_model: Input[Model],
    model_card: Output[HTML],
    name: str = "",
    model: Input[Model] = None,
    float_model: Input[Model] = None,
    compiled_models: Input[List[Model]] = None,  # noqa: UP006
    verification: Input[Artifact] = None,
    float_verification: Input[Artifact] = None,
    verifications: Input[List[Artifact]] = None,  # noqa: UP006
    placement: Input[Artifact] = None,
    evaluation: Input[Artifact] = None,
    card: dict = {},  # noqa: B006
):
    """One page for a model: what people declare of it, size, operators, accuracy, latency.

    Args:
        edge_model: The edge model (edge_model/v1, onnx_model/v1) that the targets were compiled
            from.
        model_card: The page; what was not made or not connected is absent.
        name: What the page calls the model.
        model: The trained model (model/v1).
        float_model: The floating edge model beside it (edge_model/v1).
        compiled_models: Compiled models (compiled_model/v1), from a loop by dsl.Collected.
        verification: Of the edge model (verification/v1).
        float_verification: Of the floating edge model (verification/v1).
        verifications: Of the compiled models (verification/v1), from a loop by dsl.Collected.
        placement: What the static check says of the edge model (placement/v1).
        evaluation: What analyze found (evaluation/v1); the page says of an imported model
            without that it is not evaluated.
        card: What people declare of the model: intended_use, owner, data, limits, ethics and
            licence, each a text. What is not said is named on the page.
    """
    from edgeline.artifacts.places import paths
    from edgeline.components.model_card.model_card import model_card as work

    work(
        model_card_path=model_card.path,
        name=name,
        model_path=getattr(model, "path", ""),
        edge_model_paths=paths(edge_model, float_model),
        compiled_model_paths=paths(compiled_models),
        verification_paths=paths(verification, float_verification, verifications),
        placement_paths=paths(placement),
        evaluation_path=getattr(evaluation, "path", ""),
        card=card,
    )
