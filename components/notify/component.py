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

    What was published, why a model was refused, which task failed and why is asked of KFP's API,
    the pods and the run's artifacts, since KFP's own status names a group and may say RUNNING. What
    cannot be asked is said to be not known. Set KF_PIPELINES_UI_ENDPOINT to the address of
    Kubeflow's pages for a link to the run.

    A webhook whose URL is a secret belongs into the environment variable EDGELINE_WEBHOOK,
    never into a parameter. A webhook that fails does not fail the task.

    Args:
        status: Filled in by KFP.
        outcome: outcome.json with text, pipeline, run, state, task, error_code, error, published,
            refused and page.
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
            outcome_uri=outcome.uri,
        ),
        "state",
    )
