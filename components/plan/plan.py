"""Look over the lists that a pipeline loops over: a mistake in them is told in the first minute.

Each entry stays once. Twice, it would do its work twice, and from KFP's cache both rounds of the
loop would give the same artifact, which KFP does not take twice in one task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.components.compile import target as targets_
from edgeline.errors import EdgelineError
from edgeline.sites import base as bases
from edgeline.sites import tokens
from edgeline.sites.address import Cluster, parse
from edgeline.sites.kserve import STORE, is_store, source_of
from edgeline.sites.render import FORMS, ON_DEVICES, check_in_cluster
from edgeline.stores.destinations import check, refuse_relative, refuse_unidentified

FORM, BASE = "kustomize", "modelcar_base"
OF_KSERVE = (BASE, "model_from", "kserve_version")  # for the form kserve
HOW = (*OF_KSERVE, "tokens")  # what else a site says of how it is deployed


@dataclass(frozen=True)
class Plan:
    """What to loop over: names of targets, and sites with `site`, `form` and HOW."""

    targets: list[str]
    sites: list[dict[str, str]]


def plan(
    targets: Sequence[Any] = (),
    sites: Sequence[object] = (),
    models_repository: str = "",
    destination: str = "",
) -> Plan:
    """Check targets and sites, each to be gone through once.

    Args:
        targets: names of `compile`'s targets, edgeline's own or another package's.
        sites: objects with `site` and perhaps `form` and HOW, as `serve` takes them.
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


def _once(found: list[dict[str, str]]) -> list[dict[str, str]]:
    once: dict[tuple[str, str], dict[str, str]] = {}
    for number, entry in enumerate(found, 1):
        first = once.setdefault((entry["site"], entry["form"]), entry)
        if differ := [name for name in HOW if first[name] != entry[name]]:
            raise EdgelineError(
                f"sites, entry {number}: {entry['site']} as {entry['form']} is there before, with "
                f"another {' and '.join(differ)}: leave one of them out."
            )
    return list(once.values())


def _site(number: int, entry: object, destination: str) -> dict[str, str]:
    where = f"sites, entry {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("site"), str):
        raise EdgelineError(
            f'{where}: {entry!r} is not an object with a site, such as {{"site": '
            '"cluster://NAMESPACE", "form": "kustomize"}.'
        )
    if unknown := sorted(map(str, entry.keys() - {"site", "form", *HOW})):
        names = f"site, form, {', '.join(HOW[:-1])} and {HOW[-1]}"
        raise EdgelineError(f"{where} has {unknown[0]!r}, but takes {names} alone.")
    form = entry.get("form", FORM)
    if not isinstance(form, str) or form not in FORMS:
        raise EdgelineError(f"{where}: form is {form!r}, but must be one of {', '.join(FORMS)}.")
    given: dict[str, str] = {}
    for name in HOW:
        given[name] = entry.get(name, "")
        if not isinstance(given[name], str):
            raise EdgelineError(f"{where}: {name} is {given[name]!r}, but must be a text.")
    base = given[BASE]
    try:
        if isinstance(parse(entry["site"]), Cluster):
            check_in_cluster(form)
        tokens.of(given["tokens"], form not in ON_DEVICES)
        source = source_of(form, given["model_from"], given["kserve_version"], base)
        if base:
            bases.check(base)
    except EdgelineError as error:
        raise EdgelineError(f"{where}: {error}") from None
    if source == STORE and destination and not is_store(destination):
        raise EdgelineError(
            f"{where}: KServe fetches no model from {destination}: give a destination in a bucket, "
            "or another model_from."
        )
    return {"site": entry["site"], "form": form, **given}
