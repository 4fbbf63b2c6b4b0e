"""One run of ingest, validate, transform and train on real taxi trips, shared by their tests."""

from __future__ import annotations

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
    """The folder of a run and what its faces logged, by output."""

    folder: Path
    logged: dict[str, dict[str, Any]]

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


@pytest.fixture(scope="session")
def ingested_taxi(tmp_path_factory) -> Run:
    """3,000 trips in two files, `a` (2,000) and `b`, with their schema; `first` is `a` alone."""
    from edgeline.components.ingest.ingest import ingest
    from edgeline.components.validate.validate import validate

    folder = tmp_path_factory.mktemp("taxi")
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
    return Run(folder, {})


@pytest.fixture(scope="session")
def transformed_taxi(ingested_taxi) -> Run:
    """The trips through the face of `transform`."""
    from kfp import dsl

    from edgeline.components.transform.component import transform

    folder = ingested_taxi.folder
    outputs = {
        "transform_graph": dsl.Artifact(uri=str(folder / "graph")),
        "transformed_examples": dsl.Dataset(uri=str(folder / "transformed")),
        "report": dsl.HTML(uri=str(folder / "transform.html")),
    }
    transform.python_func(
        examples=dsl.Dataset(uri=str(folder / "examples")),
        schema=dsl.Artifact(uri=str(folder / "schema")),
        module=MODULE,
        **outputs,
    )
    return Run(folder, {name: output.metadata for name, output in outputs.items()})


@pytest.fixture(scope="session")
def trained_taxi(transformed_taxi) -> Run:
    """A short training through the face of `train`."""
    from kfp import dsl

    from edgeline.components.train.component import train

    folder = transformed_taxi.folder
    outputs = {
        "model": dsl.Model(uri=str(folder / "model")),
        "metrics": dsl.Metrics(),
        "report": dsl.HTML(uri=str(folder / "train.html")),
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
    return Run(folder, {name: output.metadata for name, output in outputs.items()})
