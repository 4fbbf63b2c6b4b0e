"""Look over the lists that a pipeline loops over: a mistake in them is told in the first minute.

Each entry stays once. Twice, it would do its work twice, and from KFP's cache both rounds of the
loop would give the same artifact, which KFP does not take twice in one task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeline.components.compile import target as targets_
from edgeline.errors import EdgelineError
from edgeline.sites import checks
from edgeline.sites.address import Cluster, parse
from edgeline.sites.checks import LITERT, bundle_target
from edgeline.sites.kserve import STORE, is_store
from edgeline.sites.settings import DEFAULTS, SiteSettings
from edgeline.stores.destinations import check, refuse_relative, refuse_unidentified


@dataclass(frozen=True)
class Plan:
    """What to loop over: names of targets, and sites.

    Attributes:
        sites: each an object with `site`, its address, and all fields of `SiteSettings`.
    """

    targets: list[str]
    sites: list[dict[str, Any]]


def plan(
    targets: Sequence[Any] = (),
    sites: Sequence[object] = (),
    models_repository: str = "",
    destination: str = "",
) -> Plan:
    """Check targets and sites, each to be gone through once.

    Args:
        targets: names of `compile`'s targets, edgeline's own or another package's.
        sites: objects with `site` and perhaps fields of `SiteSettings`.
        models_repository: where models' images are pushed.
        destination: where publish will publish; empty: not looked at.

    Raises:
        EdgelineError: an entry names no target, or is not a site; there are sites, but no
            models_repository; or this is a cluster, and the destination a pod's own disk, or a
            bucket for which the task's identity is refused.
    """
    if destination:
        check(destination)
        refuse_relative(destination)
        refuse_unidentified(destination)
    for number, target in enumerate(targets, 1):
        if not isinstance(target, str) or not targets_.is_known(target):
            known = ", ".join(targets_.names())
            raise EdgelineError(f"targets, entry {number}: {target!r} is not one of {known}.")
    found = [_site(number, entry, destination) for number, entry in enumerate(sites, 1)]
    if found and not models_repository:
        raise EdgelineError(
            "sites are given, but no models_repository to push the model's image to: "
            "for example models_repository=ghcr.io/acme/models."
        )
    return Plan(list(dict.fromkeys(targets)), _once(found))


def check_deployed(planned: Plan) -> None:
    """Refuse sites that another bundle runs on than the one that the pipelines deploy.

    A loop over sites in the loop over targets costs some 40 kB of the workflow for each target, of
    the 1 MiB above which Kubeflow Pipelines 2.17 no longer tells how tasks end.

    Raises:
        EdgelineError: a site runs what was compiled for a target.
    """
    for each in planned.sites:
        target = bundle_target(_settings(each))
        if target != LITERT:
            raise EdgelineError(
                f"sites: {each['site']} has the accelerator {each['accelerator']}, which runs what "
                f"was compiled for {target} alone, and a run deploys the bundle for LiteRT: leave "
                f"the site out, and deploy the published bundle for {target} with `edgeline site "
                "commit` or `apply`."
            )


def _settings(entry: Mapping[str, Any]) -> SiteSettings:
    return SiteSettings(**{name: entry[name] for name in DEFAULTS})


def _once(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    once: dict[tuple[str, str], dict[str, Any]] = {}
    for number, entry in enumerate(found, 1):
        first = once.setdefault((entry["site"], entry["form"]), entry)
        if differ := [name for name in entry if first[name] != entry[name]]:
            raise EdgelineError(
                f"sites, entry {number}: {entry['site']} as {entry['form']} is there before, with "
                f"another {' and '.join(differ)}: leave one of them out."
            )
    return list(once.values())


def _site(number: int, entry: object, destination: str) -> dict[str, Any]:
    where = f"sites, entry {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("site"), str):
        raise EdgelineError(
            f'{where}: {entry!r} is not an object with a site, such as {{"site": '
            '"cluster://NAMESPACE", "form": "kustomize"}.'
        )
    try:
        place = parse(entry["site"])
        settings = checks.parse({key: x for key, x in entry.items() if key != "site"})
        if isinstance(place, Cluster):
            checks.check_in_cluster(settings.form)
    except EdgelineError as error:
        raise EdgelineError(f"{where}: {error}") from None
    if checks.model_source(settings) == STORE and destination and not is_store(destination):
        raise EdgelineError(
            f"{where}: KServe fetches no model from {destination}: give a destination in a bucket, "
            "or another model_from."
        )
    return {"site": entry["site"], **asdict(settings)}
