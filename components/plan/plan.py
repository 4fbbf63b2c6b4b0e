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
from edgeline.sites.address import parse
from edgeline.sites.render import FORMS
from edgeline.stores.destinations import check, refuse_relative

FORM, BASE = "kustomize", "modelcar_base"


@dataclass(frozen=True)
class Plan:
    """What to loop over: names of targets, and sites with `site`, `form` and `modelcar_base`."""

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
        sites: objects with `site` and perhaps `form` and `modelcar_base`, as `serve` takes them.
        models_repository: where models' images are pushed.
        destination: where publish will publish; empty: not looked at.

    Raises:
        EdgelineError: an entry names no target, or is not a site; there are sites, but no
            models_repository; or this is a cluster, and the destination a pod's own disk.
    """
    if destination:
        check(destination)
        refuse_relative(destination)
    for number, target in enumerate(targets, 1):
        if not isinstance(target, str) or not targets_.is_known(target):
            known = ", ".join(targets_.names())
            raise EdgelineError(f"targets, entry {number}: {target!r} is not one of {known}.")
    found = [_site(number, entry) for number, entry in enumerate(sites, 1)]
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
        if first != entry:
            raise EdgelineError(
                f"sites, entry {number}: {entry['site']} as {entry['form']} is there before, with "
                "another modelcar_base: leave one of them out."
            )
    return list(once.values())


def _site(number: int, entry: object) -> dict[str, str]:
    where = f"sites, entry {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("site"), str):
        raise EdgelineError(
            f'{where}: {entry!r} is not an object with a site, such as {{"site": '
            '"cluster://NAMESPACE", "form": "kustomize"}.'
        )
    if unknown := sorted(map(str, entry.keys() - {"site", "form", BASE})):
        raise EdgelineError(f"{where} has {unknown[0]!r}, but takes site, form and {BASE} alone.")
    form = entry.get("form", FORM)
    if not isinstance(form, str) or form not in FORMS:
        raise EdgelineError(f"{where}: form is {form!r}, but must be one of {', '.join(FORMS)}.")
    base = entry.get(BASE, "")
    if not isinstance(base, str):
        raise EdgelineError(f"{where}: {BASE} is {base!r}, but must be an image by digest.")
    if base and form != "kserve":
        raise EdgelineError(f"{where}: form {form} has no modelcar: leave {BASE} out.")
    try:
        parse(entry["site"])
        if base:
            bases.check(base)
    except EdgelineError as error:
        raise EdgelineError(f"{where}: {error}") from None
    return {"site": entry["site"], "form": form, BASE: base}
