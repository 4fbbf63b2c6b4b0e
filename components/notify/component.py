"""The face of notify."""

from kfp import dsl
from kfp.dsl import Artifact, Output, PipelineTaskFinalStatus

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def notify(
    status: PipelineTaskFinalStatus,
    outcome: Output[Artifact],
    pipeline_name: str = "",
    run_id: str = "",
    webhook: str = "",
):
    """Say how a pipeline ended; made to be the task of a dsl.ExitHandler.

    A webhook whose URL is a secret belongs into the environment variable EDGELINE_WEBHOOK,
    never into a parameter. A webhook that fails does not fail the task.

    Args:
        status: Filled in by KFP.
        outcome: outcome.json with text, pipeline, run, state, task, error_code and error.
        pipeline_name: Name of the pipeline.
        run_id: Id of the run.
        webhook: URL that gets outcome.json by POST. Empty: EDGELINE_WEBHOOK, or none.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.notify.notify import notify as work

    record(
        outcome,
        work(
            outcome_path=outcome.path,
            state=status.state,
            task=status.pipeline_task_name or "",
            error_code=status.error_code,
            error=status.error_message or "",
            pipeline_name=pipeline_name,
            run_id=run_id,
            webhook=webhook,
        ),
    )
