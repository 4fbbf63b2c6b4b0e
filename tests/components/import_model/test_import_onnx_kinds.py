"""Kinds of ONNX files as LiteRT files, and onnx's own cases: right, or refused in a sentence."""

from __future__ import annotations

import shutil

import backend_cases
import numpy as np
import onnx_networks
import pytest
from onnx_files import model_file, one_operator

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.import_model import onnx_converter
from edgeline.components.import_model.import_model import import_model, kind_of
from edgeline.components.import_model.wanted import Wanted
from edgeline.errors import EdgelineError
from edgeline.formats.packing import packed, unpacked
from edgeline.runtimes import interpreter

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("onnx2tf", "many")]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """One onnx2tf for the tests of this module that nobody made to do harm."""
    with backend_cases.many(tmp_path_factory.mktemp("onnx2tf")):
        yield


def _imported(file, tmp_path, **wanted):
    import_model(str(file), str(tmp_path / "out"), wanted=Wanted(to_litert=True, **wanted))
    return artifacts.read(tmp_path / "out", models.EDGE_SCHEMA)


def _answers(model, **rows):
    return interpreter.load(models.edge_model_path(model))(rows)


def _original(model, **rows):
    import onnxruntime

    file = model.path / model.metadata["origin"]["file"]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, rows)


def test_several_inputs_and_outputs_of_several_kinds(tmp_path):
    weights = {"w": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)}
    file = model_file(
        tmp_path / "m.onnx",
        [
            ("Cast", ["flag"], ["real"], {"to": 1}),
            ("Cast", ["count"], ["number"], {"to": 1}),
            ("MatMul", ["x:0", "w"], ["h"], {}),
            ("Mul", ["h", "real"], ["masked"], {}),
            ("Add", ["masked", "number"], ["y"], {}),
            ("ArgMax", ["h"], ["best"], {"axis": 1, "keepdims": 1}),
        ],
        {
            "x:0": ("FLOAT", ["n", 3]),
            "flag": ("BOOL", ["n", 1]),
            "count": ("INT64", ["n", 1]),
        },
        {"y": ("FLOAT", ["n", 4]), "best": ("INT64", ["n", 1])},
        weights,
    )
    model = _imported(file, tmp_path, task="regression")
    kinds = {each["name"]: each["dtype"] for each in model.metadata["features"]}
    assert kinds == {"x": "float32", "flag": "int64", "count": "int64"}
    rows = {
        "x": np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32),
        "flag": np.array([[True], [False], [True], [True], [False]]),
        "count": np.array([[1], [-2], [3], [0], [70000]], np.int64),
    }
    y, best = _original(model, **{"x:0": rows["x"], "flag": rows["flag"], "count": rows["count"]})
    answer = _answers(model, **rows)
    np.testing.assert_allclose(answer["y"], y, rtol=1e-5)
    np.testing.assert_array_equal(answer["best"], best)


