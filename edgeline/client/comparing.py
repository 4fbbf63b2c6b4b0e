"""The same pipelines in two environments, and what their schedules files say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgeline.environments.environment import Environment, load
from edgeline.environments.facts import About, facts, flat
from edgeline.environments.meant import Difference, differences
from edgeline.errors import UsageError, did_you_mean
from edgeline.formats import plain_file, plain_yaml
from edgeline.kubeflow.versions import CONTENT_NAME
from edgeline.pipelines import parameters
from edgeline.schedules import current, declaration
from edgeline.schedules.declaration import Declaration, Schedule

# of a team's repository: see manifests/gitops/README.md
ENVIRONMENT = Path("environment.yaml")
VERSIONS = Path("pipelines") / "versions"
CURRENT = Path("cluster") / current.FILE
SCHEDULES = Path("cluster") / "schedules.yaml"
# fields of an environment that count where runs are started and images are judged, and so stand in
# nothing that is compiled
NOT_COMPILED = {"service_account": "identity.service_account", "registries": "images.registries"}
Json = dict[str, Any]


@dataclass(frozen=True)
class PlacedPipeline:
    """A pipeline as it is compiled for an environment."""

    pipeline: Json
    platform: Json
    namespace: str

    @property
    def tasks(self) -> set[str]:
        """All that run in a container."""
        executors = self.pipeline.get("deploymentSpec", {}).get("executors", {})
        found = {label for label, executor in executors.items() if "container" in executor}
        return {label.removeprefix("exec-") for label in found}

    @property
    def facts(self) -> dict[About, Any]:
        """What it says of the place that it runs in."""
        found = facts(self.pipeline, self.platform)
        return {About("identity.namespace"): self.namespace, **found}


@dataclass(frozen=True)
class Side:
    """One of the two environments.

    Attributes:
        folder: of a team's repository; None where only the environment itself was named.
        compiled: the current versions of pipelines that lie in the folder.
    """

    name: str
    environment: Environment
    folder: Path | None
    compiled: Mapping[str, PlacedPipeline]


@dataclass(frozen=True)
class ComparedEnvironments:
    """What differs.

    Attributes:
        tasks: of each pipeline, all that run in a container.
    """

    found: list[Difference]
    tasks: dict[str, set[str]]


def side(name: str) -> Side:
    """An environment by its name or file, or with what is compiled for it, by its folder.

    Raises:
        UsageError: there is no such environment, or its folder has no `environment.yaml`, holds
            what is not a compiled version, or does not say which of several is current.
    """
    folder = Path(name)
    if not folder.is_dir():
        return Side(name, load(name), None, {})
    if not (folder / ENVIRONMENT).is_file():
        raise UsageError(
            f"{folder} holds no {ENVIRONMENT}: name the folder of an environment, such as "
            "environments/production, or an environment."
        )
    environment = load(str(folder / ENVIRONMENT))
    return Side(name, environment, folder, _current(folder))


def compare(one: Side, other: Side, pipeline: str | None = None) -> ComparedEnvironments:
    """What differs between two environments.

    Args:
        pipeline: a pipeline that lies compiled in the folders by its name, or one as
            `edgeline.pipelines.catalogue.load` takes it, which is compiled where it does not. None:
            all that lie in the folders, and all schedules.

    Raises:
        UsageError: no pipeline is named and a side is not a folder, or there is no such pipeline.
        EdgelineError: it cannot be compiled.
    """
    for each in (one, other):
        if pipeline is None and each.folder is None:
            raise UsageError(
                f"{each.name} is an environment alone, for which nothing is compiled: name a "
                "pipeline, too, or the folder that holds environment.yaml and pipelines/."
            )
    pair = (one, other)
    sides = [each.compiled if pipeline is None else _only(each, pipeline) for each in pair]
    found = list(_of_environments(one, other))
    tasks: dict[str, set[str]] = {}
    for name in sorted({*sides[0], *sides[1]}):
        found += _of_pipeline(name, *(each.get(name) for each in sides))
        tasks[name] = {task for each in sides if name in each for task in each[name].tasks}
    found += _of_schedules(one, other, sides, pipeline is not None)
    return ComparedEnvironments(found, tasks)


def _only(side: Side, pipeline: str) -> dict[str, PlacedPipeline]:
    """A pipeline as it is compiled for a side, by its name."""
    if pipeline in side.compiled:
        return {pipeline: side.compiled[pipeline]}
    from edgeline.client.compiling import compile_definition
    from edgeline.environments.apply import apply
    from edgeline.kubeflow import versions
    from edgeline.pipelines import catalogue

    try:
        definition = catalogue.load(pipeline)
    except UsageError as error:
        if side.compiled:
            hint = did_you_mean(pipeline, sorted(side.compiled), f"{side.name} has")
            raise UsageError(f"{error} {hint}") from error
        raise
    compiled = compile_definition(definition, {}, None, {})
    if compiled.name in side.compiled:  # its file was named: what is committed counts
        return {compiled.name: side.compiled[compiled.name]}
    document, *platform = compiled.documents
    placed = apply(document, platform[0] if platform else {}, side.environment)
    spec, *rest = versions.as_kept(placed)
    found = PlacedPipeline(spec, rest[0] if rest else {}, side.environment.namespace or "kubeflow")
    return {compiled.name: found}


def _current(folder: Path) -> dict[str, PlacedPipeline]:
    """The version of each pipeline that schedules take for the current one."""
    versions, path = folder / VERSIONS, folder / CURRENT
    named = current.read(path) if path.exists() else {}
    found = {}
    for name, version in named.items():
        known = _versions(versions / f"{version}.yaml") if version else {}
        if (name, version) not in known:
            raise UsageError(
                f"{path} names {version}, which {versions} does not hold: compile {name} with "
                f"--current {path}, or delete the line where the pipeline is gone."
            )
        found[name] = known[name, version]
    others: dict[str, dict[str, PlacedPipeline]] = {}
    for file in sorted(versions.glob("*.yaml")):
        if CONTENT_NAME.sub("", file.stem) not in named:  # else an older one of it
            for (name, version), placed in _versions(file).items():
                others.setdefault(name, {})[version] = placed
    for name, compiled in others.items():
        if name in named:
            continue
        if len(compiled) > 1:
            raise UsageError(
                f"{versions} holds {len(compiled)} versions of {name}, and {path} does not say "
                f"which is current: compile it with --current {path}."
            )
        (found[name],) = compiled.values()
    return found


def _versions(file: Path) -> dict[tuple[str, str], PlacedPipeline]:
    """The compiled versions in a file by the names of pipeline and version."""
    try:
        documents = plain_yaml.read(plain_file.read(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{file} is not a compiled pipeline ({error}).") from error
    found = {}
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "PipelineVersion":
            name, version, placed = _version(document, file)
            found[name, version] = placed
    return found


def _version(document: Json, file: Path) -> tuple[str, str, PlacedPipeline]:
    try:
        spec, metadata = document["spec"], document["metadata"]
        pipeline, platform = spec["pipelineSpec"], spec.get("platformSpec") or {}
        placed = PlacedPipeline(pipeline, platform, metadata.get("namespace", ""))
        placed.facts  # noqa: B018 - told here, with its file
        return str(spec["pipelineName"]), str(metadata["name"]), placed
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{file} is not a compiled PipelineVersion ({type(error).__name__}: {error}): compile "
            "it again."
        ) from error


def _of_environments(one: Side, other: Side) -> Iterator[Difference]:
    for field, what in NOT_COMPILED.items():
        values = [getattr(side.environment, field) or None for side in (one, other)]
        if values[0] != values[1]:
            yield Difference(About(what), "", *values)


def _of_pipeline(
    name: str, one: PlacedPipeline | None, other: PlacedPipeline | None
) -> Iterator[Difference]:
    if one is None or other is None:
        there = [None if each is None else "compiled" for each in (one, other)]
        yield Difference(About("pipelines"), name, *there)
    else:
        yield from differences(name, one.facts, other.facts)


def _of_schedules(
    one: Side, other: Side, sides: Sequence[Mapping[str, PlacedPipeline]], only: bool
) -> Iterator[Difference]:
    if one.folder is None or other.folder is None:
        return
    files = [_declared(side.folder) for side in (one, other) if side.folder]
    if not only:
        for field in ("owner", "shortest_interval"):
            values = [getattr(file, field) for file in files]
            if values[0] != values[1]:
                yield Difference(About(f"schedules.{field}"), "", *values)
    named = [{schedule.name: schedule for schedule in file.schedules} for file in files]
    for name in sorted({*named[0], *named[1]}):
        pair = [schedules.get(name) for schedules in named]
        pipeline = next(each.pipeline for each in pair if each is not None)
        if only and not any(pipeline in side for side in sides):
            continue
        if pair[0] is None or pair[1] is None:
            there = [None if each is None else _when(each) for each in pair]
            yield Difference(About(f"schedules.{name}"), pipeline, *there)
            continue
        given = [
            _scheduled(pair[0], sides[0].get(pipeline)),
            _scheduled(pair[1], sides[1].get(pipeline)),
        ]
        # what one leaves to the pipeline is there with the pipeline's default
        start = f"schedules.{name}.parameters."
        for mine, beside, side in zip(given, reversed(given), sides, strict=True):
            defaults = _defaults(side.get(pipeline))
            for about in beside.keys() - mine.keys():
                if (key := about.what.removeprefix(start)) in defaults:
                    mine[about] = defaults[key]
        yield from differences(pipeline, given[0], given[1])


def _declared(folder: Path) -> Declaration:
    path = folder / SCHEDULES
    return declaration.read(path) if path.exists() else Declaration([])


def _when(schedule: Schedule) -> str:
    return schedule.cron or f"every {schedule.every} s"


def _scheduled(schedule: Schedule, placed: PlacedPipeline | None) -> dict[About, Any]:
    """What a schedule says, its parameters by the names of their objects and fields."""
    found: dict[About, Any] = {}
    start = f"schedules.{schedule.name}"
    for field, value in msgspec.to_builtins(schedule).items():
        # the environment is the one that is compared
        if field not in ("name", "environment", "description", "parameters"):
            found[About(f"{start}.{field}")] = value
    values = schedule.parameters
    if placed is not None:
        known = parameters.from_spec(placed.pipeline)
        # an older version may have others, which are compared as they are written
        with contextlib.suppress(UsageError):
            checked = parameters.check(values, known)
            values = {known[name].called: value for name, value in checked.items()}
    for name, value in values.items():
        for field, below in flat(name, value):
            found[About(f"{start}.parameters.{field}")] = below
    return found


def _defaults(placed: PlacedPipeline | None) -> dict[str, Any]:
    """The pipeline's defaults by the names of their objects and fields."""
    if placed is None:
        return {}
    known = parameters.from_spec(placed.pipeline).values()
    return {
        field: value
        for each in known
        if each.default is not None
        for field, value in flat(each.called, each.default)
    }
