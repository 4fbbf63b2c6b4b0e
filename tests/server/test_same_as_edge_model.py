"""The server takes, refuses and fills up what an edge model in Python does, in the same words."""

import numpy as np
import pytest

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.convert import running
from edgeline.errors import EdgelineError
from edgeline.runtimes.engine import Engine
from edgeline.runtimes.inputs import MAX_ROWS
from edgeline.runtimes.interpreter import EdgeModel
from edgeline.runtimes.pieces import pieces
from edgeline.server.errors import ServingError
from edgeline.server.models.model import Description, Instance, check

SIGNATURE = Signature(
    (
        Tensor("fare", "float32", (-1, 2)),
        Tensor("hour", "int64", (-1, 1)),
        Tensor("pay", "string", (-1, 1)),
    ),
    (Tensor("sum", "float32", (-1, 1)),),
)


def rows(count):
    return {
        "fare": np.arange(2 * count, dtype=np.float32).reshape(count, 2),
        "hour": np.arange(count)[:, None],
        "pay": np.full((count, 1), b"Cash", object),
    }


def refusals(arrays):
    model = EdgeModel(SIGNATURE, lambda given: {"sum": given["fare"][:, :1]})
    with pytest.raises(EdgelineError) as in_python:
        model(arrays)
    with pytest.raises(ServingError) as served:
        check(arrays, Description("taxi", 1, SIGNATURE))
    return str(in_python.value), str(served.value)


@pytest.mark.parametrize(
    "change",
    [
        {"fare": np.zeros((2, 2))},
        {"fare": np.zeros((2, 3), np.float32)},
        {"fare": np.zeros((2, 2, 2), np.float32)},
        {"hour": np.zeros((3, 1), np.int64)},
        {"pay": np.array([[b"a"], [b"b"]])},
        {"tax": np.zeros(2)},
        {name: array[:0] for name, array in rows(2).items()},
        {"hour": np.zeros((MAX_ROWS + 1, 1), np.int64)},
    ],
)
def test_both_refuse_in_the_same_words(change):
    in_python, served = refusals({**rows(2), **change})
    assert in_python == served


def test_both_name_what_is_missing():
    given = rows(2)
    given.pop("hour")
    in_python, served = refusals(given)
    assert in_python == served == "Input 'hour' is missing: the model takes fare, hour, pay."
    given.pop("fare")
    in_python, served = refusals(given)
    assert in_python == served
    assert "Inputs 'fare' and 'hour' are missing: the model takes fare, hour, pay." in served


def test_the_server_alone_takes_columns_without_their_last_dimension():
    given = {**rows(2), "hour": np.arange(2), "pay": np.full((2, 1, 1), b"Cash", object)}
    checked = check(given, Description("taxi", 1, SIGNATURE))
    assert [checked[name].shape for name in ("hour", "pay")] == [(2, 1), (2, 1)]


def test_a_fixed_batch_is_filled_up_alike():
    signature = Signature(
        (Tensor("x", "float32", (4, 1)),), (Tensor("prediction", "float32", (4, 1)),)
    )
    given = {"x": np.arange(6, dtype=np.float32)[:, None]}
    filled = [0, 1, 2, 3, 4, 5, 5, 5]

    got = []
    engine = Engine(signature, lambda piece: got.append(piece["x"]) or {"prediction": piece["x"]})
    instance = Instance(engine, Description("m", 1, signature))
    np.testing.assert_array_equal(instance.predict(given)["prediction"], given["x"])
    assert np.concatenate(got)[:, 0].tolist() == filled

    got = []
    edge = EdgeModel(signature, lambda piece: got.append(piece["x"]) or {"prediction": piece["x"]})
    for answer in (edge(given), running.answers(edge, given)):
        np.testing.assert_array_equal(answer["prediction"], given["x"])
    assert np.concatenate(got)[:, 0].tolist() == [*filled, *filled]
    assert [count for _, count in pieces(given, 4)] == [4, 2]