def _quantised(path):
    """A network with its convolution quantised as onnxruntime does (QDQ), and the scales of it."""
    net = onnx_networks.Network(["batch", 3, 12, 12])

    def through(name, scale):
        one, zero = net.weight(np.float32(scale)), net.weight(np.int8(0))
        net.add("QuantizeLinear", name, one, zero)
        return net.add("DequantizeLinear", net.last, one, zero)

    through(net.last, 1 / 64)
    stored = net.weight(net.random.integers(-100, 100, (4, 3, 3, 3)).astype(np.int8))
    scale, zero = net.weight(np.float32(0.01)), net.weight(np.int8(0))
    given = net.last
    kernel = net.add("DequantizeLinear", stored, scale, zero)
    net.channels = 4
    net.add("Conv", given, kernel, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    net.add("Relu", net.last)
    through(net.last, 1 / 8)
    net.pooled()
    net.dense(3)
    return net.save(path)


def test_a_quantised_file_stays_quantised_and_right(tmp_path):
    model = _imported(_quantised(tmp_path / "qdq.onnx"), tmp_path)
    assert model.metadata["quantisation"] == "int8"
    assert kind_of(model.metadata) == "tflite"
    images = np.random.default_rng(3).uniform(-1.5, 1.5, (4, 3, 12, 12)).astype(np.float32)
    (expected,) = _original(model, input=images)
    answer = _answers(model, input=np.ascontiguousarray(np.moveaxis(images, 1, -1)))["prediction"]
    np.testing.assert_allclose(answer, expected, atol=0.02 * np.abs(expected).max())


def test_open_sizes_are_given_by_input_shape(tmp_path):
    net = onnx_networks.Network(["batch", 3, "height", "width"])
    net.conv(4, 3, 2)
    net.pooled()
    net.dense(2)
    file = net.save(tmp_path / "open.onnx")
    with pytest.raises(EdgelineError, match=r"has the open shape .*give them as input_shape"):
        _imported(file, tmp_path)
    with pytest.raises(EdgelineError, match="keep its fixed sizes and their order"):
        _imported(file, tmp_path, input_shape=(8, 8, 3))
    model = _imported(file, tmp_path, input_shape=(3, 8, 10))
    assert model.metadata["features"][0]["shape"] == [8, 10, 3]


def _as_it_came(path):
    nodes = [("Relu", ["x"], ["y"], {})]
    kinds = {"x": ("FLOAT", ["n", 4])}
    return model_file(path, nodes, kinds, {"y": ("FLOAT", ["n", 4]), **kinds})


def _kernel_as_input(path):
    kinds = {"x": ("FLOAT", [2, 2, 5, 5]), "k": ("FLOAT", [2, 2, 3, 3])}
    return model_file(
        path, [("Conv", ["x", "k"], ["y"], {})], kinds, {"y": ("FLOAT", [2, 2, 3, 3])}
    )


def _not_rows(path):
    kinds = {"x": ("FLOAT", [3, 4]), "z": ("FLOAT", [4])}
    return model_file(path, [("Add", ["x", "z"], ["y"], {})], kinds, {"y": ("FLOAT", [3, 4])})


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_kernel_as_input, "leaves the operator ONNX_CONV, which LiteRT cannot load"),
        (_not_rows, "'x' of shape .3, 4. and 'z' of shape .4., which are not rows of one batch"),
        (one_operator("Identity", "STRING"), "takes strings, which onnx2tf does not convert"),
        (
            one_operator("Foo", domain="acme"),
            "uses acme.Foo, of which only its maker",
        ),
        (one_operator("RandomUniformLike"), "draws random numbers .RandomUniformLike."),
        (one_operator("Relu", shape=()), "which are not rows of one batch"),
        (_as_it_came, "gives 'x' twice, or as it takes it"),
    ],
)
def test_what_has_no_way_is_refused_in_a_sentence(tmp_path, write, says):
    file = write(tmp_path / "m.onnx")
    with pytest.raises(EdgelineError, match=says) as error:
        _imported(file, tmp_path)
    assert str(error.value).startswith(("m.onnx", str(file), "Input"))
    assert not (tmp_path / "out").exists()


def _columns(nodes, kind="FLOAT", gives="FLOAT", width=3, weights=(), answers=None):
    def write(path):
        outputs = {"y": (gives, ["n", width] if answers is None else answers)}
        return model_file(path, nodes, {"x": (kind, ["n", width])}, outputs, weights)

    return write


