"""What an experiment tracker is told of a task: plain data, made of the artifacts that it left.

Names are MLflow's to restrict: letters, digits, `_ - . : /` and spaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeline.artifacts.folder import digest_of, facts_of, schema_of
from edgeline.formats import typed

EPOCHS = "history.json"  # of train, in the folder of its model
OF_EPOCHS = "epoch/"  # before the name of a number by epoch: the bare name is the final one's
BUNDLES = "bundle"  # in a run's artifacts
REPORTS = "reports"
PUBLISHED = "published"  # the alias of the version that was published last
CANDIDATE = "candidate-"  # and of one that waits in a signed repository
OURS = "edgeline."  # begins a tag's name
TOLD = f"{OURS}told"  # a tag of a task's run on Kubeflow, which has all that the task made
PAGE = b"<!doctype html"

_REFUSED = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class DataUsed:
    """A data set that a run has read: its name, the sha256 of its content, and where it lies."""

    name: str
    digest: str
    source: str


@dataclass(frozen=True)
class VersionToRegister:
    """A published bundle, for a registry of models.

    Attributes:
        name: of the bundle, which the registered model is called.
        uri: where it was published.
        folder: a copy of it on this machine.
        alias: which this version takes from an earlier one.
        tags: number, target and lineage: digests of bundle, edge model and data, the commit.
    """

    name: str
    uri: str
    folder: str
    alias: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class TrackedEntry:
    """What is logged of one task, or of a run itself.

    Attributes:
        key: what it is of. An entry is sent once: another one has another key.
        time: when it came about, in milliseconds since 1970. Sending twice then changes nothing.
        metrics: numbers, by name.
        curves: a number for each epoch, by name; None where it is not finite.
        files: files of this machine, by their path among the run's artifacts.
    """

    key: str
    time: int
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    data: tuple[DataUsed, ...] = ()
    published: tuple[VersionToRegister, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(
            (self.params, self.metrics, self.curves, self.tags, self.files, self.published)
        )


def of_artifacts(
    key: str, time: int, task: str, places: Mapping[str, str], uris: Mapping[str, str], prefix: str
) -> TrackedEntry:
    """What the artifacts of a task tell beside its parameters and scalar metrics.

    Args:
        task: its name, for its reports.
        places: where each artifact lies on this machine, by the output's name.
        uris: where each lies for others.
        prefix: before the names of numbers, such as `train/`; "" in a run of the task's own.
    """
    curves: dict[str, tuple[float | None, ...]] = {}
    tags: dict[str, str] = {}
    files: dict[str, str] = {}
    data: list[DataUsed] = []
    published: list[VersionToRegister] = []
    for name, place in places.items():
        if is_page(Path(place)):
            files[f"{REPORTS}/{file_name(task)}-{name}.html"] = place
            continue
        schema, digest = schema_of(place), digest_of(place)
        if not digest:
            continue
        tags[f"{OURS}digest.{task}.{name}"] = digest
        if schema.startswith("model/"):
            curves |= {f"{prefix}{OF_EPOCHS}{key}": value for key, value in epochs(place).items()}
        if schema.startswith("examples/"):
            read = str(facts_of(place).get("data_digest") or digest)
            tags[f"{OURS}data_digest"] = read
            data.append(DataUsed(name, read, uris[name]))
        if schema.startswith("bundle/"):
            published.append(version_of(place))
            files |= {f"{BUNDLES}/{path}": str(file) for path, file in _files(Path(place))}
    return TrackedEntry(
        key, time, curves=named(curves), tags=named(tags), files=files, data=tuple(data),
        published=tuple(published),
    )  # fmt: skip


def of_pod(time: int, places: Mapping[str, str], uris: Mapping[str, str]) -> TrackedEntry:
    """What the artifacts of a task tell in the run that Kubeflow has made for it."""
    entry = of_artifacts("task", time, "task", places, uris, "")
    return entry if entry.is_empty else replace(entry, tags={**entry.tags, TOLD: "all"})


def epochs(model: str) -> dict[str, tuple[float | None, ...]]:
    """The numbers of a training by epoch, from the folder of its model; none where it has none.

    One that is not finite is None.
    """
    file = Path(model) / EPOCHS
    if not file.is_file():
        return {}
    return {
        name: tuple(
            float(value) if value is not None and math.isfinite(value) else None for value in values
        )
        for name, values in typed.read(file).items()
    }


def version_of(folder: str) -> VersionToRegister:
    """A published version, from the copy that publish left.

    Raises:
        EdgelineError: it is damaged.
    """
    from edgeline.artifacts import bundle  # with numpy, which other tasks do without

    found, facts = bundle.read_manifest(Path(folder)), facts_of(folder)
    made = found.provenance
    candidate = str(facts.get("candidate") or "")
    tags = {
        "version": str(found.version),
        "candidate": candidate,
        "target": found.target,
        "quantisation": found.quantisation,
        "uri": str(facts.get("uri", "")),
        "bundle_digest": bundle.content_digest(found),
        "edge_model_digest": str(made.get("edge_model", "")),
        "data_digest": str(made.get("data_digest", "")),
        "git_commit": str(made.get("git_commit", "")),
        "pipeline": str(made.get("pipeline", "")),
        "run": str(made.get("run", "")),
        "edgeline": str(made.get("edgeline", "")),
    }
    return VersionToRegister(
        found.name,
        tags["uri"],
        folder,
        f"{CANDIDATE}{candidate}" if candidate else PUBLISHED,
        {f"{OURS}{name}": value for name, value in tags.items() if value},
    )


def is_page(file: Path) -> bool:
    """Whether an artifact is a report."""
    try:
        with open(file, "rb") as stream:
            return stream.read(len(PAGE)).lower() == PAGE
    except OSError:  # a folder, or gone
        return False


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under names that MLflow takes: another character becomes `_`, an equal name gets a
    number."""
    found: dict[str, Any] = {}
    for given, value in values.items():
        name = _REFUSED.sub("_", given).strip("/ ")[:240] or "_"
        name = re.sub(r"/{2,}|/\.{1,2}(?=/|$)", "/", name)
        unlike, number = name, 1
        while unlike in found:
            number += 1
            unlike = f"{name}_{number}"
        found[unlike] = value
    return found


def file_name(name: str) -> str:
    """A task's name, such as `verify[2]`, for a file."""
    return re.sub(r"[^\w.-]", "-", name).strip("-") or "task"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file
