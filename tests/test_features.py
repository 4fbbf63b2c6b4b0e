"""Columns of Arrow as the dense arrays that a model takes."""

import math

import numpy as np
import pyarrow as pa
import pytest

from edgeline.artifacts import features, reference
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import MISSING_INT, Feature
from edgeline.components.compile import forms
from edgeline.errors import EdgelineError
from edgeline.preprocessing import fill_missing


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def dense(column, dtype, shape=(1,)):
    given = batch(c=column)
    return features.to_numpy(given, [Feature("c", dtype, shape)])["c"]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_floats(kind):
    values = [np.float16(1.5), None, np.float16(math.nan), np.float16(-math.inf)]
    found = dense(pa.array(values, kind), "float32")
    assert found.dtype == np.float32
    assert found.shape == (4, 1)
    np.testing.assert_array_equal(found[:, 0], [1.5, math.nan, math.nan, -math.inf])


def test_a_double_is_rounded_to_the_nearest_float():
    assert dense(pa.array([0.1]), "float32")[0, 0] == np.float32(0.1)


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()],
)
def test_integers(kind):
    found = dense(pa.array([1, None, 127], kind), "int64")
    assert found.dtype == np.int64
    assert found.tolist() == [[1], [MISSING_INT], [127]]


def test_booleans_are_zero_one_or_missing():
    assert dense(pa.array([True, None, False]), "int64").tolist() == [[1], [MISSING_INT], [0]]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_strings_are_bytes(kind):
    found = dense(pa.array(["ä", None, "", "b"], pa.string()).cast(kind), "string")
    assert found.dtype == np.object_
    assert found.tolist() == [["ä".encode()], [b""], [b""], [b"b"]]


@pytest.mark.parametrize("values", [["b", None, "a"], [3, None, 1]])
def test_dictionaries_are_their_values(values):
    plain = pa.array(values)
    dtype = "string" if pa.types.is_string(plain.type) else "int64"
    assert dense(plain.dictionary_encode(), dtype).tolist() == dense(plain, dtype).tolist()


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 2)]
)
def test_lists(kind):
    column = pa.array([[9, 9], [1, 2], None, [3, None]], kind).slice(1)
    expected = [[1, 2], [MISSING_INT, MISSING_INT], [3, MISSING_INT]]
    assert dense(column, "int64", (2,)).tolist() == expected


def test_a_slice_of_a_batch_keeps_to_its_rows():
    given = batch(c=[0.0, 1.0, 2.0, 3.0], d=[[0, 0], [1, 1], [2, 2], [3, 3]]).slice(2)
    found = features.to_numpy(given, [Feature("c", "float32"), Feature("d", "int64", (2,))])
    assert found["c"].tolist() == [[2.0], [3.0]]
    assert found["d"].tolist() == [[2, 2], [3, 3]]


def test_whole_numbers_may_stand_for_floats():
    assert dense(pa.array([1, None], pa.int32()), "float32").tolist()[0] == [1.0]
    assert dense(pa.array([True, False]), "float32").tolist() == [[1.0], [0.0]]


def test_an_empty_batch_keeps_the_shapes():
    assert dense(pa.array([], pa.float64()), "float32").shape == (0, 1)
    assert dense(pa.array([], pa.list_(pa.int64())), "int64", (3,)).shape == (0, 3)


@pytest.mark.parametrize(
    ("column", "feature", "sentence"),
    [
        ([1.0], Feature("z", "float32"), "Column 'z' is missing: the model was trained with it"),
        ([1.0], Feature("c", "int64"), "'c' holds float32, but the schema says int64"),
        (["a"], Feature("c", "float32"), "'c' holds string, but the schema says float32"),
        ([1], Feature("c", "string"), "'c' holds int64, but the schema says string"),
        ([[1, 2], [1]], Feature("c", "int64", (2,)), "'c' has 1 values in row 1 .* but 2 are need"),
        ([[]], Feature("c", "float32"), "'c'"),
        ([[1, 2]], Feature("c", "int64"), "'c' has 2 values in row 0 of a batch, but 1 are needed"),
        ([1], Feature("c", "int64", (3,)), "'c' has one value in each row, but 3 are needed"),
        (pa.array([2**63], pa.uint64()), Feature("c", "int64"), "'c' does not fit int64 .*922337"),
    ],
)
def test_what_does_not_fit_is_named(column, feature, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        features.to_numpy(batch(c=column), [feature])


def test_the_features_of_a_schema():
    schema = pa.schema(
        [
            ("f", pa.float64()),
            ("b", pa.bool_()),
            ("s", pa.dictionary(pa.int32(), pa.string())),
            ("l", pa.list_(pa.float32(), 4)),
            ("r", pa.list_(pa.string())),
        ]
    )
    assert features.from_arrow_schema(schema) == [
        Feature("f", "float32"),
        Feature("b", "int64"),
        Feature("s", "string"),
        Feature("l", "float32", (4,)),
        Feature("r", "string", (-1,)),
    ]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.struct([("a", pa.int8())]), pa.null()])
def test_types_that_no_model_takes_are_named(kind):
    with pytest.raises(
        EdgelineError, match=r"Column 'c' has type .* which no model takes: convert"
    ):
        features.from_arrow_schema(pa.schema([("c", kind)]))


def test_a_feature_comes_back_from_json():
    feature = Feature("x", "float32", (3,))
    assert feature.to_json() == {"name": "x", "dtype": "float32", "shape": [3]}
    assert Feature.from_json(feature.to_json()) == feature


def test_a_missing_value_is_one_for_all_who_read_it():
    """What a column becomes, a model fills, drift counts and a compiler is tried on."""
    import tensorflow as tf

    columns = {
        "float32": pa.array([1.0, None], pa.float32()),
        "int64": pa.array([1, None], pa.int64()),
        "string": pa.array(["x", None]),
    }
    tensors = tuple(Tensor(name, name, (-1, 1)) for name in columns)
    tried = forms.sample(Signature(tensors, ()), gaps=True)
    for dtype, column in columns.items():
        found = dense(column, dtype)
        assert features.missing(found).ravel().tolist() == [False, True]
        assert reference.present(found[:, 0])[1] == 1
        filled = fill_missing(tf.constant(found), "y" if dtype == "string" else 7)
        assert filled.numpy().ravel()[1] in (7, b"y")
        assert features.missing(tried[dtype]).ravel().tolist()[-1]
    assert features.missing(np.array([-128], np.int8)) is None
