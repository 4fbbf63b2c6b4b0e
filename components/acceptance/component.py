"""The face of acceptance."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def acceptance(
    edge_model: Input[Model],
    verification: Input[Artifact],
    acceptance: Output[Artifact],
    acceptance_report: Output[HTML],
    name: str,
    command: str,
    files: str = "",
    time_limit: float = 600.0,
    evaluation: Input[Artifact] = None,
    compiled_model: Input[Model] = None,
) -> NamedTuple("Outputs", [("accepted", bool)]):
    """Start a server of the candidate and run the host app's own tests against it.

    The model is served from a folder of this task alone, as publish would assemble it; nothing is
    published. The command finds the server in its environment: EDGELINE_URL
    (http://127.0.0.1:PORT), EDGELINE_GRPC (127.0.0.1:PORT) and EDGELINE_MODEL (the model's name).
    What it needs has to be in the task's image.

    Args:
        edge_model: The model that convert made, or an imported one (edge_model/v1, onnx_model/v1).
        verification: What verify found; a model that it did not approve is refused.
        acceptance: The verdict, for publish, which keeps it as provenance (acceptance/v1).
        acceptance_report: The verdict and what the command printed.
        name: What the model is served as: lower-case letters, digits and dashes.
        command: What to run, without a shell, for example: python -m pytest -q.
        files: Where the command runs: a folder with the tests, or one file, here or in a store;
            #sha256=<hex> pins a file's content; empty: in an empty folder.
        time_limit: Seconds after which the command, with all that it has started, is ended.
        evaluation: What analyze found (evaluation/v1); only an imported model goes without.
        compiled_model: The edge model compiled for a target (compiled_model/v1), served in its
            place, where the server has a runtime for it.

    Returns:
        Whether the command ended with exit code 0 while the server was well.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.acceptance.acceptance import acceptance as work

    result = work(
        edge_model_path=edge_model.path,
        verification_path=verification.path,
        acceptance_path=acceptance.path,
        acceptance_report_path=acceptance_report.path,
        name=name,
        command=command,
        files=files,
        time_limit=time_limit,
        evaluation_path=getattr(evaluation, "path", ""),
        compiled_model_path=getattr(compiled_model, "path", ""),
    )
    record(acceptance, result, "accepted")
    return (bool(result["accepted"]),)
