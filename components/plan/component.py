"""The face of plan."""

from typing import NamedTuple

from kfp import dsl

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def plan(
    targets: list = [],  # noqa: B006
    sites: list = [],  # noqa: B006
    models_repository: str = "",
    destination: str = "",
) -> NamedTuple(
    "Plan", [("each_target", list), ("has_targets", bool), ("each_site", list), ("has_sites", bool)]
):
    """Look over the lists that a pipeline loops over, before there is anything to lose.

    A loop over nothing never ends on a cluster, and what collects its outputs fails: put the loop,
    and what collects it, into a dsl.If on has_targets or has_sites.

    Args:
        targets: What to compile for, as the compile component takes it.
        sites: Where to deploy, each an object with `site` and perhaps `form`, `tokens`,
            `model_from`, `modelcar_base`, `kserve_version`, `port`, `login`, `accelerator` and
            `server`, as the serve component takes them.
        models_repository: Where models' images are pushed; needed for sites.
        destination: Where publish will publish. In a cluster a relative path is refused: it would
            be on a pod's own disk, and gone with the pod.

    Returns:
        each_target: Every target, once.
        has_targets: Whether there are any.
        each_site: Every site, once, with all of these fields.
        has_sites: Whether there are any.
    """
    from typing import NamedTuple

    from edgeline.components.plan.plan import plan as work

    planned = work(
        targets=targets,
        sites=sites,
        models_repository=models_repository,
        destination=destination,
    )
    made = [("each_target", list), ("has_targets", bool), ("each_site", list), ("has_sites", bool)]
    return NamedTuple("Plan", made)(  # type: ignore[operator]
        planned.targets, bool(planned.targets), planned.sites, bool(planned.sites)
    )
