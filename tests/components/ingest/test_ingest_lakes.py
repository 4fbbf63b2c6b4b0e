"""Delta Lake and Iceberg tables, written by their own libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest
from edgeline.preflight.given import GivenRun
from edgeline.stores import storage

ROWS = pa.table({"id": range(100), "kind": ["a", "b"] * 50, "pair": [[1.0, 2.0]] * 100})


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """A table of two folders, from which ten rows were deleted."""
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(str(tmp_path / "trips"), ROWS, partition_by=["kind"])
    DeltaTable(str(tmp_path / "trips")).delete("id < 10")
    return tmp_path / "trips"


@pytest.fixture
def iceberg(tmp_path: Path) -> tuple[Path, int]:
    """A table from which ten rows were deleted, and the snapshot before that."""
    from pyiceberg.catalog.sql import SqlCatalog

    place = {"uri": f"sqlite:///{tmp_path}/catalog", "warehouse": f"file://{tmp_path}"}
    catalog = SqlCatalog("here", **place)
    catalog.create_namespace("city")
    made = catalog.create_table("city.trips", schema=ROWS.schema)
    made.append(ROWS)
    snapshot = made.current_snapshot()
    assert snapshot is not None
    made.delete("id < 10")
    return tmp_path / "city" / "trips", snapshot.snapshot_id


def ids(data: str, out: Path) -> list[int]:
    ingest(data, out, split_ratios=ONE)
    found: list[int] = table(out)["id"].to_pylist()
    return sorted(found)


def test_delta(delta: Path, tmp_path: Path) -> None:
    facts = ingest(str(delta), tmp_path / "out", split_ratios=ONE)
    assert facts["sources"][0]["name"] == "trips#version=1"
    assert facts["columns"] == {
        "id": "int64",
        "kind": "string",
        "pair": "fixed_size_list<item: double>[2]",
    }
    found = table(tmp_path / "out")
    assert sorted(found["id"].to_pylist()) == list(range(10, 100))
    assert {(row["id"] % 2, row["kind"]) for row in found.to_pylist()} == {(0, "a"), (1, "b")}
    assert ids(f"{delta}#version=0", tmp_path / "first") == list(range(100))


@pytest.mark.parametrize("form", ["{}/**/*.parquet", "{}/kind=a"])
def test_files_of_a_table_are_told_from_the_table(form: str, delta: Path, tmp_path: Path) -> None:
    facts = ingest(form.format(delta), tmp_path / "out")
    told = "Files of the Delta table trips were read without its log: rows that were deleted"
    assert told in facts["notes"][0]
    assert ids(delta.as_uri(), tmp_path / "whole") == list(range(10, 100))


def test_a_run_here_is_of_the_version_that_it_began_with(delta: Path) -> None:
    from deltalake import write_deltalake

    pinned = storage.pin(str(delta))
    assert pinned == f"{delta}#version=1"
    write_deltalake(str(delta), ROWS, mode="append")
    assert storage.pin(str(delta)) == f"{delta}#version=2"
    assert storage.pin(pinned) == pinned


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ("#version=7", "trips cannot be read ("),
        ("#version=x", "trips is pinned by #version=x: give a whole number"),
        ("#snapshot=1", "is a table of Delta, which is pinned by #version=: write that instead"),
        (f"#sha256={'0' * 64}", "is a table of Delta, which is pinned by #version="),
    ],
)
def test_versions_that_are_refused(pin: str, said: str, delta: Path, tmp_path: Path) -> None:
    assert said in fault(f"{delta}{pin}", tmp_path / "out")


def test_a_damaged_log_is_one_sentence(delta: Path, tmp_path: Path) -> None:
    next((delta / "_delta_log").glob("*0.json")).write_text('{"commitInfo": garbage')
    said = fault(str(delta), tmp_path / "out")
    assert said.startswith("trips cannot be read (") and "<unknown>" not in said


def test_one_table_at_a_time(delta: Path, tmp_path: Path) -> None:
    said = fault(f"{delta},{delta}", tmp_path / "out")
    assert "trips is a table, and 1 more locations are given" in said


def test_iceberg(iceberg: tuple[Path, int], tmp_path: Path) -> None:
    folder, first = iceberg
    facts = ingest(str(folder), tmp_path / "out", split_ratios=ONE)
    pinned = storage.pin(str(folder))
    assert facts["sources"][0]["name"] == f"trips#{pinned.rpartition('#')[2]}"
    assert sorted(table(tmp_path / "out")["id"].to_pylist()) == list(range(10, 100))
    assert ids(f"{folder}#snapshot={first}", tmp_path / "first") == list(range(100))
    assert "trips cannot be read (" in fault(f"{folder}#snapshot=5", tmp_path / "no")


@pytest.mark.usefixtures("iceberg")
def test_iceberg_by_a_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg import catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setenv("PYICEBERG_CATALOG__HERE__URI", f"sqlite:///{tmp_path}/catalog")
    monkeypatch.setattr(catalog, "_ENV_CONFIG", Config())  # which it reads when it is imported
    assert ids("iceberg://here/city.trips", tmp_path / "out") == list(range(10, 100))
    assert "iceberg://here/city.nothing cannot be read (" in fault(
        "iceberg://here/city.nothing", tmp_path / "no"
    )


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_the_preflight_takes_no_table_for_its_files(kind: str, request: Any) -> None:
    found = request.getfixturevalue(kind)
    folder = found[0] if isinstance(found, tuple) else found
    run = GivenRun({"data": str(folder), "split_key": "kind"}, here=True)
    assert run.files is None
    assert run.header is None
