"""Targets and sites of the deployment: unknown or unfit ones, and compilers that are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from edgeline.components.compile import target
from edgeline.errors import EdgelineError
from edgeline.preflight.given import GivenRun
from edgeline.sites import kserve
from edgeline.sites.address import Cluster, GitFolder, parse


def known(run: GivenRun) -> Iterator[str]:
    """What the run's first task refuses, before it begins."""
    targets, sites = run.values.get("targets") or (), run.values.get("sites") or ()
    if not isinstance(targets, (list, tuple)) or not isinstance(sites, (list, tuple)):
        return
    for each in targets:
        if not isinstance(each, str) or not target.is_known(each):
            yield f"targets: {each!r} is not one of {', '.join(target.names())}."
    if not sites:
        return
    from edgeline.components.plan.plan import check_deployed, plan  # numpy comes with it

    made = [each for each in targets if isinstance(each, str) and target.is_known(each)]
    try:
        check_deployed(plan(made, sites, run.text("models_repository")))
    except EdgelineError as error:
        yield str(error)
        return
    for number, entry in enumerate(sites, 1):
        yield from _name(number, entry, run.text("model_name"))
        if run.here and not run.in_images:
            yield from _token(number, entry)


def _name(number: int, entry: Mapping[str, str], name: str) -> Iterator[str]:
    """KServe takes any name, and never starts a long one: after the training, without this."""
    if entry.get("form") != kserve.FORM:
        return
    place = parse(entry["site"])
    namespace = place.namespace if isinstance(place, Cluster) else "edgeline"
    if fault := kserve.too_long(name, namespace):
        yield f"sites, entry {number}: KServe never starts {name!r}: {fault}: shorten model_name."


def _token(number: int, entry: Mapping[str, str]) -> Iterator[str]:
    """The last task opens a pull request with what the run's environment has."""
    place = parse(entry["site"])
    if isinstance(place, GitFolder) and place.pull_request and not os.environ.get("GIT_TOKEN"):
        yield f"sites, entry {number}: a pull request is opened with a token: set GIT_TOKEN to it."


def compilers(run: GivenRun) -> Iterator[str]:
    """Targets that somebody asked for, and whose compiler this machine lacks.

    One of a pipeline's own defaults is left out of the run where its compiler is not installed.
    """
    if not run.here or run.in_images or "targets" not in run.asked:
        return
    for each in run.values.get("targets") or ():
        if isinstance(each, str) and target.is_known(each):
            try:
                missing = target.find(each).missing()
            except EdgelineError as error:
                missing = str(error)
            if missing:
                yield f"Target {each}: {missing}"
