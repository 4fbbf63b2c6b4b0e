"""The face of the static placement check."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def check(
    edge_model: Input[Model],
    placement: Output[Artifact],
    placement_report: Output[HTML],
    target: str = "edgetpu",
    require_mapped: float = 0.0,
):
    """Predict where every operator of an edge model will run, and gate on the share that maps.

    Args:
        edge_model: The converted model (edge_model/v1).
        placement: Every operator with its place, the rule that says so and its source.
        placement_report: The same as a page: operators by device, the cut, memory, what to change.
        target: The device to check for, edgetpu or mobile-gpu (LiteRT's GPU delegate on phones).
        require_mapped: The share of operators that must map, 0 to 1; the step fails below it.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.check.check import check_edge_model as work

    record(
        placement,
        work(
            edge_model_path=edge_model.path,
            target=target,
            require_mapped=require_mapped,
            placement_path=placement.path,
            placement_report_path=placement_report.path,
        ),
        "mapped_share",
        "operators",
    )