LOG_SOFTMAX = ("LogSoftmax", ["x"], ["y"], {"axis": 1})
SEVEN = [("Equal", ["x", "c"], ["m"], {}), ("Cast", ["m"], ["y"], {"to": 1})]
IMPUTED = [("Equal", ["x", "x"], ["m"], {}), ("Where", ["m", "x", "mean"], ["y"], {})]
ONE_HOT = [("OneHot", ["x", "depth", "values"], ["y"], {"axis": -1})]
FROM_MEAN = [
    ("ReduceMean", ["x"], ["m"], {"axes": [0], "keepdims": 1}), ("Sub", ["x", "m"], ["y"], {})
]  # fmt: skip


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_columns([LOG_SOFTMAX]), "differs by inf .* with floats from 0 to 255"),
        (
            _columns(SEVEN, "INT64", weights={"c": np.int64(7)}),
            "with the number -?[0-9]{10,} .where inputs fit into 32 bits, let the file take int32",
        ),
        (_columns(IMPUTED, weights={"mean": np.float32([1, 2, 3])}), "with NaN"),
        (
            _columns(
                ONE_HOT, "INT64", width=1, answers=["n", 1, 300],
                weights={"depth": np.int64(300), "values": np.float32([0, 1])},
            ),
            "with the number -?30[01]",
        ),
        (_columns(FROM_MEAN), "^m.onnx answers a row by the rows beside it: 'prediction' of a row"),
    ],
)  # fmt: skip
def test_what_is_right_for_small_numbers_alone_is_refused(tmp_path, write, says):
    with pytest.raises(EdgelineError, match=says):
        _imported(write(tmp_path / "m.onnx"), tmp_path)


def test_a_clip_in_the_file_keeps_large_numbers_away(tmp_path):
    nodes = [("Clip", ["x", "low", "high"], ["c"], {}), ("LogSoftmax", ["c"], ["y"], {"axis": 1})]
    write = _columns(nodes, weights={"low": np.float32(-20), "high": np.float32(20)})
    model = _imported(write(tmp_path / "m.onnx"), tmp_path)
    rows = np.float32([[100, -100, 1000], [19, -19, 0]])
    np.testing.assert_allclose(
        _answers(model, x=rows)["prediction"], _original(model, x=rows)[0], rtol=1e-5
    )


@pytest.mark.parametrize("to_litert", [True, False])
def test_pixels_are_scaled_inside_the_model(tmp_path, to_litert):
    kinds = {"x": ("FLOAT", ["n", 3, 4, 4])}
    nodes = [("Flatten", ["x"], ["y"], {})]
    file = model_file(tmp_path / "m.onnx", nodes, kinds, {"y": ("FLOAT", ["n", 48])})
    page, wanted = tmp_path / "page.html", Wanted(to_litert=to_litert, scaling="-1..1")
    found = import_model(str(file), str(tmp_path / "out"), str(page), wanted=wanted)
    model = artifacts.read(tmp_path / "out", found["edgeline_schema"])
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4)).astype(np.float32)
    (kept,) = _original(model, x=images)
    np.testing.assert_allclose(kept, images.reshape(2, 48) / 127.5 - 1, atol=1e-6)
    if to_litert:
        given = np.ascontiguousarray(np.moveaxis(images, 1, -1))
        np.testing.assert_allclose(_answers(model, x=given)["prediction"], kept, atol=1e-6)
    assert "brought to -1..1 inside the model" in page.read_text()


def test_what_the_converter_gets_wrong_is_refused(tmp_path, monkeypatch):
    """onnx2tf gives the file of another network."""
    relu = one_operator("Relu")(tmp_path / "relu.onnx")
    other_network = models.edge_model_path(_imported(relu, tmp_path)).read_bytes()
    neg = one_operator("Neg")(tmp_path / "neg.onnx")
    found = onnx_converter.Converter.convert

    def other(self, attempt):
        file = found(self, attempt)
        data = unpacked(other_network)
        data.signatureDefs = []
        file.write_bytes(packed(data))
        return file

    monkeypatch.setattr(onnx_converter.Converter, "convert", other)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.raises(EdgelineError, match=r"other answers: output 'prediction' differs by"):
        _imported(neg, tmp_path)


