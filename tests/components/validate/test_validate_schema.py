"""The inferred schema, its files and the raw features of later steps."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.artifacts import features
from edgeline.artifacts.features import Feature
from edgeline.components.validate import computing
from edgeline.components.validate import schema as schemas
from edgeline.errors import EdgelineError


def infer(table: pa.Table, write_examples, bools=frozenset()):
    return schemas.infer(computing.compute_split(write_examples(train=table), "train"), bools)


@pytest.fixture(scope="module")
def taxi_schema(taxi_examples):
    return schemas.infer(computing.compute_split(taxi_examples, "train"))


def test_taxi(taxi_schema, taxi):
    found = {feature.name: feature for feature in taxi_schema.feature}
    assert list(found) == taxi.column_names
    assert found["fare"].type == schema_pb2.FLOAT
    assert found["fare"].presence.min_fraction == 1
    assert found["fare"].shape.dim[0].size == 1
    assert found["dropoff_latitude"].presence.min_fraction == 0
    assert found["dropoff_latitude"].value_count.max == 1
    values = list(schemas.domain(taxi_schema, found["payment_type"]).value)
    assert {"Cash", "Credit Card"} <= set(values)
    assert values == sorted(values)
    assert schemas.features(taxi_schema) == features.from_arrow_schema(taxi.schema)


def test_text_and_binary_round_trip(taxi_schema, tmp_path):
    text, binary = tmp_path / "s.pbtxt", tmp_path / "s.pb"
    text.write_text(schemas.to_text(taxi_schema))
    binary.write_bytes(taxi_schema.SerializeToString())
    schemas.write(tmp_path / "artifact", taxi_schema, inferred=True)
    for uri in (text, binary, tmp_path / "artifact"):
        assert schemas.read(str(uri)) == taxi_schema
    raw = schemas.features(taxi_schema)
    assert schemas.read_features(tmp_path / "artifact") == raw


def test_shapes_and_kinds_of_columns(write_examples):
    table = pa.table(
        {
            "three": pa.array([[1.0, 2.0, 3.0]] * 4),
            "holey": pa.array([[1, 2], None, [3, 4], [5, 6]]),
            "ragged": pa.array([["a"], ["a", "b"], [], ["a"]]),
            "bool": [True, False, True, True],
            "null": pa.nulls(4),
            "empty": pa.nulls(4, pa.float32()),
        }
    )
    schema = infer(table, write_examples, frozenset({"bool"}))
    assert schemas.features(schema) == [
        Feature("three", "float32", (3,)),
        Feature("holey", "int64", (2,)),
        Feature("ragged", "string", (-1,)),
        Feature("bool", "int64", (1,)),
        Feature("empty", "float32", (1,)),
    ]
    found = {feature.name: feature for feature in schema.feature}
    assert found["bool"].HasField("bool_domain")
    assert found["ragged"].value_count.min == 0
    assert not found["ragged"].value_count.HasField("max")


@pytest.mark.parametrize(
    ("values", "has_domain"),
    [
        (["b", "a"] * 50, True),
        ([f"id {i}" for i in range(100)], False),  # seen once each: more are to come
        ([f"v {i % 101}" for i in range(1010)], False),  # more than a hundred
    ],
)
def test_a_domain_is_inferred_only_where_the_values_look_complete(
    values, has_domain, write_examples
):
    schema = infer(pa.table({"x": values}), write_examples)
    assert bool(schema.string_domain) == has_domain


def test_deprecated_features_are_left_out_and_a_scalar_shape_is_one_value():
    schema = schema_pb2.Schema()
    schema.feature.add(name="old", type=schema_pb2.INT, lifecycle_stage=schema_pb2.DEPRECATED)
    schema.feature.add(name="new", type=schema_pb2.INT).shape.SetInParent()
    assert schemas.features(schema) == [Feature("new", "int64", (1,))]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("s.pbtxt", b"feature { name: 'x' nonsense }", r"s.pbtxt is not a readable .*1:21"),
        ("s.pbtxt", b"\xff\xfe", "s.pbtxt is not a readable"),
        ("s.pb", b"\xff\xff\xff", "s.pb is not a readable"),
        ("s.pbtxt", b"", "names no feature"),
        ("s.pbtxt", b"feature {name: 'x'} feature {name: 'x'}", "names 'x' twice"),
    ],
)
def test_a_damaged_schema_is_one_sentence(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgelineError, match=sentence) as raised:
        schemas.read(str(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_statistics_are_no_schema(tmp_path):
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    feature = statistics.datasets.add(name="train", num_examples=5).features.add(name="x")
    feature.num_stats.common_stats.num_non_missing = 5
    (tmp_path / "stats.pb").write_bytes(statistics.SerializeToString())
    with pytest.raises(EdgelineError, match=r"stats\.pb holds statistics .*, not a Schema: give"):
        schemas.read(str(tmp_path / "stats.pb"))


def test_a_schema_that_is_not_there(tmp_path):
    with pytest.raises(EdgelineError, match="cannot be read"):
        schemas.read(str(tmp_path / "s.pbtxt"))
