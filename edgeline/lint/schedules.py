"""Rules on schedules files, alone or in a ConfigMap: what no server runs as it is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from edgeline.errors import EdgelineError
from edgeline.formats import plain_yaml
from edgeline.lint.documents import Document, Path_, Tree, at, is_kustomization, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.schedules import current
from edgeline.schedules.declaration import (
    CURRENT,
    LATEST,
    SHORTEST,
    Declaration,
    Schedule,
    checked_parameters,
    faults,
)

FOLDER = "edgeline-versions"  # the ConfigMap that compile keeps a folder of versions with
CONFIG_MAP = "pipeline-schedules"  # of manifests/components/schedules


@dataclass(frozen=True)
class ScheduleFile:
    """A schedules file, as it is written, and where.

    Attributes:
        path: of it; in a ConfigMap, whose file is one text, of that text.
        deep: whether its own fields can be found below the path.
    """

    document: Document
    path: Path_
    deep: bool
    value: Mapping[str, Any]

    @property
    def shortest(self) -> int:
        """Its shortest interval in seconds."""
        given = self.value.get("shortest_interval")
        return given if isinstance(given, int) else SHORTEST


@dataclass(frozen=True)
class Scheduled:
    """A schedule of a schedules file, as it is written, and its index there."""

    file: ScheduleFile
    index: int
    value: Mapping[str, Any]

    @property
    def document(self) -> Document:
        """Where it stands."""
        return self.file.document

    def at(self, *field: str) -> Path_:
        """Where it is, or a field of it."""
        if not self.file.deep:
            return self.file.path
        return (*self.file.path, "schedules", self.index, *field)


def scheduled(tree: Tree) -> Iterator[Scheduled]:
    """Each schedule of the schedules files, those in ConfigMaps as well."""
    return (entry for file in schedule_files(tree) for entry in _of_file(file))


def _of_file(file: ScheduleFile) -> Iterator[Scheduled]:
    for index, schedule in enumerate(listed(file.value, "schedules")):
        if isinstance(schedule, Mapping):
            yield Scheduled(file, index, schedule)


def schedule_files(tree: Tree) -> Iterator[ScheduleFile]:
    """The schedules files, and what else has a list of schedules."""
    for document in tree.documents:
        if "kind" not in document.value and "schedules" in document.value:
            yield ScheduleFile(document, (), True, document.value)
        elif document.kind == "ConfigMap":
            for name, text in mapped(document.value, "data").items():
                if isinstance(text, str) and "schedules:" in text:
                    value = _loaded(text)
                    if isinstance(value, Mapping):
                        yield ScheduleFile(document, ("data", name), False, value)


def _loaded(text: str) -> Any:
    try:
        return plain_yaml.read_one(text)
    except plain_yaml.YamlError:
        return None


def _our_files(tree: Tree) -> Iterator[ScheduleFile]:
    """Not files of something else that has schedules: what becomes the ConfigMap that the Job
    reads, and what names pipelines."""
    made = _handed_to_the_job(tree)
    files = {(file.document.file, file.path): file for file in schedule_files(tree)}
    for document in tree.documents:
        if document.file in made and (document.file, ()) not in files:
            yield ScheduleFile(document, (), True, document.value)  # not even schedules: is right
    for file in files.values():
        entries = listed(file.value, "schedules")
        names = any(isinstance(entry, Mapping) and "pipeline" in entry for entry in entries)
        if names or file.document.file in made or file.document.name.startswith(CONFIG_MAP):
            yield file


def _handed_to_the_job(tree: Tree) -> set[str]:
    """The files that become its ConfigMap."""
    return {
        (Path(document.file).parent / named.rpartition("=")[2]).as_posix()
        for document in filter(is_kustomization, tree.documents)
        for generator in listed(document.value, "configMapGenerator")
        if at(generator, "name") == CONFIG_MAP
        for named in map(str, listed(generator, "files"))
        if named.split("=")[0] != current.FILE
    }


def _ours(tree: Tree) -> Iterator[Scheduled]:
    return (entry for file in _our_files(tree) for entry in _of_file(file))


def _refused(tree: Tree) -> Iterator[Found]:
    for file in _our_files(tree):
        try:
            given = {**file.value, "schedules": []} if "schedules" in file.value else file.value
            msgspec.convert(given, Declaration)
        except msgspec.ValidationError as error:
            yield Found(file.document, file.path, f"the schedules file is none ({error})")
    for entry in _ours(tree):
        name = f"schedule {entry.value.get('name')}"
        try:
            schedule = _converted(entry)
        except msgspec.ValidationError as error:
            yield Found(entry.document, entry.at(), f"{name} is not one ({error})")
            continue
        for fault in faults(schedule, entry.file.shortest):
            what = f"{name} {fault.what} ({fault.fix})"
            yield Found(entry.document, entry.at(fault.field), what)


def _converted(entry: Scheduled) -> Schedule:
    return msgspec.convert(entry.value, Schedule, builtin_types=(date, datetime))


def _not_pinned(tree: Tree) -> Iterator[Found]:
    for entry in _ours(tree):
        if not (entry.value.get("version") or entry.value.get("from")):
            what = f"schedule {entry.value.get('name')} names no version"
            yield Found(entry.document, entry.at(), what)


def _compiled(
    tree: Tree, document: Document, pipeline: object
) -> dict[str, Mapping[str, Any]] | None:
    """The compiled versions of a pipeline by their names, from the next folder above a file that
    holds compiled pipelines; None where there is no such folder.

    Each environment has its own: a version of another is not on its server.
    """
    kept = (each for each in tree.of("ConfigMap") if each.name == FOLDER)
    compiled = [*tree.of("PipelineVersion"), *kept]
    for folder in Path(document.file).parents:
        below = [each for each in compiled if folder in Path(each.file).parents]
        if below:
            return {
                each.name: (each.pipeline or ((), {}))[1]
                for each in below
                if each.get("spec", "pipelineName") == pipeline
            }
    return None


def _not_current(tree: Tree) -> Iterator[Found]:
    for entry in _ours(tree):
        known = _compiled(tree, entry.document, entry.value.get("pipeline"))
        if entry.value.get("from") and known:
            name, there = entry.value.get("name"), ", ".join(sorted(known))
            what = f"schedule {name} compiles {entry.value['from']} again, beside {there}"
            yield Found(entry.document, entry.at("from"), what)


def _from_file(tree: Tree) -> Iterator[Found]:
    handed = _handed_to_the_job(tree)
    for entry in _ours(tree):
        source, document = str(entry.value.get("from") or ""), entry.document
        is_file = "/" in source or bool(Path(source).suffix)
        if is_file and (document.kind == "ConfigMap" or document.file in handed):
            what = f"schedule {entry.value.get('name')} is made of the file {source}"
            yield Found(document, entry.at("from"), what)


def _unfit(tree: Tree) -> Iterator[Found]:
    for entry in _ours(tree):
        try:
            schedule = _converted(entry)
        except msgspec.ValidationError:
            continue
        name = f"schedule {schedule.name}"
        version, known = (
            schedule.version,
            _compiled(tree, entry.document, entry.value.get("pipeline")),
        )
        if version == CURRENT:
            version = _current(tree, entry).get(schedule.pipeline, "")
            if not version:
                what = (
                    f"{name} runs the current version of {schedule.pipeline}, and {current.FILE} "
                    "beside it names none"
                )
                yield Found(entry.document, entry.at("version"), what)
                continue
            if known is not None and not known:
                what = f"{name} runs {version}, and nothing of {schedule.pipeline} is compiled here"
                yield Found(entry.document, entry.at("version"), what)
        if not version or version == LATEST or not known:
            continue  # said elsewhere, or another repository's
        if version not in known:
            there = ", ".join(sorted(known))
            what = f"{name} runs {version}, which is not compiled here ({there})"
            yield Found(entry.document, entry.at("version"), what)
            continue
        try:
            checked_parameters(schedule, known[version])
        except EdgelineError as error:
            yield Found(entry.document, entry.at("parameters"), str(error).rstrip("."))


def _left_over(tree: Tree) -> Iterator[Found]:
    """Where a schedule runs it, `_unfit` says so."""
    running = {
        (Path(entry.document.file).parent, entry.value.get("pipeline"))
        for entry in _ours(tree)
        if entry.value.get("version") == CURRENT
    }
    for document in tree.documents:
        path = Path(document.file)
        if path.name != current.FILE or document.kind:
            continue
        for pipeline, version in document.value.items():
            known = _compiled(tree, document, pipeline)
            if known is None or version in known or (path.parent, pipeline) in running:
                continue
            what = f"{pipeline} is said to be at {version}, which is not compiled here"
            yield Found(document, (pipeline,), what)


def _current(tree: Tree, entry: Scheduled) -> Mapping[str, str]:
    """What the file beside a schedules file, or in its ConfigMap, names."""
    found: Any = None
    if entry.document.kind == "ConfigMap":
        found = _loaded(str(entry.document.get("data", current.FILE) or ""))
    else:
        beside = (Path(entry.document.file).parent / current.FILE).as_posix()
        found = next((other.value for other in tree.documents if other.file == beside), None)
    return found if isinstance(found, Mapping) else {}


rules = (
    Rule(
        "schedule-refused",
        "The server answers 500, or takes it and no run works as meant.",
        "change it before it is applied",
        _refused,
    ),
    Rule(
        "schedule-not-pinned",
        "Each run takes what was uploaded last, by whomever.",
        "add the line `version: NAME`, `version: current`, `version: latest`, or `from: FILE` with "
        "the compiled pipeline",
        _not_pinned,
    ),
    Rule(
        "schedule-not-current",
        "It runs none of these unless that gives the same content; what is not on the server is "
        "refused when it is applied, after the merge.",
        "write `version: current` in place of `from` and `environment`",
        _not_current,
        WARNING,
    ),
    Rule(
        "schedule-from-file",
        "The Job that applies the schedules runs that file with its own rights.",
        "compile it with `edgeline compile --kubernetes`, and write `version: current`",
        _from_file,
        is_gate=True,
    ),
    Rule(
        "schedule-unfit",
        "The server refuses it when it is applied, after the merge.",
        "compile the pipeline (--current names the version), or change the schedule",
        _unfit,
    ),
    Rule(
        "version-left-over",
        "`compile --current` writes the lines of what it compiles and keeps all others.",
        "compile the pipeline again, or delete the line where the pipeline is gone",
        _left_over,
        WARNING,
    ),
)