def test_a_cycle_and_a_function_that_calls_itself_are_refused(tmp_path):
    import onnx
    from onnx import helper

    nodes = [("Add", ["x", "z"], ["y"], {}), ("Relu", ["y"], ["z"], {})]
    kinds = {"x": ("FLOAT", ["n", 4])}
    cycle = model_file(tmp_path / "m.onnx", nodes, kinds, {"y": ("FLOAT", ["n", 4])})
    with pytest.raises(EdgelineError, match="is not valid ONNX"):
        _imported(cycle, tmp_path)
    model = onnx.load(str(one_operator("Self", domain="acme")(tmp_path / "m.onnx")))
    again = helper.make_node("Self", ["a"], ["b"], domain="acme")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    model.functions.append(helper.make_function("acme", "Self", ["a"], ["b"], [again], imports))
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(EdgelineError, match=r"m\.onnx"):
        _imported(tmp_path / "m.onnx", tmp_path)


# --- onnx's own cases ---------------------------------------------------------------------------

MODULES = ("relu", "softmax", "averagepool", "maxpool", "gemm", "isnan", "hardsigmoid", "pow")
FEW = (
    "test_relu", "test_softmax_axis_1", "test_softmax_axis_0", "test_softmax_large_number",
    "test_averagepool_2d_default", "test_averagepool_2d_pads", "test_averagepool_2d_same_upper",
    "test_averagepool_2d_ceil", "test_maxpool_2d_default", "test_maxpool_2d_pads",
    "test_maxpool_2d_same_lower", "test_maxpool_2d_uint8", "test_maxpool_1d_default",
    "test_maxpool_with_argmax_2d_precomputed_pads", "test_gemm_default_no_bias",
    "test_gemm_transposeA", "test_isnan", "test_hardsigmoid", "test_hardsigmoid_example",
    "test_pow", "test_pow_bcast_array", "test_pow_types_int32_float32",
    "test_pow_types_int64_int64",
)  # fmt: skip


def test_cases_of_onnx_are_right_or_refused(tmp_path):
    """A few; benchmarks/onnx_cases.py and `make long` ask all."""
    cases = [case for case in backend_cases.node_cases(MODULES) if case.name in FEW]
    assert {case.name for case in cases} == {*FEW}
    found = [backend_cases.outcome(case, tmp_path / case.name) for case in cases]
    assert [each for each in found if each.outcome == backend_cases.WRONG] == []
    right = {each.name for each in found if each.outcome == backend_cases.RIGHT}
    assert {"test_relu", "test_softmax_axis_1", "test_maxpool_2d_default", "test_isnan"} <= right
    assert len(right) >= 12, sorted(set(FEW) - right)


@pytest.mark.long
@pytest.mark.parametrize(
    ("write", "batch", "gives"),
    [
        (onnx_networks.recurrent, 1, [3]),  # one row at a time, as onnx2tf writes each step out
        (onnx_networks.transformer, -1, [3]),
        (onnx_networks.segmenter, -1, [16, 16, 2]),
        (onnx_networks.shuffled, -1, [4]),
        (onnx_networks.text, -1, [2]),
    ],
)
def test_networks_of_other_kinds(tmp_path, write, batch, gives):
    model = _imported(write(tmp_path / "m.onnx"), tmp_path)
    edge = interpreter.load(models.edge_model_path(model))
    assert edge.signature.inputs[0].shape[0] == batch
    assert model.metadata["outputs"]["prediction"][1] == gives
    random = np.random.default_rng(7)
    shape = model.metadata["features"][0]["shape"]
    rows = random.normal(size=(3, *shape)).astype(np.float32)
    if model.metadata["features"][0]["dtype"] == "int64":
        rows = random.integers(0, 50, (3, *shape))
    given = np.moveaxis(rows, -1, 1) if model.metadata["origin"]["channels_last"] else rows
    (expected,) = _original(model, input=np.ascontiguousarray(given))
    if model.metadata["origin"]["answers_last"]:
        expected = np.moveaxis(expected, 1, -1)
    answer = edge({"input": np.ascontiguousarray(rows)})["prediction"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)
