"""The target qualcomm-htp: contexts made by Qualcomm's compiler; no device runs them here."""

import numpy as np
import pytest

from edgeline.components.compile import qualcomm_htp
from edgeline.components.compile.target import Source, find
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import INT8

pytestmark = pytest.mark.slow

needs_compiler = pytest.mark.skipif(
    bool(qualcomm_htp.missing()), reason=f"NOT TESTED: {qualcomm_htp.missing()}"
)


@needs_compiler
@pytest.mark.usefixtures("in_this_process")
def test_every_operator_of_an_int8_network_goes_to_the_npu_but_no_device_ran_it(
    source, compiled, tmp_path
):
    made, runtime = compiled("qualcomm-htp", source("int8"))
    assert runtime is None
    assert made.share == 1
    assert {operator.operator for operator in made.placed} >= {"Conv", "MaxPool", "MatMul"}
    assert (tmp_path / "model_qnn.bin").stat().st_size == made.facts["context_bytes"] > 10_000
    assert "is not run" in find("qualcomm-htp").limits


@needs_compiler
@pytest.mark.usefixtures("in_this_process")
def test_a_compiler_that_leaves_nothing_is_a_failure(source, compiled, monkeypatch):
    monkeypatch.setattr(qualcomm_htp, "_run", lambda *_: "done")
    with pytest.raises(EdgelineError, match="left no context binary"):
        compiled("qualcomm-htp", source("int8"))


@needs_compiler
def test_a_compiler_that_fails_says_what_it_said(tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    options = {"htp_arch": "73", "soc_model": "43"}
    with pytest.raises(EdgelineError, match="Qualcomm's compiler failed with exit code 1"):
        qualcomm_htp._run(tmp_path / "damaged.onnx", tmp_path / "context.onnx", options)


def test_a_float_model_is_refused_at_once(source, compiled):
    with pytest.raises(EdgelineError, match=r"convert it with quantisation int8|pip install"):
        compiled("qualcomm-htp", source("float"))


def test_an_operator_left_on_the_cpu_is_placed_there_with_its_reason(tmp_path):
    onnx = pytest.importorskip("onnx")
    left = onnx.helper.make_node("Softmax", ["x"], ["y"], name="last")
    graph = onnx.helper.make_graph([left], "context", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "context.onnx")
    log = "ValidateOpConfig() failed for node `last` of type `Softmax` with error code 3110"
    placed = qualcomm_htp._placed(
        len, tmp_path / "context.onnx", [("first", "Conv"), ("last", "Softmax")], log
    )
    assert [operator.device for operator in placed] == ["npu", "cpu"]
    assert placed[1].reason == "not accepted by the compiler as Softmax (error 3110)"


@pytest.mark.usefixtures("in_this_process")
def test_unsigned_activations_are_the_same_function(source, tmp_path):
    onnx = pytest.importorskip("onnx")
    from edgeline.components.compile import onnx_model, onnx_qdq
    from edgeline.runtimes import onnx_session

    made = onnx_model.make(Source(tflite=source("int8").tflite, quantisation=INT8), tmp_path / "a")
    model = onnx.load(tmp_path / "a")
    signature = onnx_qdq.prepare(model, made.signature)
    onnx.save(model, tmp_path / "b")
    [before], [after] = made.signature.inputs, signature.inputs
    assert (after.dtype, after.shape) == ("uint8", (1, 28, 28, 1))
    assert after.zero_point == before.zero_point + 128
    stored = np.random.default_rng(0).integers(-128, 127, (8, 28, 28, 1), np.int8)
    plain = onnx_session.session(tmp_path / "a", made.signature)({"image": stored})
    shifted = (stored.astype(np.int16) + 128).astype(np.uint8)
    answer = onnx_session.session(tmp_path / "b", signature)({"image": shifted})
    np.testing.assert_allclose(  # kernels for signed and unsigned round otherwise on some CPUs
        answer["prediction"].astype(np.int16) - 128, plain["prediction"].astype(np.int16), atol=1
    )
