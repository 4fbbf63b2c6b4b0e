"""One run from ingest to convert on real taxi trips, shared by the tests of its steps.

With several workers the first that needs a step makes it, and each works on a copy of its own.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeline import artifacts
from edgeline.artifacts import Artifact

TAXI = Path(__file__).parents[2] / "pipelines" / "taxi" / "taxi.csv"
MODULE = "edgeline.pipelines.taxi.module"
ROWS = 3000
STEPS, STEPS_PER_EPOCH, SEED = 70, 50, 3  # the last epoch is shorter than the first


@dataclass(frozen=True)
class Run:
    """A worker's own folder of a run, what its faces logged, by output, and what all copy."""

    folder: Path
    logged: dict[str, dict[str, Any]]
    made: Path

    def artifact(self, name: str, schema: str) -> Artifact:
        return artifacts.read(self.folder / name, schema)

    @property
    def examples(self) -> Artifact:
        return self.artifact("examples", "examples/v1")

    @property
    def graph(self) -> Artifact:
        return self.artifact("graph", "transform_graph/v1")

    @property
    def transformed(self) -> Artifact:
        return self.artifact("transformed", "transformed_examples/v1")

    @property
    def model(self) -> Artifact:
        return self.artifact("model", "model/v1")


Step = Callable[[Path], dict[str, dict[str, Any]]]  # fills a folder; gives what the face logged


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Callable[[str, Step, Run | None], Run]:
    """`shared(name, step, before)`: what `step` makes in a copy of `before`, once for all."""
    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent  # the folder of this run of pytest

    def take(name: str, step: Step, before: Run | None = None) -> Run:
        made, draft = common / f"{name}-made", common / f"{name}-draft"
        with open(common / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(draft, ignore_errors=True)
                if before:
                    shutil.copytree(before.made, draft)
                else:
                    draft.mkdir()
                logged = step(draft)
                (draft / "logged.json").write_text(json.dumps(logged))
                draft.rename(made)
        folder = tmp_path_factory.mktemp(name) / "run"
        shutil.copytree(made, folder)
        return Run(folder, json.loads((folder / "logged.json").read_text()), made)

    return take


@pytest.fixture(scope="session")
def ingested_taxi(shared) -> Run:
    """3,000 trips in two files, `a` (2,000) and `b`, with their schema; `first` is `a` alone."""
    return shared("ingested-taxi", _ingest)


@pytest.fixture(scope="session")
def transformed_taxi(shared, ingested_taxi) -> Run:
    """The trips through the face of `transform`."""
    return shared("transformed-taxi", _transform, ingested_taxi)


@pytest.fixture(scope="session")
def trained_taxi(shared, transformed_taxi) -> Run:
    """A short training through the face of `train`."""
    return shared("trained-taxi", _train, transformed_taxi)


@pytest.fixture(scope="session")
def converted_taxi(shared, trained_taxi) -> Run:
    """`int8` and its page `int8.html`: the model in integers, through a process of its own."""
    return shared("converted-taxi", _convert, trained_taxi)


def _ingest(folder: Path) -> dict[str, dict[str, Any]]:
    from edgeline.components.ingest.ingest import ingest
    from edgeline.components.validate.validate import validate

    head, *rows = TAXI.read_text().splitlines(keepends=True)[: ROWS + 1]
    first, second = folder / "a.csv", folder / "b.csv"
    first.write_text(head + "".join(rows[:2000]))
    second.write_text(head + "".join(rows[2000:]))
    types = {"company": "string", "fare": "float", "tips": "float", "trip_miles": "float"}
    ingest([str(first)], folder / "first", column_types=types)
    ingest([str(first), str(second)], folder / "examples", column_types=types)
    validate(
        str(folder / "examples"),
        *(str(folder / name) for name in ("statistics", "schema", "anomalies", "validation.html")),
        on_anomalies="flag",
    )
    return {}


def _transform(folder: Path) -> dict[str, dict[str, Any]]:
    from kfp import dsl

    from edgeline.components.transform.component import transform

    outputs = {
        "transform_graph": dsl.Artifact(uri=str(folder / "graph")),
        "transformed_examples": dsl.Dataset(uri=str(folder / "transformed")),
        "features_report": dsl.HTML(uri=str(folder / "transform.html")),
    }
    transform.python_func(
        examples=dsl.Dataset(uri=str(folder / "examples")),
        schema=dsl.Artifact(uri=str(folder / "schema")),
        module=MODULE,
        **outputs,
    )
    return {name: output.metadata for name, output in outputs.items()}


def _train(folder: Path) -> dict[str, dict[str, Any]]:
    from kfp import dsl

    from edgeline.components.train.component import train

    outputs = {
        "model": dsl.Model(uri=str(folder / "model")),
        "training_metrics": dsl.Metrics(),
        "training_report": dsl.HTML(uri=str(folder / "train.html")),
    }
    train.python_func(
        transformed_examples=dsl.Dataset(uri=str(folder / "transformed")),
        transform_graph=dsl.Artifact(uri=str(folder / "graph")),
        module=MODULE,
        label="big_tip",
        steps=STEPS,
        steps_per_epoch=STEPS_PER_EPOCH,
        seed=SEED,
        checkpoint_dir=str(folder / "checkpoints"),
        **outputs,
    )
    return {name: output.metadata for name, output in outputs.items()}


def _convert(folder: Path) -> dict[str, dict[str, Any]]:
    from edgeline.components.convert.convert import convert

    places = (folder / name for name in ("model", "examples", "int8", "int8.html"))
    convert(*map(str, places), "int8")
    return {}
