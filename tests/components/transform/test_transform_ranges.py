"""What each raw feature may be: what the split holds, and the schema where it says something."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import from_arrow_schema, with_shape
from edgeline.artifacts.ranges import FeatureRange
from edgeline.components.transform import ranges
from edgeline.components.validate import schema as schemas

NAN = float("nan")
TABLE = {
    "fare": pa.array([1.5, None, NAN, -2.25], pa.float64()),
    "third": pa.array([1 / 3, 0.1, 0.1, 0.1], pa.float64()),
    "count": pa.array([2**62 + 1, 3, None, 4], pa.int64()),
    "zero": pa.array([0.0, 1.0, 2.0, 3.0], pa.float32()),
    "open": pa.array([math.inf, 1.0, 2.0, 3.0], pa.float32()),
    "when": pa.array([1_700_000_000_000_000, None, 1_600_000_000_000_000, None], pa.int64()),
    "flag": pa.array([True, False, None, True]),
    "none": pa.array([None] * 4, pa.float32()),
    "empty": pa.array([NAN] * 4, pa.float32()),
    "kind": pa.array(["a", "b", None, "a"]),
    "note": pa.array(["w", "x", "y", "z"]),
    "pair": pa.array([[1.0, 2.0], [3.0, 9.0], None, [0.5, 4.0]], pa.list_(pa.float32(), 2)),
    "few": pa.array([[1], [7, 8], [], [2]], pa.list_(pa.int64())),
}


@pytest.fixture
def made(tmp_path):
    """The ranges of TABLE, of which each row is a row group of its own, in two files."""

    def work(schema: str = ""):
        table = pa.table(TABLE)
        names = table.schema.names
        shaped = table.schema.set(names.index("few"), with_shape(table.schema.field("few"), (2,)))
        table = table.cast(shaped)
        with artifacts.writing(tmp_path / "examples", examples.SCHEMA) as draft:
            (draft.path / "train").mkdir()
            for part, rows in enumerate((table.slice(0, 3), table.slice(3))):
                file = draft.path / "train" / f"part-0000{part}.parquet"
                pq.write_table(rows, file, row_group_size=1)
            draft.metadata["splits"] = {"train": {"rows": 4}}
        known = text_format.Parse(schema, schema_pb2.Schema())
        for name in names:
            if name not in [feature.name for feature in known.feature]:
                known.feature.add(name=name)
        schemas.write(tmp_path / "schema", known, inferred=False)
        source = artifacts.read(tmp_path / "examples", examples.SCHEMA)
        return ranges.of(tmp_path / "schema", source, "train", from_arrow_schema(table.schema))

    return work


def test_without_domains_it_is_what_the_split_holds(made):
    third = float(np.float32(1 / 3))
    found = made()
    assert str(found["zero"]) == "0 to 3"
    assert found == {
        "fare": FeatureRange(-2.25, 1.5),
        "third": FeatureRange(float(np.float32(0.1)), third),
        "count": FeatureRange(3, 2**62 + 1),
        "zero": FeatureRange(0.0, 3.0),
        "open": FeatureRange(1.0, None),
        "flag": FeatureRange(0, 1),
        "pair": FeatureRange(0.5, 9.0),
        "few": FeatureRange(1, 8),
    }


SCHEMA = """
feature { name: "fare" type: FLOAT float_domain { min: 0 max: 0.1 } }
feature { name: "count" type: INT int_domain { min: 0 } }
feature { name: "when" type: INT int_domain { min: 1000000000000000 } }
feature { name: "none" type: FLOAT float_domain { max: 5 } }
feature { name: "kind" type: BYTES domain: "kinds" }
feature { name: "note" type: BYTES string_domain { value: "w" }
          distribution_constraints { min_domain_mass: 0.5 } }
string_domain { name: "kinds" value: "a" value: "b" value: "c" }
"""


def test_a_limit_of_the_schema_takes_the_place_of_what_was_seen(made):
    found = made(SCHEMA)
    assert found["fare"] == FeatureRange(0.0, float(np.float32(0.1)))
    assert found["count"] == FeatureRange(0, 2**62 + 1)
    assert found["none"] == FeatureRange(None, 5.0)
    assert found["kind"] == FeatureRange(values=("a", "b", "c"))
    assert "note" not in found  # the schema takes values beyond its domain
    assert found["pair"] == FeatureRange(0.5, 9.0)
    assert found["when"] == FeatureRange(10**15, None)  # a time is later than those before


def test_pictures_have_no_ranges(tmp_path):
    images = pa.table({"image": pa.array([[0.0] * 2048], pa.list_(pa.float32(), 2048))})
    with artifacts.writing(tmp_path / "examples", examples.SCHEMA) as draft:
        (draft.path / "train").mkdir()
        pq.write_table(images, draft.path / "train" / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": 1}}
    known = schema_pb2.Schema()
    known.feature.add(name="image")
    schemas.write(tmp_path / "schema", known, inferred=False)
    source = artifacts.read(tmp_path / "examples", examples.SCHEMA)
    features = from_arrow_schema(images.schema)
    assert ranges.of(tmp_path / "schema", source, "train", features) == {}
