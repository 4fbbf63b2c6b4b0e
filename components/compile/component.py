"""The face of compile."""

from kfp import dsl
from kfp.dsl import HTML, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("compile"), install_kfp_package=False)
def compile(  # noqa: A001
    edge_model: Input[Model],
    compiled_model: Output[Model],
    compilation_report: Output[HTML],
    compilation_metrics: Output[Metrics],
    target: str = "litert",
    options: dict = {},  # noqa: B006
    time_limit: int = 900,
    required: bool = True,
    requirements: dict = {},  # noqa: B006
    model: Input[Model] = None,
):
    """Compile an edge model for a device, and say where each of its operators will run.

    Args:
        edge_model: The converted or imported model (edge_model/v1 or onnx_model/v1).
        compiled_model: What the device loads, with signature, placement and the compiler's
            log (compiled_model/v1).
        compilation_report: Size, operators on the accelerator and on the CPU with the reason,
            facts.
        compilation_metrics: Size, share of operators on the accelerator, the compiler's numbers.
        target: The device family: a target that `edgeline compile-model --help` lists.
        options: Settings of the target by name; the component's README lists them.
        time_limit: Seconds that the compiler may take.
        required: Whether the step fails where the compiler is not installed, or a requirement is
            not met; else it says so, and verify does not approve the target, so that in a loop the
            other targets go on.
        requirements: What the devices of this target must reach, as the object in a
            requirements.yaml; size, mapped share, arena and what else the compiler tells is judged
            here, before the model runs.
        model: The trained model (model/v1), for targets that take a SavedModel.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.compile.compile import compile_edge_model as work

    result = work(
        target=target,
        compiled_model_path=compiled_model.path,
        edge_model_path=edge_model.path,
        model_path=getattr(model, "path", ""),
        options=options,
        compilation_report_path=compilation_report.path,
        time_limit=time_limit,
        required=required,
        requirements=requirements,
    )
    record(compiled_model, result.metadata, "target", "size")
    record_metrics(compilation_metrics, result.metrics)
