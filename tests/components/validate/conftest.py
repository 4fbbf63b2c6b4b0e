"""Examples written straight as Parquet, and one run of the worker on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples
from edgeline.components.validate.validate import Validation, validate

TAXI = Path(__file__).parents[3] / "pipelines" / "taxi" / "taxi.csv"


@pytest.fixture(scope="session")
def write_examples(tmp_path_factory) -> Callable[..., Artifact]:
    """Write tables, or lists of tables as several parts, as the splits of an artifact."""

    def write(**splits: pa.Table | list[pa.Table]) -> Artifact:
        path = tmp_path_factory.mktemp("examples") / "examples"
        with artifacts.writing(path, examples.SCHEMA) as draft:
            draft.metadata["splits"] = {}
            for name, tables in splits.items():
                (draft.path / name).mkdir()
                tables = tables if isinstance(tables, list) else [tables]
                for index, table in enumerate(tables):
                    pq.write_table(table, draft.path / name / f"part-{index:05d}.parquet")
                draft.metadata["splits"][name] = {"rows": sum(map(len, tables))}
        return artifacts.read(path, examples.SCHEMA)

    return write


@pytest.fixture(scope="session")
def taxi() -> pa.Table:
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    return pyarrow.csv.read_csv(TAXI, convert_options=options)


@pytest.fixture(scope="session")
def taxi_examples(taxi, write_examples) -> Artifact:
    """Every third row is for evaluation, so the splits are alike."""
    third = pa.array([i % 3 == 0 for i in range(len(taxi))])
    other = pa.array([i % 3 != 0 for i in range(len(taxi))])
    return write_examples(train=taxi.filter(other), eval=taxi.filter(third))


@pytest.fixture
def run(tmp_path) -> Callable[..., Validation]:
    """Run the worker into `tmp_path`, flagging unless told otherwise."""

    def work(data: Artifact, **parameters) -> Validation:
        outputs = {
            f"{name}_path": str(tmp_path / name)
            for name in ("statistics", "schema", "anomalies", "validation_report")
        }
        return validate(
            examples_path=str(data.path), **{**outputs, "on_anomalies": "flag", **parameters}
        )

    return work
