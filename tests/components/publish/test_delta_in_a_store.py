"""A Delta Lake table in a real S3 server, which its library reads with the keys of the others."""

from __future__ import annotations

import pyarrow as pa
import pytest
from s3_server import BUCKET

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow


@pytest.fixture
def trips(s3, tmp_path):
    """A table from which ten rows were deleted."""
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(str(tmp_path / "trips"), pa.table({"id": range(100)}))
    DeltaTable(str(tmp_path / "trips")).delete("id < 10")
    for file in (tmp_path / "trips").rglob("*"):
        if file.is_file():
            key = file.relative_to(tmp_path).as_posix()
            s3.client.fput_object(BUCKET, key, str(file))
    return f"{BUCKET}/trips"


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_its_rows_are_those_of_the_snapshot(scheme, trips, tmp_path):
    for place, ids in (
        (f"{scheme}://{trips}", range(10, 100)),
        (f"{scheme}://{trips}#version=0", range(100)),
    ):
        out = tmp_path / f"out{len(ids)}"
        facts = ingest(place, out, split_ratios={"all": 1})
        assert facts["sources"][0]["name"].startswith(f"{scheme}://{trips}#version=")
        found = pa.Table.from_batches(
            examples.read_batches(artifacts.read(out, examples.SCHEMA), "all")
        )
        assert sorted(found["id"].to_pylist()) == list(ids)


def test_keys_that_are_wrong(trips, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIO_SECRET_KEY", "wrong")
    with pytest.raises(EdgelineError, match=f"{trips}: check the credentials"):
        ingest(f"s3://{trips}", tmp_path / "out")
