"""How a pipeline publishes a bundle, and deploys it where there are sites."""

from __future__ import annotations

from typing import Any

from kfp import dsl

from edgeline.components.faces import notify, publish, serve
from edgeline.components.settings.fields import fields_of
from edgeline.components.settings.objects import FORMS
from edgeline.pipelines.reading import fields
from edgeline.pipelines.specialise import Channels
from edgeline.sites.settings import DEFAULTS as SITE


def delivery(form: Channels, settings: Any) -> dict[str, Any]:
    """Arguments of `publish`: where to, signed by whom, and of which run and commit.

    Args:
        settings: the task of `Channels.settings`.
    """
    known = fields_of(FORMS[form.kind].objects["delivery"])
    return {
        "destination": form["destination"],
        **fields(settings, "signing_keys", "git_commit", "card"),
        **(fields(settings, "candidate") if "candidate" in known else {}),
        "pipeline_name": dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    }


def ended(form: Channels) -> Any:
    """The task that tells how a run ended, for its exit handler."""
    task = notify(pipeline_name=form.pipeline, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    return task.set_caching_options(False).set_display_name("tell how it ended")


def publish_and_serve(
    settings: Any,
    after: tuple[Any, ...] = (),
    title: str = "publish the bundle",
    **bundle: Any,
) -> None:
    """Publish a bundle; then deploy it to each site.

    Not an If around the loop alone: one that is decided after the last task has ended leaves the
    run's state open in KFP 2.17.

    Args:
        settings: the task of `Channels.settings`, which knows the sites.
        after: tasks that publish waits for.
        title: what the task of publish is shown as.
        **bundle: arguments of `publish`.
    """

    def published() -> Any:
        task = publish(**bundle)
        return task.set_display_name(title).after(*after)

    with dsl.If(settings.outputs["has_sites"] == False, name="if there is no site"):  # noqa: E712
        published()
    with dsl.Else(name="if there are sites"):
        task = published()
        with dsl.ParallelFor(settings.outputs["each_site"], name="for each site") as place:
            place.port.channel_type = "Integer"  # kfp takes each field of an item for a text
            serve(
                bundle=task.outputs["bundle"],
                site=place.site,
                models_repository=settings.outputs["models_repository"],
                **{name: getattr(place, name) for name in SITE},
            ).set_display_name("deploy to the site")
