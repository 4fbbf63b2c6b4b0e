"""How a pipeline publishes a bundle, and deploys it where there are sites."""

from __future__ import annotations

from typing import Any

from kfp import dsl

from edgeline.components.faces import publish, serve

# of a run: what every bundle's provenance has
RUN = {
    "pipeline_name": dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
    "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
}


def publish_and_serve(
    planned: Any,
    models_repository: Any,
    after: tuple[Any, ...] = (),
    title: str = "",
    **bundle: Any,
) -> None:
    """Publish a bundle; then deploy it to each site.

    Not an If around the loop alone: one that is decided after the last task has ended leaves the
    run's state open in KFP 2.17.

    Args:
        planned: the task of `plan`, which knows the sites.
        after: tasks that publish waits for.
        title: what the task of publish is shown as.
        **bundle: arguments of `publish`.
    """

    def published() -> Any:
        task = publish(**bundle)
        return (task.set_display_name(title) if title else task).after(*after)

    with dsl.If(planned.outputs["has_sites"] == False, name="no-sites"):  # noqa: E712
        published()
    with dsl.Else(name="sites"):
        task = published()
        with dsl.ParallelFor(planned.outputs["each_site"]) as place:
            serve(
                bundle=task.outputs["bundle"],
                site=place.site,
                form=place.form,
                models_repository=models_repository,
            )
