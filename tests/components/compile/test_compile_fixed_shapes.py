"""A batch of any size made 1: the same answers, and no operator that reads a shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeline.components.compile.fixed_shapes import fix_shapes
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.packing import packed
from edgeline.runtimes.interpreter import load

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize("name", ["cnn_float", "cnn_int8", "cnn_dynamic", "cnn_odd", "mixed"])
def test_answers_stay_the_same(tmp_path, name):
    source = DATA / f"{name}.tflite"
    fixed = fix_shapes(source, tmp_path / "model.tflite")
    graph = tflite.read(fixed).subgraphs[0]
    assert not any(tensor.dynamic for tensor in graph.tensors)
    assert not {"SHAPE", "PACK"} & {operator.name for operator in graph.operators}
    assert tflite.read(fixed).signatures.keys() == tflite.read(source).signatures.keys()
    before, after = load(source), load(fixed)
    random, rows = np.random.default_rng(0), {}
    for tensor in before.signature.inputs:
        shape = (5, *tensor.shape[1:])
        if tensor.dtype == "string":
            rows[tensor.name] = np.full(shape, b"text", object)
        else:
            rows[tensor.name] = (random.random(shape) * 100).astype(tensor.dtype)
    assert [tensor.shape[0] for tensor in after.signature.inputs] == [1] * len(rows)
    expected, given = before(rows), after(rows)
    for output, values in expected.items():
        np.testing.assert_array_equal(given[output], values)


def test_a_fixed_model_stays_as_it_is(tmp_path):
    source = DATA / "coral" / "keras_lstm_mnist_ptq.tflite"
    assert fix_shapes(source, tmp_path / "model.tflite") == source
    assert not list(tmp_path.iterdir())


def test_the_result_is_always_the_same(tmp_path):
    first, second = (fix_shapes(DATA / "cnn_int8.tflite", tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_another_open_dimension_is_named(tmp_path):
    def open_width(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shapeSignature = [-1, 28, -1, 1]

    path = changed(tmp_path, open_width)
    with pytest.raises(EdgelineError, match=r"has shape \[-1, 28, -1, 1\].*fixed size"):
        fix_shapes(path, tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()


def test_a_shape_that_depends_on_values_is_named(tmp_path):
    def where(model):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHERE
        code.version = 1
        model.operatorCodes.append(code)
        operator = model.subgraphs[0].operators[-1]
        operator.opcodeIndex, operator.builtinOptions = len(model.operatorCodes) - 1, None
        operator.builtinOptionsType = 0

    path = changed(tmp_path, where)
    with pytest.raises(EdgelineError, match=r"\(WHERE\).*depends on values"):
        fix_shapes(path, tmp_path / "out.tflite")


def changed(folder, change):
    model = schema.ModelT.InitFromPackedBuf((DATA / "cnn_float.tflite").read_bytes(), 0)
    change(model)
    path = folder / "changed.tflite"
    path.write_bytes(packed(model))
    return path
